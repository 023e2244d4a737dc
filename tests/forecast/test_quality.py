from pathlib import Path

import numpy as np
import pytest

from agentsched.core.call import ModelCall
from agentsched.core.records import CallEnded, Feedback
from agentsched.forecast import quality_learner as module
from agentsched.forecast.features import packed_features
from agentsched.forecast.quality import EmpiricalQualities
from agentsched.forecast.quality_learner import QualityLearner

DATA = Path(__file__).parents[3] / "shared/data"
DECLARED = np.array([0.5, 0.9])
ENDPOINTS = ["gpu", "api"]


def ended(run, step="s", endpoint="gpu", status="ok", features=b""):
    call = ModelCall("c", run, "w", step, 0, "auto", features=features)
    return CallEnded(call, 0.0, 1.0, status, endpoint, 1, 0, 0.0, None, 1, 1, None, 0.0)


@pytest.fixture
def learner():
    return QualityLearner({"gpu": "small", "gpu-2": "small", "api": "big"})


def ask(known, step="s", features=b"", endpoints=ENDPOINTS, declared=DECLARED):
    return known.predict(ModelCall("c", "r", "w", step, 0, "auto", features=features), endpoints, declared)


def test_nothing_is_said_before_the_first_score(learner):
    assert ask(EmpiricalQualities()) is None
    learner.call_ended(ended("r"))
    assert learner.snapshot() is None


def test_scores_move_the_declared_quality_and_make_it_surer(learner):
    for k in range(40):
        learner.call_ended(ended(f"r{k}"))
        learner.scored(Feedback(f"r{k}", 0.9, 0.0))
    forecast = ask(learner.snapshot())
    assert forecast.mean[0] > 0.85
    assert forecast.mean[1] == 0.9
    assert forecast.error[0] < forecast.error[1]
    assert learner.snapshot() is None
    assert DECLARED.tolist() == [0.5, 0.9]


def test_one_score_does_not_outweigh_what_is_declared(learner):
    learner.call_ended(ended("r", endpoint="api"))
    learner.scored(Feedback("r", 0.0, 0.0))
    assert 0.6 < ask(learner.snapshot()).mean[1] < 0.9


def test_steps_differ_and_endpoints_of_one_model_do_not(learner):
    for k in range(60):
        for step, score in (("easy", 1.0), ("hard", 0.0)):
            learner.call_ended(ended(f"{step}{k}", step))
            learner.scored(Feedback(f"{step}{k}", score, 0.0))
    known = learner.snapshot()
    assert ask(known, "easy").mean[0] > 0.9
    assert ask(known, "hard").mean[0] < 0.1
    assert 0.3 < ask(known, "new").mean[0] < 0.7
    twin = ask(known, "easy", endpoints=["gpu-2", "api"])
    assert twin.mean[0] == ask(known, "easy").mean[0]


def test_only_what_answered_is_scored_and_only_once(learner):
    learner.call_ended(ended("r", status="reset"))
    learner.scored(Feedback("r", 1.0, 0.0))
    learner.scored(Feedback("never seen", 1.0, 0.0))
    assert learner.snapshot() is None
    learner.call_ended(ended("r"))
    learner.scored(Feedback("r", 1.0, 0.0))
    before = learner.snapshot()
    learner.scored(Feedback("r", 0.0, 0.0))
    assert learner.snapshot() is None
    assert ask(before).mean[0] > 0.5


def teach_prompts(learner, count, matters):
    rng = np.random.default_rng(0)
    for k in range(count):
        hard = bool(rng.integers(2))
        text = ("prove the theorem by induction" if hard else "translate this greeting please") + f" {rng.integers(99)}"
        score = (0.1 if hard else 0.9) if matters else float(rng.random())
        learner.call_ended(ended(f"r{k}", features=packed_features(text)))
        learner.scored(Feedback(f"r{k}", score, 0.0))
    return learner.snapshot()


def test_prompts_that_read_alike_are_asked_where_it_pays(learner):
    known = teach_prompts(learner, 200, matters=True)
    hard, easy = packed_features("prove the theorem by induction"), packed_features("translate this greeting please")
    assert ask(known, features=hard).mean[0] < 0.35
    assert ask(known, features=easy).mean[0] > 0.65


def test_prompts_are_not_asked_where_it_does_not_pay(learner):
    assert teach_prompts(learner, 200, matters=False).prompts is None


def test_memory_is_bounded(learner, monkeypatch):
    monkeypatch.setattr(module, "_MAX_RUNS", 10)
    monkeypatch.setattr(module, "_MAX_GROUPS", 10)
    for k in range(100):
        learner.call_ended(ended(f"r{k}", f"s{k}"))
    assert len(learner._runs) == 10
    for k in range(100):
        learner.judged(ended(f"r{k}", f"s{k}").call, f"m{k}", 0.5)
    assert len(learner.snapshot().groups) == 10


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_on_recorded_answers_steps_beat_the_mean_of_each_model():
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(
        DATA / "bfcl/calls_latency_2024-08-11.parquet", columns=["model", "category", "test_id", "correct"]
    ).to_pydict()
    rows = [row for row in zip(*table.values(), strict=True) if row[3] is not None and row[3] == row[3]][::7]
    tests = sorted({row[2] for row in rows})
    held = set(tests[::5])
    learner = QualityLearner({})
    seen: dict[str, list[float]] = {}
    for model, step, test, correct in rows:
        if test not in held:
            learner.judged(ModelCall("c", "r", "w", step, 0, model), model, correct)
            seen.setdefault(model, []).append(correct)
    known = learner.snapshot()
    losses = np.zeros(2)
    for model, step, test, correct in rows:
        if test in held and model in seen:
            made = known.predict(ModelCall("c", "r", "w", step, 0, model), [model], np.array([0.5]))
            losses += (correct - made.mean[0]) ** 2, (correct - np.mean(seen[model])) ** 2
    assert losses[0] < 0.88 * losses[1]
