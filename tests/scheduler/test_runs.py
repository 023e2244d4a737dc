"""Runs: their records, calls that outlive them, calls that nobody announced."""

from agentsched.core.call import FailureKind, RunInfo
from agentsched.core.forecast import QuantileForecast
from agentsched.core.records import RunOpened
from agentsched.core.remainder import RemainderForecast
from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.scheduler.actions import Fail
from agentsched.scheduler.events import ForecastsReplaced
from tests.scheduler.bench import Bench, FixedLengths, endpoint


def test_a_run_is_opened_and_closed():
    bench = Bench("a")
    bench.run(deadline_s=5.0)
    bench.advance(2.0)
    bench.end_run(outcome="deadline")
    (opened,) = bench.all(RunOpened)
    (closed,) = bench.closed_runs
    assert opened.run == closed.run
    assert (closed.outcome, closed.ended_at - closed.run.started_at, closed.calls) == ("deadline", 2.0, 0)
    bench.end_run()
    assert len(bench.closed_runs) == 1


def test_a_call_may_outlive_its_run():
    """A stream that is read after the decorated function has returned."""
    bench = Bench("a")
    bench.run()
    seen = bench.call(stream=True)
    bench.progress(seen)
    bench.end_run()
    ended_at = bench.now
    assert bench.closed_runs == []
    bench.advance(3.0)
    bench.finish(seen)
    assert seen.ended.status == "ok"
    (closed,) = bench.closed_runs
    assert (closed.ended_at, closed.calls, closed.outcome) == (ended_at, 1, "ok")
    assert bench.scheduler.ledger.runs == {}


def test_the_calls_of_a_cancelled_run_are_cancelled():
    """Threads do not end with the task that was cancelled; what they wait for must not keep slots, or start."""
    bench = Bench(endpoint("a", max_concurrency=2))
    bench.run()
    bench.run("other")
    running, streaming, waiting = bench.call(), bench.call(stream=True), bench.call()
    bench.progress(streaming)
    theirs = bench.call(run_id="other")
    actions = bench.end_run(outcome="cancelled")
    assert [seen.ended.status for seen in (running, streaming, waiting)] == ["cancelled"] * 3
    assert [action.failure.kind for action in actions if isinstance(action, Fail)] == [FailureKind.CANCELLED] * 3
    assert len(waiting.starts) == 0
    assert len(theirs.starts) == 1
    (closed,) = bench.closed_runs
    assert (closed.outcome, closed.calls) == ("cancelled", 3)


def test_a_run_that_nobody_announced_leaves_nothing_behind():
    bench = Bench("a")
    for k in range(10):
        bench.finish(bench.call(run_id=f"unheard of {k}"))
    assert bench.scheduler.ledger.runs == {}
    assert bench.closed_runs == []


def test_a_late_announcement_is_believed():
    bench = Bench("a")
    seen = bench.call()
    bench.run(max_cost_usd=3.0)
    bench.finish(seen)
    bench.end_run()
    (closed,) = bench.closed_runs
    assert closed.run.max_cost_usd == 3.0
    assert closed.calls == 1


def test_a_second_announcement_changes_nothing():
    bench = Bench("a")
    bench.run()
    bench.finish(bench.call())
    bench.run()
    bench.end_run()
    assert bench.closed_runs[0].calls == 1


def test_new_forecasts_are_for_the_calls_to_come():
    bench = Bench("a", lengths=FixedLengths(20))
    bench.call(10.0)
    lengths = EmpiricalLengths({("", "", ""): QuantileForecast.constant(300.0)})
    bench.feed(ForecastsReplaced(lengths, EmpiricalRemainders()))
    bench.call(10.0)
    assert [decision.output_tokens for decision in bench.decisions] == [20.0, 300.0]


class EightSecondsAfterPlan:
    """Nothing follows the other steps."""

    def predict(self, call, history):
        return RemainderForecast.of_seconds(QuantileForecast.constant(8.0 if call.step == "plan" else 0.0))


def test_what_follows_counts_for_the_run():
    bench = Bench("a", remainders=EightSecondsAfterPlan(), lengths=FixedLengths(20))
    now = bench.now
    for run_id, deadline_s in (("tight", 8.2), ("loose", 20.0)):
        bench.run(run_id, deadline_at=now + deadline_s)
        bench.call(8.0, run_id=run_id, step="plan")
        bench.call(8.0, run_id=run_id, step="write")
    assert [decision.p_meet for decision in bench.decisions] == [0.0, 1.0, 1.0, 1.0]


def test_the_representation_says_what_is_open():
    bench = Bench("a")
    bench.run()
    bench.call()
    assert repr(bench.scheduler) == "<Scheduler runs=1 calls=1 running=1 waiting=0>"
    assert RunInfo("r", "w", 0.0).tenant == "default"
