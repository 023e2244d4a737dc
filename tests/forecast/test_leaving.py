"""What follows an optional step if it is left out, learned from runs that did it."""

import numpy as np
import pytest

from agentsched.core.call import ModelCall, RunInfo
from agentsched.core.protocols import LeavingPredictor
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.remainder import RunHistory
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.forecast.remainder_learner import RemainderLearner
from agentsched.scheduler.recording import decode, encode
from agentsched.state.experience import packed_run, unpacked_run

PLAN, CRITIQUE, FINAL = "plan", "critique", "final"
OUTPUTS = {PLAN: 100, CRITIQUE: 300, FINAL: 50}


def call_of(run: str, number: int, step: str, **fields) -> ModelCall:
    visits = ("critique#0",) if step == CRITIQUE else ()
    parents = (f"{run}.{number - 1}",) if number else ()
    return ModelCall(f"{run}.{number}", run, "w", step, number, "m", parents=parents, **{"optional": visits} | fields)


def run_of(name: str, *steps: str, outcome: str = "ok", left_out: bool = False) -> tuple[list[CallEnded], RunClosed]:
    """Calls of a second each, one after another; ``left_out``: the critique was, in no time."""
    calls, now = [], 0.0
    for number, step in enumerate(steps):
        skipped = left_out and step == CRITIQUE
        took_s = 0.0 if skipped else 1.0
        calls.append(
            CallEnded(
                call=call_of(name, number, step),
                arrived_at=now,
                ended_at=now + took_s,
                status="skipped" if skipped else "ok",
                endpoint=None if skipped else "e",
                attempts=0 if skipped else 1,
                retries=0,
                queued_s=0.0,
                ttft_s=None,
                input_tokens=100,
                output_tokens=0 if skipped else OUTPUTS[step],
                cached_input_tokens=None,
                cost_usd=0.0,
            )
        )
        now += took_s
    closed = RunClosed(RunInfo(name, "w", 0.0), now, outcome, len(steps), len(steps), 0, 0, 0.0)
    return calls, closed


def taught(count: int, *steps: str, learner: RemainderLearner | None = None, **fields) -> RemainderLearner:
    learner = RemainderLearner() if learner is None else learner
    for number in range(count):
        calls, closed = run_of(f"r{number}-{id(fields)}", *steps, **fields)
        for record in calls:
            learner.call_ended(record)
        learner.run_closed(closed)
    return learner


def known_by(learner: RemainderLearner) -> EmpiricalRemainders:
    known = learner.snapshot()
    assert known is not None
    return known


def history(*steps: str) -> RunHistory:
    made = RunHistory()
    for step in steps:
        made.arrived(step, 0.0)
    return made


def at_critique(known: EmpiricalRemainders, **fields):
    return known.after_leaving(call_of("now", 1, CRITIQUE, **fields), history(PLAN, CRITIQUE), CRITIQUE)


TWICE = (PLAN, CRITIQUE, CRITIQUE, FINAL)


def test_it_is_what_followed_the_last_call_of_the_step():
    known = known_by(taught(12, *TWICE))
    left = at_critique(known)
    done = known.predict(call_of("now", 1, CRITIQUE), history(PLAN, CRITIQUE))
    assert isinstance(known, LeavingPredictor)
    assert set(left.calls) == {1.0}
    np.testing.assert_allclose(left.output_tokens, OUTPUTS[FINAL], rtol=0.05)
    assert np.median(done.calls) == 2.0
    assert np.median(done.output_tokens) == pytest.approx(OUTPUTS[CRITIQUE] + OUTPUTS[FINAL], rel=0.05)


def test_a_step_of_one_call_leaves_what_follows_that_call():
    known = known_by(taught(12, PLAN, CRITIQUE, FINAL))
    done = known.predict(call_of("now", 1, CRITIQUE), history(PLAN, CRITIQUE))
    assert np.median(at_critique(known).output_tokens) == pytest.approx(np.median(done.output_tokens), rel=0.05)


def test_nothing_is_said_of_what_was_seldom_seen():
    assert at_critique(EmpiricalRemainders(guess=True)) is None
    assert at_critique(known_by(taught(7, *TWICE))) is None
    assert at_critique(known_by(taught(8, *TWICE))) is not None
    other = known_by(taught(12, PLAN, FINAL))
    assert at_critique(other) is None


def test_a_visit_that_the_end_of_its_run_cut_short_teaches_nothing():
    assert at_critique(known_by(taught(12, PLAN, CRITIQUE, outcome="deadline"))) is None
    ended_later = known_by(taught(12, PLAN, CRITIQUE, FINAL, outcome="deadline"))
    assert (at_critique(ended_later).calls >= 1.0).all()


def test_where_the_step_was_the_last_nothing_follows_it():
    left = at_critique(known_by(taught(12, PLAN, CRITIQUE, CRITIQUE)))
    assert (left.calls == 0.0).all()
    assert (left.output_tokens == 0.0).all()


def test_what_the_user_said_goes_before_what_was_learned():
    known = known_by(taught(12, *TWICE))
    assert set(at_critique(known, remaining_calls=4.0).calls) == {4.0}
    assert set(at_critique(EmpiricalRemainders(), remaining_calls=2.0).calls) == {2.0}


def test_a_run_that_left_the_step_out_is_a_run_of_the_rest():
    learner = taught(12, *TWICE)
    before = known_by(learner)
    taught(12, PLAN, CRITIQUE, FINAL, learner=learner, left_out=True)
    after = known_by(learner)
    asked = call_of("now", 1, CRITIQUE), history(PLAN, CRITIQUE)
    assert np.median(after.predict(*asked).calls) == np.median(before.predict(*asked).calls) == 2.0
    assert set(at_critique(after).calls) == {1.0}
    rest_of_plan = after.predict(call_of("now", 0, PLAN), history(PLAN)).calls
    assert {1.0, 3.0} <= set(rest_of_plan), "with the step, and without it"
    final = after.predict(call_of("now", 1, FINAL), history(PLAN, FINAL))
    assert np.median(final.calls) == 0.0


def test_a_run_of_nothing_but_what_was_left_out_teaches_nothing():
    learner = taught(3, CRITIQUE, left_out=True)
    known = known_by(learner)
    assert "w" not in known.workflows


def test_runs_without_optional_steps_have_no_such_tables():
    assert known_by(taught(12, PLAN, FINAL)).workflows["w"].left == {}


def test_recordings_and_stored_runs_keep_it():
    known = known_by(taught(12, *TWICE))
    again = decode(encode(known))
    np.testing.assert_array_equal(at_critique(again).output_tokens, at_critique(known).output_tokens)
    calls, closed = run_of("r", *TWICE)
    unpacked = unpacked_run(packed_run(calls, closed), "r")
    assert [record.call.optional for record in unpacked.calls] == [(), ("critique#0",), ("critique#0",), ()]
