"""What follows a failed attempt: elsewhere, here after a pause, or nothing; and what must never be sent twice."""

import pytest

from agentsched.core.call import FailureKind
from agentsched.core.rules import BreakerRules, RetryRules, Rules
from agentsched.scheduler.actions import Cancel, Deliver, Start
from tests.scheduler.bench import Bench, endpoint

FAULTS = [
    FailureKind.CONNECT,
    FailureKind.RESET,
    FailureKind.SILENT,
    FailureKind.STALLED,
    FailureKind.MALFORMED,
    FailureKind.IN_BAND,
    FailureKind.SERVER,
]
PATIENT = Rules(retry=RetryRules(backoff_s=0.1, max_backoff_s=0.3), breaker=BreakerRules(failures=100))


@pytest.mark.parametrize("kind", [*FAULTS, FailureKind.RATE_LIMITED])
@pytest.mark.parametrize("stream", [False, True])
def test_the_next_try_is_elsewhere_and_at_once(kind, stream):
    bench = Bench("a", "b")
    seen = bench.call(10.0, stream=stream)
    actions = bench.fail(seen, kind)
    assert [a.endpoint for a in actions if isinstance(a, Start)] == ["b"]
    bench.finish(seen)
    assert (seen.ended.status, seen.ended.attempts, seen.ended.retries) == ("ok", 2, 1)
    assert bench.decisions[1].why == ("left" if kind is FailureKind.SILENT else "retry")


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_request_that_is_wrong_is_handed_back_unchanged(status):
    bench = Bench("a", "b")
    seen = bench.call(10.0)
    bench.fail(seen, FailureKind.CLIENT, status=status)
    assert seen.places == ["a"]
    assert seen.failed.passthrough == seen.starts[0].attempt_id
    assert seen.failed.endpoint == "a"
    assert seen.failed.failure.status == status
    assert bench.scheduler.ledger.table.rows.error_rate.max() == 0.0


def test_the_only_endpoint_is_tried_again_soon_and_then_over_the_time_that_is_left():
    """One retry may mend a hiccup; the others are kept for a server that comes back, each twice as late as the last."""
    rules = Rules(retry=RetryRules(backoff_s=0.1))
    bench = Bench("a", rules=rules)
    seen = bench.call(6.0)
    left_s = 6.0 - bench.scheduler.ledger.calls["c0"].attempts["c0.1"].predicted_e2e_s - 0.1
    for pause_s in (0.1, left_s / 3, left_s * 2 / 3):
        tries = len(seen.starts)
        bench.fail(seen)
        bench.advance(0.95 * pause_s)
        assert len(seen.starts) == tries
        bench.advance(0.1 * pause_s)
        assert len(seen.starts) == tries + 1


def test_the_same_endpoint_is_tried_again_after_a_pause_that_is_bounded():
    bench = Bench("a", rules=PATIENT)
    seen = bench.call(10.0)
    for pause_s in (0.1, 0.3, 0.3):
        tries = len(seen.starts)
        bench.fail(seen)
        bench.advance(pause_s - 0.001)
        assert len(seen.starts) == tries
        bench.advance(0.002)
        assert len(seen.starts) == tries + 1
    bench.fail(seen)
    assert seen.failed.failure.kind is FailureKind.SERVER
    assert not seen.failed.saturated
    assert len(seen.starts) == 4


def test_a_pause_that_outlives_the_deadline_is_not_waited_for():
    bench = Bench("a", rules=Rules(retry=RetryRules(backoff_s=5.0)))
    seen = bench.call(2.0)
    bench.fail(seen)
    assert seen.failed.failure.kind is FailureKind.SERVER


def test_those_that_failed_come_last():
    bench = Bench("a", "b", "c", rules=PATIENT)
    seen = bench.call(10.0)
    for _ in range(3):
        bench.fail(seen)
    assert seen.places == ["a", "b", "c"]
    bench.advance(0.15)
    assert len(seen.places) == 4


def test_a_failed_endpoint_is_not_preferred_to_a_short_wait():
    """The fresh one is full for a while: the failed one may be had after its pause."""
    bench = Bench("a", endpoint("b", max_concurrency=1), rules=PATIENT)
    blocker = bench.call(100.0, pinned="b")
    seen = bench.call(10.0)
    bench.fail(seen)
    assert seen.places == ["a"]
    bench.finish(blocker)
    assert seen.places == ["a", "b"]


def test_the_number_of_attempts_is_bounded():
    bench = Bench(*"abcdefgh", rules=Rules(retry=RetryRules(max_attempts=3)))
    seen = bench.call(10.0)
    while seen.failed is None:
        bench.fail(seen)
    assert len(seen.starts) == 3


def test_refusals_by_limits_do_not_count_as_attempts():
    bench = Bench(*"abcdef", rules=Rules(retry=RetryRules(max_attempts=2)))
    seen = bench.call(10.0)
    for _ in range(3):
        bench.fail(seen, FailureKind.RATE_LIMITED)
    bench.fail(seen)
    assert len(seen.starts) == 5
    bench.fail(seen)
    assert seen.failed is not None


def test_refusals_by_limits_are_bounded_too():
    bench = Bench("a")
    seen = bench.call()
    tries = 0
    while seen.failed is None:
        bench.fail(seen, FailureKind.RATE_LIMITED, retry_after_s=0.0)
        tries += 1
        bench.advance(6.0)
    assert tries == 17
    assert seen.failed.saturated


def test_the_retry_budget_stops_a_storm():
    rules = Rules(retry=RetryRules(budget=0.1, reserve=3.0), breaker=BreakerRules(failures=10**6))
    bench = Bench(*"abcd", rules=rules)
    attempts = 0
    for _ in range(200):
        seen = bench.call(10.0)
        while seen.failed is None:
            bench.fail(seen)
        attempts += len(seen.starts)
    assert attempts <= 200 * 1.1 + 3
    assert attempts >= 200 * 1.1


def test_a_storm_of_limits_takes_nothing_from_the_retry_budget():
    bench = Bench("a", "b", rules=Rules(retry=RetryRules(budget=0.0, reserve=1.0)))
    for _ in range(20):
        seen = bench.call(10.0)
        bench.fail(seen, FailureKind.RATE_LIMITED, retry_after_s=0.0)
        bench.finish(seen)
        assert seen.ended.status == "ok"


# -- stale connections -----------------------------------------------------------------------------------------------


def test_a_stale_connection_is_tried_again_at_once_for_free():
    bench = Bench("a", rules=Rules(retry=RetryRules(budget=0.0, reserve=0.0, max_attempts=1)))
    seen = bench.call(10.0)
    bench.fail(seen, FailureKind.STALE)
    assert seen.places == ["a", "a"]
    assert bench.scheduler.ledger.table.rows.error_rate[0] == 0.0
    bench.fail(seen, FailureKind.STALE)
    assert seen.failed.failure.kind is FailureKind.STALE
    assert len(seen.starts) == 2


def test_a_second_stale_connection_is_a_failure_like_others():
    bench = Bench("a", "b", rules=PATIENT)
    seen = bench.call(10.0, pinned="a")
    bench.fail(seen, FailureKind.STALE)
    bench.fail(seen, FailureKind.STALE)
    assert seen.places == ["a", "a"]
    bench.advance(0.11)
    assert seen.places == ["a", "a", "a"]


# -- what must not be repeated ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*(k for k in FAULTS if k is not FailureKind.CONNECT), FailureKind.STALE])
def test_what_must_not_be_repeated_is_not(kind):
    bench = Bench("a", "b")
    seen = bench.call(10.0, repeatable=False)
    bench.fail(seen, kind)
    assert seen.places == ["a"]
    assert seen.failed.failure.kind is kind


@pytest.mark.parametrize("kind", [FailureKind.CONNECT, FailureKind.RATE_LIMITED])
def test_what_was_never_acted_upon_may_be_sent_again(kind):
    bench = Bench("a", "b")
    seen = bench.call(10.0, repeatable=False)
    bench.fail(seen, kind)
    assert seen.places == ["a", "b"]


def test_a_silent_call_that_must_not_be_repeated_is_waited_for():
    bench = Bench("a", "b")
    seen = bench.call(10.0, repeatable=False)
    bench.advance(9.9)
    assert seen.places == ["a"]
    bench.advance(0.2)
    assert seen.failed.failure.kind is FailureKind.DEADLINE


# -- after the delivery ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAULTS)
def test_a_stream_that_breaks_after_its_delivery_is_not_begun_again(kind):
    bench = Bench("a", "b")
    seen = bench.call(10.0, stream=True)
    bench.progress(seen)
    bench.fail(seen, kind)
    assert seen.places == ["a"]
    assert seen.failed.delivered
    assert seen.ended.status == kind.value


# -- crossing events -------------------------------------------------------------------------------------------------


def test_events_of_what_is_over_are_ignored():
    bench = Bench("a", "b")
    first = bench.call(10.0)
    bench.fail(first)
    second = bench.call(10.0)
    bench.finish(first)
    bench.cancel(second)
    size = len(bench.records)
    for which in (0, 1):
        assert bench.progress(first, 5, which=which) == []
        assert bench.finish(first, which=which) == []
        assert bench.fail(first, which=which) == []
    assert bench.finish(second) == []
    assert bench.cancel(first) == []
    assert bench.end_run("unheard of") == []
    assert bench.limited("unheard of", remaining_requests=0, reset_requests_s=9.0) == []
    assert len(bench.records) == size
    assert bench.scheduler.idle


def test_an_attempt_that_fails_after_the_deadline_is_not_followed_by_another():
    """The review that ends the call is on its way."""
    bench = Bench("a", "b")
    seen = bench.call(1.0)
    bench.now += 1.01
    bench.fail(seen)
    assert seen.places == ["a"]
    assert seen.failed.failure.kind is FailureKind.DEADLINE


def test_an_answer_that_wins_against_the_late_review_is_delivered():
    bench = Bench("a")
    seen = bench.call(1.0)
    bench.now += 1.001
    actions = bench.finish(seen)
    assert any(isinstance(action, Deliver) for action in actions)


def test_cancelling_the_caller_cancels_the_attempt():
    bench = Bench("a")
    seen = bench.call(10.0, stream=True)
    bench.progress(seen)
    actions = bench.cancel(seen)
    assert [a.attempt_id for a in actions if isinstance(a, Cancel)] == [seen.starts[0].attempt_id]
    assert seen.ended.status == "cancelled"
    assert bench.in_flight("a") == 0


def test_a_closed_loop_is_told_apart():
    from agentsched.scheduler.events import CallCancelled

    bench = Bench("a")
    seen = bench.call(10.0)
    seen.cancelled = True
    bench.feed(CallCancelled(seen.call.call_id, loop_closed=True))
    assert seen.ended.status == "loop_closed"


def test_a_stream_that_begins_after_the_deadline_is_not_delivered():
    bench = Bench("a")
    seen = bench.call(1.0, stream=True)
    bench.now += 1.001
    bench.progress(seen)
    assert seen.delivered is None
    assert seen.failed.failure.kind is FailureKind.DEADLINE
