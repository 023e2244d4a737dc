import json

import numpy as np
import pytest

from agentsched.core.call import ModelCall, RunInfo
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.structure import EdgeKind, StructureEdge, WorkflowStructure
from agentsched.forecast.remainder import WHOLE_RUN, EmpiricalRemainders
from agentsched.forecast.remainder_learner import RemainderLearner
from agentsched.scheduler.recording import decode, encode

LOOP = WorkflowStructure(
    "test",
    ("agent", "tools"),
    (StructureEdge("agent", "tools", EdgeKind.CONDITIONAL), StructureEdge("tools", "agent")),
    entry=("agent",),
    ends=("agent",),
)


def ended(step: str, at: float, run_id: str = "r") -> CallEnded:
    call = ModelCall("c", run_id, "w", step, 0, "m")
    return CallEnded(call, at - 1.0, at, "ok", "e", 1, 0, 0.0, None, 1, 1, None, 0.0)


def closed(at: float, outcome: str = "ok", run_id: str = "r") -> RunClosed:
    return RunClosed(RunInfo(run_id, "w", 100.0), at, outcome, 1, 1, 1, 1, 0.0)


@pytest.fixture
def learner() -> RemainderLearner:
    return RemainderLearner()


# -- seconds ---------------------------------------------------------------------------------------------------------


def test_what_follows_each_step(learner):
    for _ in range(3):
        for step, at in (("plan", 102.0), ("search", 105.0), ("search", 107.0), ("write", 110.0)):
            learner.call_ended(ended(step, at))
        learner.run_closed(closed(111.0))
    made = learner.snapshot()
    assert made.rest_s("w", "plan").mean == pytest.approx(9.0)
    assert made.rest_s("w", "search").values.min() == pytest.approx(4.0)
    assert made.rest_s("w", "search").values.max() == pytest.approx(6.0)
    assert made.rest_s("w", "write").mean == pytest.approx(1.0)
    assert made.rest_s("w", WHOLE_RUN).mean == pytest.approx(11.0)
    assert made.rest_s("w", "other") is None
    assert made.rest_s("other", "plan") is None
    assert learner.snapshot() is None


@pytest.mark.parametrize("outcome", ["deadline", "error", "cancelled"])
def test_runs_that_were_cut_short_do_not_tell_how_long_a_run_takes(learner, outcome):
    learner.call_ended(ended("plan", 102.0))
    learner.run_closed(closed(103.0, outcome))
    assert learner.snapshot().rest_s("w", "plan") is None


def test_a_late_run_teaches(learner):
    learner.run_closed(closed(130.0, "late"))
    assert learner.snapshot().rest_s("w", WHOLE_RUN).mean == pytest.approx(30.0)


def test_a_call_that_outlives_its_run_is_followed_by_nothing(learner):
    learner.call_ended(ended("last", 120.0))
    learner.run_closed(closed(110.0))
    assert learner.snapshot().rest_s("w", "last").mean == 0.0


def test_runs_are_told_apart(learner):
    learner.call_ended(ended("plan", 102.0, "r1"))
    learner.call_ended(ended("plan", 104.0, "r2"))
    learner.run_closed(closed(105.0, run_id="r1"))
    assert learner.snapshot().rest_s("w", "plan").mean == pytest.approx(3.0)


# -- work ------------------------------------------------------------------------------------------------------------


def test_nothing_is_known_at_first(runs):
    assert EmpiricalRemainders().rest_s("w", "s") is None
    assert runs.ask(EmpiricalRemainders(), "s") is None


def test_runs_that_are_all_alike(learner, runs):
    for _ in range(30):
        runs.teach(learner, ["plan", "search", "search", "write"], outputs=[5, 10, 20, 40])
    known = learner.snapshot()
    for steps, calls, output, prompt in (
        (["plan"], 3, 70, 900),
        (["plan", "search"], 2, 60, 700),
        (["plan", "search", "search"], 1, 40, 400),
        (["plan", "search", "search", "write"], 0, 0, 0),
    ):
        forecast = runs.ask(known, *steps)
        assert np.median(forecast.calls) == pytest.approx(calls, abs=0.02)
        assert np.median(forecast.output_tokens) == pytest.approx(output, rel=0.1)
        assert np.median(forecast.prompt_tokens) == pytest.approx(prompt, rel=0.1)
        assert (np.rint(forecast.calls) == calls).mean() > 0.75


def test_samples_are_joint_shuffled_and_the_same_every_time(learner, runs):
    rng = np.random.default_rng(3)
    for _ in range(60):
        length = int(rng.integers(1, 12))
        runs.teach(learner, ["a"] * length, outputs=[100] * length)
    known = learner.snapshot()
    forecast, again = runs.ask(known, "a", "a"), runs.ask(known, "a", "a")
    assert np.array_equal(forecast.output_tokens, again.output_tokens)
    assert np.corrcoef(forecast.output_tokens, forecast.calls)[0, 1] > 0.98
    assert len(set(np.rint(forecast.calls))) > 5
    assert (np.diff(forecast.calls) < 0).any()
    assert not forecast.calls.flags.writeable


def test_loops_are_longer_tailed_the_longer_they_have_run(learner, runs):
    rng = np.random.default_rng(5)
    for _ in range(300):  # each run has its own patience: having come far says that it is a long one
        stop = rng.beta(1.0, 2.0)
        runs.teach(learner, ["a"] * min(400, int(rng.geometric(max(stop, 0.01)))))
    known = learner.snapshot()
    tails = [np.quantile(runs.ask(known, *["a"] * count).calls, 0.9) for count in (1, 4, 10, 25)]
    assert tails == sorted(tails)
    assert tails[-1] > 2 * tails[0]


@pytest.mark.parametrize("known", [EmpiricalRemainders(guess=True), None], ids=["nothing", "structure"])
def test_before_any_run_loops_get_longer_tailed(learner, runs, known):
    if known is None:
        learner.structure_seen("w", LOOP)
        known = learner.snapshot()
    for level in (0.5, 0.9, 0.97):
        tails = [np.quantile(runs.ask(known, *["agent"] * count).calls, level) for count in range(1, 40)]
        assert tails == sorted(tails)
        assert tails[-1] > tails[0]


def test_beyond_everything_seen_it_may_go_on(learner, runs):
    for length in range(2, 8):
        runs.teach(learner, ["a"] * length)
    known = learner.snapshot()
    means = [runs.ask(known, *["a"] * count).calls.mean() for count in (10, 20, 40, 80)]
    assert means == sorted(means)
    assert means[0] > 1.0


def test_a_limit_on_the_length_is_noticed(learner, runs):
    for length in [3, 5, 8, 9, 10, 10, 10, 10, 10] * 4:
        runs.teach(learner, ["a"] * length)
    known = learner.snapshot()
    for count in (1, 5, 9, 10):
        assert runs.ask(known, *["a"] * count).calls.max() <= 10 - count


def test_runs_cut_short_count_as_at_least_so_long(runs):
    fair, cut = RemainderLearner(), RemainderLearner()
    for k in range(80):
        runs.teach(fair, ["a"] * (4 if k % 2 else 8))
        runs.teach(cut, ["a"] * 4, outcome="ok" if k % 2 else "deadline")
    after = [runs.ask(learner.snapshot(), "a").calls for learner in (fair, cut)]
    assert (after[1] >= 2).all()
    assert (np.rint(after[1]) > 3).mean() == pytest.approx(0.5, abs=0.2)
    assert after[1].mean() >= after[0].mean() - 1


def test_a_workflow_that_never_finishes_is_not_believed_to_be_short(learner, runs):
    for _ in range(20):
        runs.teach(learner, ["a"] * 3, outcome="deadline")
    assert runs.ask(learner.snapshot(), "a").calls.min() >= 2
    assert np.median(runs.ask(learner.snapshot() or EmpiricalRemainders(guess=True), "a").calls) >= 1


def test_a_step_never_seen_borrows_from_its_workflow(learner, runs):
    for _ in range(20):
        runs.teach(learner, ["a", "b", "c", "d"])
    assert np.median(runs.ask(learner.snapshot(), "a", "new").calls) == pytest.approx(2)


def test_words_tell_runs_apart(learner, runs):
    rng = np.random.default_rng(1)
    short, long = np.array([3, 7], dtype="<u2").tobytes(), np.array([90, 7], dtype="<u2").tobytes()
    for _ in range(60):
        last = bool(rng.integers(2))
        runs.teach(learner, ["a"] * (1 if last else 9), features=[short if last else long] * 9)
    known = learner.snapshot()
    over = known.predict(runs.call(["a"], features=short), runs.history(["a"])).calls
    more = known.predict(runs.call(["a"], features=long), runs.history(["a"])).calls
    assert np.median(over) == 0
    assert np.median(more) == 8


def test_what_the_user_said_goes_first(learner, runs):
    for _ in range(10):
        runs.teach(learner, ["a", "a"])
    for known in (EmpiricalRemainders(), learner.snapshot()):
        forecast = runs.ask(known, "a", remaining_calls=6.0)
        assert forecast.calls.tolist() == [6.0] * 32
        assert forecast.output_tokens.std() > 0
    assert runs.ask(known, "a", remaining_calls=0.0).output_tokens.tolist() == [0.0] * 32


def test_a_structure_tells_before_the_first_run_and_is_outvoted_by_runs(learner, runs):
    learner.structure_seen("w", LOOP)
    cold = learner.snapshot()
    assert runs.ask(cold, "agent").calls.max() > 4
    assert learner.snapshot() is None
    learner.structure_seen("w", LOOP)
    assert learner.snapshot() is None
    for _ in range(40):
        runs.teach(learner, ["agent"])
    assert (runs.ask(learner.snapshot(), "agent").calls == 0).all()


def test_a_workflow_may_have_several_structures(learner, runs):
    chain = (StructureEdge("x", "y"),)
    learner.structure_seen("w", WorkflowStructure("test", ("x", "y"), chain, ("x",), ("y",), calls={"x": 1, "y": 1}))
    learner.structure_seen("w", LOOP)
    known = learner.snapshot()
    assert runs.ask(known, "x").calls.tolist() == [1.0] * 32
    assert runs.ask(known, "agent").calls.max() > 4


def test_prompts_to_come_are_at_least_like_the_one_at_hand(runs):
    known = EmpiricalRemainders(guess=True)
    small, big = (
        known.predict(ModelCall("c", "r", "w", "a", 0, "m", input_tokens=tokens), runs.history(["a"]))
        for tokens in (10, 50_000)
    )
    assert big.prompt_tokens.sum() > 10 * small.prompt_tokens.sum() > 0


def test_a_snapshot_does_not_change(learner, runs):
    for _ in range(10):
        runs.teach(learner, ["a", "b"])
    known = learner.snapshot()
    before = runs.ask(known, "a").calls.copy()
    for _ in range(200):
        runs.teach(learner, ["a"] * 9)
    learner.snapshot()
    assert np.array_equal(runs.ask(known, "a").calls, before)


def test_a_snapshot_survives_recording(learner, runs):
    learner.structure_seen("w", LOOP)
    words = np.array([5, 9], dtype="<u2").tobytes()
    for length in [1, 2, 3, 4, 5, 6, 7, 8, 9] * 2:
        runs.teach(learner, ["a", "b", "c"] * length, features=[words] * 3 * length)
    runs.teach(learner, ["a"], outcome="error")
    known = learner.snapshot()
    again = decode(json.loads(json.dumps(encode(known))))
    for steps in (["a"], ["a", "b", "c"], ["new"]):
        for name in ("calls", "output_tokens", "prompt_tokens", "tool_s"):
            assert np.array_equal(getattr(runs.ask(known, *steps), name), getattr(runs.ask(again, *steps), name))


# -- memory ----------------------------------------------------------------------------------------------------------


def test_memory_is_bounded(learner, monkeypatch):
    from agentsched.forecast import remainder_learner as module

    monkeypatch.setattr(module, "_MAX_OPEN_RUNS", 20)
    monkeypatch.setattr(module, "_MAX_CALLS_OF_A_RUN", 5)
    monkeypatch.setattr(module, "_MAX_GROUPS", 10)
    for k in range(200):
        for _ in range(10):
            learner.call_ended(ended(f"s{k}", 102.0, f"r{k}"))
    assert len(learner._open) <= 21
    assert max(map(len, learner._open.values())) == 5
    assert len(learner._cut) <= len(learner._open)
    for k in range(200):
        learner.run_closed(closed(105.0, run_id=f"r{k}"))
    assert learner._open == {}
    assert learner._cut == set()
    assert learner._open_calls == 0
    assert len(learner.snapshot().groups) <= 10


def test_past_runs_are_bounded(learner, runs, monkeypatch):
    from agentsched.forecast import remainder_learner, run_memory

    monkeypatch.setattr(run_memory, "_MOST_ROWS", 60)
    monkeypatch.setattr(remainder_learner, "_MAX_ROWS", 200)
    for k in range(100):
        runs.teach(learner, ["a"] * 6, workflow=f"w{k % 10}")
    known = learner.snapshot()
    assert sum(len(table.step) for table in known.workflows.values()) <= 200
    runs.teach(learner, ["a"] * 1000, workflow="long")
    runs.teach(learner, ["a"] * 1000, workflow="long")
    table = learner.snapshot().workflows["long"]
    assert len(table.step) == 256
    assert table.work[:, 2].max() == 999
