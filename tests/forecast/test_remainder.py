import pytest

from agentsched.core.call import ModelCall, RunInfo
from agentsched.core.records import CallEnded, RunClosed
from agentsched.forecast.remainder import WHOLE_RUN, EmpiricalRemainders
from agentsched.forecast.remainder_learner import RemainderLearner


def ended(step: str, at: float, run_id: str = "r") -> CallEnded:
    call = ModelCall("c", run_id, "w", step, 0, "m")
    return CallEnded(call, at - 1.0, at, "ok", "e", 1, 0, 0.0, None, 1, 1, None, 0.0)


def closed(at: float, outcome: str = "ok", run_id: str = "r") -> RunClosed:
    return RunClosed(RunInfo(run_id, "w", 100.0), at, outcome, 1, 1, 1, 1, 0.0)


def test_what_follows_each_step():
    learner = RemainderLearner()
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
def test_runs_that_were_cut_short_teach_nothing(outcome):
    learner = RemainderLearner()
    learner.call_ended(ended("plan", 102.0))
    learner.run_closed(closed(103.0, outcome))
    assert learner.snapshot() is None


def test_a_late_run_teaches():
    learner = RemainderLearner()
    learner.run_closed(closed(130.0, "late"))
    assert learner.snapshot().rest_s("w", WHOLE_RUN).mean == pytest.approx(30.0)


def test_a_call_that_outlives_its_run_is_followed_by_nothing():
    learner = RemainderLearner()
    learner.call_ended(ended("last", 120.0))
    learner.run_closed(closed(110.0))
    assert learner.snapshot().rest_s("w", "last").mean == 0.0


def test_runs_are_told_apart():
    learner = RemainderLearner()
    learner.call_ended(ended("plan", 102.0, "r1"))
    learner.call_ended(ended("plan", 104.0, "r2"))
    learner.run_closed(closed(105.0, run_id="r1"))
    assert learner.snapshot().rest_s("w", "plan").mean == pytest.approx(3.0)


def test_memory_is_bounded(monkeypatch):
    from agentsched.forecast import remainder_learner as module

    monkeypatch.setattr(module, "_MAX_OPEN_RUNS", 20)
    monkeypatch.setattr(module, "_MAX_CALLS_OF_A_RUN", 5)
    monkeypatch.setattr(module, "_MAX_GROUPS", 10)
    learner = RemainderLearner()
    for k in range(200):
        for _ in range(10):
            learner.call_ended(ended(f"s{k}", 102.0, f"r{k}"))
    assert len(learner._open) <= 21
    assert max(map(len, learner._open.values())) == 5
    for k in range(200):
        learner.run_closed(closed(105.0, run_id=f"r{k}"))
    assert learner._open == {}
    assert len(learner.snapshot().groups) <= 10


def test_nothing_is_known_at_first():
    assert EmpiricalRemainders().rest_s("w", "s") is None
