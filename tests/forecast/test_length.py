import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from agentsched.core.call import ModelCall, Observation, RunInfo
from agentsched.core.forecast import QuantileForecast
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.remainder import RunHistory
from agentsched.forecast import length_learner as module
from agentsched.forecast.length import (
    PRIOR_OUTPUT_TOKENS,
    EmpiricalLengths,
    calibration_groups,
    length_keys,
    view_keys,
)
from agentsched.forecast.length_learner import LengthLearner
from agentsched.scheduler.recording import decode, encode

NEW = RunHistory()


def call(
    workflow: str = "w", step: str = "s", model: str = "m", hinted: int | None = None, **more: object
) -> ModelCall:
    made = ModelCall("c", "r", workflow, step, 0, model, hinted_output_tokens=hinted)
    return dataclasses.replace(made, **more)


def answered(of: ModelCall, tokens: int, at: float = 1.0, arrived: float = 0.0, status: str = "ok") -> CallEnded:
    return CallEnded(of, arrived, at, status, "e", 1, 0, 0.0, 0.1, 10, tokens, None, 0.0)


def learned(*answers: CallEnded) -> EmpiricalLengths:
    learner = LengthLearner()
    for answer in answers:
        learner.call_ended(answer)
    made = learner.snapshot()
    assert made is not None
    return made


def seen(tokens: int, count: int, **of: str) -> list[CallEnded]:
    """Answers of as many runs."""
    return [answered(call(run_id=f"r{k}-{tokens}", **of), tokens) for k in range(count)]


def play(learner: LengthLearner, run: str, steps: list[tuple[str, int]], start: float = 0.0) -> RunHistory:
    """A run whose calls follow one another."""
    history = RunHistory()
    for k, (step, tokens) in enumerate(steps):
        at = start + k
        learner.call_ended(answered(call(step=step, run_id=run), tokens, at + 0.5, at))
        history.answered(step, 10, tokens)
    return history


# -- predicting ------------------------------------------------------------------------------------------------------


def test_nothing_known_is_the_prior():
    assert EmpiricalLengths().predict(call(), NEW) is PRIOR_OUTPUT_TOKENS
    assert PRIOR_OUTPUT_TOKENS.quantile(0.5) == pytest.approx(150, rel=0.02)


def test_the_narrowest_known_group_answers():
    groups = {key: QuantileForecast.constant(float(k)) for k, key in enumerate(length_keys("w", "s", "m"))}
    for k, key in reversed(list(enumerate(length_keys("w", "s", "m")))):
        assert EmpiricalLengths(groups).predict(call(), NEW).mean == k
        del groups[key]
    assert EmpiricalLengths(groups).predict(call(), NEW) is PRIOR_OUTPUT_TOKENS


def test_the_view_of_the_narrowest_scope_looks_at_the_history():
    history = RunHistory()
    history.answered("plan", 10, 100)
    narrow, wide = view_keys("sequence", call(), history.answers, None)[-2:]
    groups = {key: QuantileForecast.constant(1.0) for key in length_keys("w", "s", "m")}
    groups |= {narrow: QuantileForecast.constant(2.0), wide: QuantileForecast.constant(3.0)}
    assert EmpiricalLengths(groups).predict(call(), history).mean == 1.0
    assert EmpiricalLengths(groups, {("", "", ""): "sequence"}).predict(call(), history).mean == 3.0
    assert (
        EmpiricalLengths(groups, {("", "", ""): "sequence", ("w", "s", ""): "step"}).predict(call(), history).mean
        == 1.0
    )
    history.answered("plan", 10, 100)
    assert EmpiricalLengths(groups, {("w", "", ""): "sequence"}).predict(call(), history).mean == 2.0


def test_offsets_move_the_forecast():
    groups = {("", "", ""): QuantileForecast.constant(99.0)}
    made = EmpiricalLengths(groups, offsets={("", "", ""): np.full(32, np.log(2.0)), ("w", "s", "m"): np.full(32, 0.0)})
    assert made.predict(call(), NEW).mean == pytest.approx(199.0)
    assert made.predict(call("other"), NEW).mean == pytest.approx(199.0)


def test_a_hint_is_believed():
    made = EmpiricalLengths({("", "", ""): QuantileForecast.constant(9.0)}).predict(call(hinted=300), NEW)
    assert made.quantile(0.5) == pytest.approx(300, rel=0.01)
    assert made.quantile(0.95) < 700
    assert EmpiricalLengths().predict(call(hinted=0), NEW).quantile(0.5) == pytest.approx(1.0, rel=0.01)


def test_groups_with_unknown_parts_are_there_once():
    assert length_keys("w", "", "m") == (("", "", ""), ("", "", "m"), ("w", "", ""), ("w", "", "m"))
    assert length_keys("", "", "") == (("", "", ""),)
    assert len(length_keys("w", "s", "m")) == 5
    assert calibration_groups("w", "", "") == (("", "", ""), ("w", "", ""))
    assert calibration_groups("", "", "") == (("", "", ""),)
    assert calibration_groups("", "", "m") == (("", "", ""), ("", "", "m"))


@pytest.mark.parametrize(
    ("view", "tokens", "other"), [("own", 100, 80), ("own", 100, 150), ("sequence", 2, 3), ("sequence", 4, 6)]
)
def test_sizes_are_told_apart_by_half_octaves(view, tokens, other):
    def groups(of: int) -> tuple[tuple[str, ...], ...]:
        return view_keys(view, call(), [("s", of)], of)

    assert groups(tokens) != groups(other)
    assert groups(100) == groups(120)
    assert groups(0) == groups(1)
    assert groups(1 << 40)


def test_prompts_are_told_apart_by_octaves():
    assert view_keys("prompt", call(input_tokens=100), [], None) == view_keys(
        "prompt", call(input_tokens=120), [], None
    )
    assert view_keys("prompt", call(input_tokens=100), [], None) != view_keys(
        "prompt", call(input_tokens=140), [], None
    )


# -- learning --------------------------------------------------------------------------------------------------------


def test_few_answers_are_shrunk_toward_what_was_believed_and_many_are_not():
    tails = [learned(*seen(20, count)).predict(call(), NEW).quantile(0.95) for count in (1, 2, 5, 250)]
    assert tails == sorted(tails, reverse=True)
    assert tails[0] > 300
    assert tails[-1] == pytest.approx(20, rel=0.3)


def test_five_answers_are_of_use():
    made = learned(*seen(20, 5)).predict(call(), NEW)
    assert made.quantile(0.5) < 40, "the prior's median is 150"


def test_one_answer_is_no_evidence_twice():
    """Groups that hold the same answers shrink once, not once per group: 4 answers weigh 4 / (4 + 4)."""
    made = learned(*seen(20, 4))
    expected = PRIOR_OUTPUT_TOKENS.mixed(QuantileForecast.constant(20.0), 0.5)
    np.testing.assert_allclose(made.groups["w", "s", "m"].values, expected.values)


def test_steps_are_told_apart_and_strangers_learn_from_kin():
    made = learned(*seen(20, 40, step="short"), *seen(900, 40, step="long"))
    assert made.predict(call(step="short"), NEW).quantile(0.5) < 40
    assert made.predict(call(step="long"), NEW).quantile(0.5) > 600
    assert 20 <= made.predict(call(step="new"), NEW).quantile(0.5) <= 900


@pytest.mark.parametrize("answer", [answered(call(), 20, status="server"), answered(call(), 0)])
def test_failures_and_empty_answers_teach_nothing(answer):
    learner = LengthLearner()
    learner.call_ended(answer)
    assert learner.snapshot() is None


def test_answers_that_reached_their_cap_would_have_been_longer():
    capped = call(max_tokens=100)
    made = learned(*[answered(dataclasses.replace(capped, run_id=f"r{k}"), 100) for k in range(60)])
    assert made.predict(call(), NEW).quantile(0.5) > 110
    half = [answered(call(run_id=f"r{k}", max_tokens=100), 100 if k % 2 else 40) for k in range(60)]
    assert learned(*half).predict(call(), NEW).quantile(0.25) == pytest.approx(40, abs=8)
    assert learned(*half).predict(call(), NEW).quantile(0.9) > 110


def cut_off(tokens: int, status: str) -> Observation:
    return Observation("c.1", "c", "r", "w", "s", "e", "m", 0.0, 0.1, 1.0, 10, tokens, None, None, status)


def test_answers_that_were_cut_short_would_have_been_longer():
    learner = LengthLearner()
    for _ in range(40):
        learner.learn(cut_off(500, "deadline"))
        learner.call_ended(answered(call(), 0, status="deadline"))
    made = learner.snapshot()
    assert made.predict(call(), NEW).quantile(0.1) > 400
    learner = LengthLearner()
    learner.learn(cut_off(500, "cancelled"))
    learner.call_ended(answered(call(), 0, status="cancelled"))
    assert learner.snapshot() is None, "a hedge's loser says nothing"


def test_what_the_run_was_answered_before_tells_what_comes():
    """A step that is asked for a plan and for one word in turn looks like a mixture until its history is looked at."""
    learner = LengthLearner()
    for run in range(12):
        play(learner, f"r{run}", [("s", 400), ("s", 5)] * 5)
        learner.snapshot()
    play(learner, "last", [("s", 400)])
    made = learner.snapshot()
    after_plan, after_word = RunHistory(), RunHistory()
    after_plan.answered("s", 10, 400)
    after_word.answered("s", 10, 400)
    after_word.answered("s", 10, 5)
    assert made.predict(call(), after_plan).quantile(0.5) == pytest.approx(5, abs=1.5)
    assert made.predict(call(), after_word).quantile(0.5) == pytest.approx(400, rel=0.1)


def test_only_what_had_ended_when_a_call_was_made_is_its_history():
    learner = LengthLearner()
    learner.call_ended(answered(call(step="a"), 7, at=2.0))
    assert learner._before(call(step="b"), 1.0) == ([], None)
    assert learner._before(call(step="a"), 3.0) == ([("a", 7)], 7)


def test_a_change_of_lengths_is_noticed_and_followed():
    rng = np.random.default_rng(5)
    learner, drifts = LengthLearner(), []
    covered = []
    for k in range(700):
        typical = 200.0 if k < 400 else 400.0
        tokens = int(typical * np.exp(0.5 * rng.standard_normal()))
        known = learner.snapshot()
        if known is not None and k >= 500:
            covered.append(tokens <= known.predict(call(), NEW).quantile(0.9))
        learner.call_ended(answered(call(run_id=f"r{k}"), tokens))
        drifts += [(k, drift) for drift in learner.take_drifts()]
    assert [drift.group for _, drift in drifts] == [("w", "s", "m")]
    assert 400 < drifts[0][0] < 450
    assert "of the last" in str(drifts[0][1])
    assert np.mean(covered) > 0.85
    assert learner.take_drifts() == ()


def test_a_snapshot_is_made_only_of_news_and_never_changes():
    learner = LengthLearner()
    learner.call_ended(answered(call(), 20))
    first = learner.snapshot()
    assert learner.snapshot() is None
    before = first.predict(call(), NEW).values.copy()
    for answer in seen(900, 50):
        learner.call_ended(answer)
    second = learner.snapshot()
    assert second.predict(call(), NEW).quantile(0.5) > 500
    np.testing.assert_array_equal(first.predict(call(), NEW).values, before)
    with pytest.raises(TypeError):
        first.groups["", "", ""] = PRIOR_OUTPUT_TOKENS


def test_a_snapshot_can_be_recorded():
    learner = LengthLearner()
    for number in range(5):
        play(learner, f"r{number}", [("s", 400), ("s", 5)] * 3)
        learner.snapshot()
    play(learner, "last", [("s", 400)])
    made = learner.snapshot()
    read = decode(json.loads(json.dumps(encode(made))))
    history = RunHistory()
    history.answered("s", 10, 400)
    assert read.views == dict(made.views)
    np.testing.assert_array_equal(read.predict(call(), history).values, made.predict(call(), history).values)


def test_the_past_is_forgotten():
    made = learned(*seen(900, 300), *seen(20, 256))
    assert made.groups["w", "s", "m"].quantile(0.9) < 30


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_MAX_GROUPS", 50)
    monkeypatch.setattr(module, "_MAX_OPEN_RUNS", 30)
    monkeypatch.setattr(module, "_MAX_CUT", 20)
    learner = LengthLearner()
    for k in range(500):
        learner.call_ended(answered(call(workflow=f"w{k}", run_id=f"r{k}"), 20))
        learner.call_ended(answered(call(workflow="kept", run_id="kept"), 30))
        learner.learn(dataclasses.replace(cut_off(5, "reset"), call_id=f"c{k}"))
    made = learner.snapshot()
    assert len(made.groups) <= 50
    assert len(learner._seen) == len(learner._chains) == 50
    assert len(learner._runs) == 30
    assert len(learner._cut) <= 21
    assert ("", "", "") in made.groups
    assert ("kept", "s", "m") in made.groups, "what is used is not forgotten"
    assert ("w0", "s", "m") not in made.groups
    assert ("w499", "s", "m") in made.groups


def test_a_closed_run_is_forgotten():
    learner = LengthLearner()
    learner.call_ended(answered(call(), 20))
    learner.run_closed(RunClosed(RunInfo("r", "w", 0.0), 1.0, "ok", 1, 1, 10, 20, 0.0))
    assert not learner._runs


SCRIPT = """
from agentsched.forecast.length_learner import LengthLearner
from agentsched.core.call import ModelCall
from agentsched.core.records import CallEnded
learner = LengthLearner()
for k in range(30):
    call = ModelCall("c", f"r{k % 4}", f"w{k%3}", f"s{k%5}", 0, f"m{k%2}")
    learner.call_ended(CallEnded(call, float(k), k + 0.5, "ok", "e", 1, 0, 0.0, 0.1, 10, 10 + k, None, 0.0))
made = learner.snapshot()
print(sorted((key, [v.hex() for v in forecast.values.tolist()]) for key, forecast in made.groups.items()))
print(sorted(made.views.items()), sorted((key, offset.tolist()) for key, offset in made.offsets.items()))
"""


def test_what_is_learned_does_not_depend_on_the_hashes_of_the_process():
    told = set()
    for seed in "012":
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        told.add(run.stdout)
    assert len(told) == 1
