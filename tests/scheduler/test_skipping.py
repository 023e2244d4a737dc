"""Optional steps are left out at their first call where the run would be late with them and in time without."""

import pytest

from agentsched.core.call import FailureKind, ModelCall
from agentsched.core.forecast import QuantileForecast
from agentsched.core.optional import step_of_visit, visit_of
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.remainder import RemainderForecast, RunHistory
from agentsched.core.rules import Rules, SkipRules
from agentsched.errors import ConfigError
from agentsched.scheduler.recording import decode, encode
from tests.scheduler.bench import Bench, FixedLengths, Seen, endpoint

TOKENS = 200
WORD_S = 0.02
"""About what a token takes at an endpoint of which nothing is known."""


def seconds(value: float) -> RemainderForecast:
    return RemainderForecast.of_seconds(QuantileForecast.constant(value))


class Rest:
    """``rest_s`` follows every call, and less if a step is left out."""

    def __init__(self, rest_s: float, **after_s: float) -> None:
        self.rest_s, self.after_s = rest_s, after_s

    def predict(self, call: ModelCall, history: RunHistory) -> RemainderForecast:
        return seconds(self.rest_s)

    def after_leaving(self, call: ModelCall, history: RunHistory, step: str) -> RemainderForecast | None:
        after_s = self.after_s.get(step)
        return None if after_s is None else seconds(after_s)


def bench_with(rest: object, *names: str, deadline_s: float = 10.0, **fields: object) -> Bench:
    bench = Bench(*(names or ("a",)), lengths=FixedLengths(TOKENS), remainders=rest, **fields)  # type: ignore[arg-type]
    bench.run("r", deadline_at=bench.now + deadline_s, deadline_s=deadline_s)
    return bench


def optional(bench: Bench, *visits: str, deadline_s: float | None = 10.0, **fields: object) -> Seen:
    return bench.call(deadline_s, optional=visits, step=step_of_visit(visits[-1]), **fields)


def test_a_visit_is_named_by_its_step_whatever_that_is_called():
    assert step_of_visit(visit_of("a#b", 3)) == "a#b"


def test_logs_made_elsewhere_may_name_the_step_alone():
    assert step_of_visit("critique") == "critique"


def test_a_step_is_left_out_if_the_run_is_in_time_without_it_only():
    bench = bench_with(Rest(9.9, critique=8.0))
    seen = optional(bench, "critique#0")
    assert seen.starts == []
    assert (seen.failed.failure.kind, seen.failed.skipped) == (FailureKind.SKIPPED, "critique#0")
    assert (seen.ended.status, seen.ended.attempts, seen.ended.cost_usd) == ("skipped", 0, 0.0)
    (review,) = seen.ended.reviews
    assert (review.verdict, review.attempt_id, review.p_stay, review.p_switch) == ("skip", "", 0.0, 1.0)
    bench.end_run()
    assert bench.all(RunClosed)[0].skipped == ("critique",)


@pytest.mark.parametrize(
    ("rest", "deadline_s"),
    [
        (Rest(1.0, critique=0.5), 60.0),  # there is time enough
        (Rest(9.9, critique=9.9), 10.0),  # leaving it out gains little, as what follows takes all there is
        (Rest(99.0, critique=98.0), 10.0),  # the run is lost anyway
        (Rest(9.9), 10.0),  # nothing is known of what follows the step
    ],
    ids=["time", "little", "lost", "unknown"],
)
def test_otherwise_it_is_done(rest, deadline_s):
    bench = bench_with(rest, deadline_s=deadline_s)
    if rest.after_s.get("critique") == 9.9:
        bench.advance(0.2)
    seen = optional(bench, "critique#0", deadline_s=deadline_s)
    assert seen.failed is None
    assert len(seen.starts) == 1


def test_what_gained_too_little_is_told():
    bench = bench_with(Rest(99.0, critique=98.0))
    seen = optional(bench, "critique#0")
    bench.finish(seen)
    (review,) = seen.ended.reviews
    assert (review.verdict, review.p_stay, review.p_switch) == ("keep", 0.0, 0.0)
    assert "critique" in review.why


def test_without_a_deadline_nothing_is_left_out():
    bench = Bench("a", lengths=FixedLengths(TOKENS), remainders=Rest(99.0, critique=0.0))
    bench.run("r")
    assert optional(bench, "critique#0", deadline_s=None).failed is None


def test_with_a_deadline_that_cuts_nothing_it_is_left_out_as_well():
    bench = Bench("a", lengths=FixedLengths(TOKENS), remainders=Rest(9.9, critique=8.0))
    bench.run("r", deadline_s=10.0, on_late="ignore")
    seen = optional(bench, "critique#0", deadline_s=None, due_at=bench.now + 10.0)
    assert seen.failed.failure.kind is FailureKind.SKIPPED


@pytest.mark.parametrize("min_gain", [0.35, 1.0])
def test_the_gain_must_exceed_what_the_rules_ask_for(min_gain):
    bench = bench_with(Rest(9.9, critique=8.0), rules=Rules(skip=SkipRules(min_gain)))
    assert (optional(bench, "critique#0").failed is None) == (min_gain == 1.0)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, True, "high"])
def test_a_gain_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"skip.min_gain: out of range"):
        SkipRules(wrong)


def test_a_step_that_has_begun_is_not_cut():
    rest = Rest(1.0, critique=0.5)
    bench = bench_with(rest)
    bench.finish(optional(bench, "critique#0"))
    rest.rest_s, rest.after_s = 9.9, {"critique": 1.0}
    assert optional(bench, "critique#0").failed is None
    assert optional(bench, "critique#1").failed is not None, "the next visit decides anew"


def test_once_left_out_its_other_calls_are_too():
    rest = Rest(9.9, critique=8.0)
    bench = bench_with(rest)
    optional(bench, "critique#0")
    rest.rest_s = 0.0
    second = optional(bench, "critique#0")
    assert (second.failed.failure.kind, second.starts) == (FailureKind.SKIPPED, [])
    bench.end_run()
    assert bench.all(RunClosed)[0].skipped == ("critique",)


def test_calls_of_one_visit_that_wait_are_left_out_together():

    rest = Rest(0.5, critique=0.0)
    bench = bench_with(rest, endpoint("a", max_concurrency=1))
    blocking = bench.call(10.0, step="other")
    waiting = [optional(bench, "critique#0") for _ in range(3)]
    assert [seen.failed for seen in waiting] == [None] * 3
    bench.advance(8.8)
    bench.finish(blocking)
    assert [seen.failed.failure.kind for seen in waiting] == [FailureKind.SKIPPED] * 3
    assert [seen.starts for seen in waiting] == [[]] * 3


def test_the_innermost_step_that_gains_enough_is_left_and_the_outer_only_if_it_gains_as_much_again():
    inner_is_enough = bench_with(Rest(9.9, outer=7.0, inner=8.0))
    assert optional(inner_is_enough, "outer#0", "inner#1").failed.skipped == "inner#1"
    only_the_outer = bench_with(Rest(12.0, outer=7.0, inner=11.0))
    assert optional(only_the_outer, "outer#0", "inner#1").failed.skipped == "outer#0"
    outer_has_begun = bench_with(rest := Rest(1.0, outer=0.5, inner=0.5))
    outer_has_begun.finish(optional(outer_has_begun, "outer#0"))
    rest.rest_s, rest.after_s = 9.9, {"outer": 1.0, "inner": 99.0}
    assert optional(outer_has_begun, "outer#0", "inner#1").failed is None


def test_cold_it_is_left_out_only_when_the_time_has_practically_passed():
    bench = bench_with(Rest(0.0))
    assert optional(bench, "critique#0").failed is None
    bench.advance(9.99)
    seen = optional(bench, "critique#1", deadline_s=0.01)
    assert seen.failed.failure.kind is FailureKind.SKIPPED
    assert (seen.ended.reviews[0].p_stay, seen.ended.reviews[0].p_switch) == (0.0, None)


def test_what_is_reserved_for_another_step_is_no_time_of_its_own():
    bench = bench_with(Rest(1.0, critique=1.0))
    cut = optional(bench, "critique#0", deadline_s=0.5)
    assert cut.failed.failure.kind is FailureKind.SKIPPED, "it would be cut, and its run with it"
    bench.advance(1.0)
    seen = optional(bench, "critique#1", deadline_s=-0.5)
    assert seen.failed.failure.kind is FailureKind.SKIPPED
    other = bench.call(-0.5, step="other")
    assert other.failed.failure.kind is FailureKind.DEADLINE


def test_a_step_whose_time_runs_out_while_it_waits_is_left_out():

    bench = bench_with(Rest(0.0, critique=99.0), endpoint("a", max_concurrency=1))
    bench.call(10.0, step="other")
    waiting = optional(bench, "critique#0", deadline_s=5.0)
    bench.advance(5.0)
    assert waiting.failed.failure.kind is FailureKind.SKIPPED


def test_a_branch_that_is_done_before_its_sibling_gains_nothing():
    bench = Bench("a", "b", lengths=FixedLengths(2000), remainders=Rest(1.0, critique=0.5))
    bench.run("r", deadline_at=bench.now + 30.0, deadline_s=30.0)
    slow = bench.call(30.0, parents=("p",))
    assert bench.scheduler.ledger.runs["r"].siblings_until(ModelCall("x", "r", "w", "s", 1, "m", parents=("p",))) > 1030
    branch = optional(bench, "critique#0", deadline_s=30.0, parents=("p",))
    assert branch.failed is None
    assert slow.failed is None


def test_the_history_forgets_a_call_that_was_left_out():
    bench = bench_with(Rest(9.9, critique=8.0))
    optional(bench, "critique#0", tool_s=2.0)
    history = bench.scheduler.ledger.runs["r"].history
    assert (history.steps, history.counts, history.ended, history.tool_s) == ([], {"critique": 0}, 0, 0.0)


def test_only_the_optional_pay_for_the_question():
    class Unasked(Rest):
        def after_leaving(self, call, history, step):
            raise AssertionError("asked for a call that is not optional, or that has time enough")

    bench = bench_with(Unasked(0.5))
    bench.call(10.0)
    optional(bench, "critique#0")
    bench.advance(9.8)
    bench.call(0.2)


def test_a_recording_of_it_replays_exactly():

    bench = bench_with(Rest(9.9, critique=8.0))
    seen = optional(bench, "critique#0")
    assert decode(encode(seen.failed)) == seen.failed
    assert isinstance(seen.ended, CallEnded)
    assert decode(encode(seen.ended)) == seen.ended
