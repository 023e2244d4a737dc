"""What servers and the pool's owner allow: 429, Retry-After, x-ratelimit headers, requests and tokens per minute."""

import numpy as np
import pytest

from agentsched.core.call import FailureKind
from agentsched.core.rules import RetryRules, Rules
from tests.scheduler.bench import Bench, FixedLengths, endpoint


def test_a_limit_longer_than_the_slack_means_elsewhere_now():
    bench = Bench("a", "b")
    seen = bench.call(2.0)
    bench.fail(seen, FailureKind.RATE_LIMITED, status=429, retry_after_s=30.0)
    assert seen.places == ["a", "b"]
    assert bench.call(2.0).places == ["b"]


def test_a_limit_that_fits_is_waited_for():
    bench = Bench("a")
    seen = bench.call(5.0)
    bench.fail(seen, FailureKind.RATE_LIMITED, retry_after_s=2.0)
    bench.advance(1.99)
    assert len(seen.starts) == 1
    bench.advance(0.02)
    assert len(seen.starts) == 2
    bench.finish(seen)
    assert seen.ended.status == "ok"


def test_a_limit_that_does_not_fit_fails_at_once_as_saturated():
    bench = Bench("a")
    seen = bench.call(2.0)
    bench.fail(seen, FailureKind.RATE_LIMITED, retry_after_s=30.0)
    assert seen.failed.saturated
    assert seen.failed.failure.kind is FailureKind.RATE_LIMITED
    late = bench.call(5.0)
    assert late.places == []
    assert late.failed.saturated


def test_not_saturated_if_faults_had_a_part_in_it():
    bench = Bench("a", "b")
    seen = bench.call(2.0)
    bench.fail(seen, FailureKind.SERVER)
    bench.fail(seen, FailureKind.RATE_LIMITED, retry_after_s=30.0)
    bench.advance(0.2)
    bench.fail(seen, FailureKind.RATE_LIMITED, retry_after_s=30.0)
    assert seen.failed is not None
    assert not seen.failed.saturated


def test_of_two_limits_the_one_that_ends_in_time_is_waited_for():
    """The policy would rather wait longer for the fast endpoint; its limit ends after the deadline."""
    from agentsched.core.endpoint import Profile

    bench = Bench(
        endpoint("fast", profile=Profile(tpot_s=0.01)),
        endpoint("slow", profile=Profile(tpot_s=0.5)),
        lengths=FixedLengths(11),
    )
    bench.limited("fast", remaining_requests=0, reset_requests_s=4.0)
    bench.limited("slow", remaining_requests=0, reset_requests_s=1.0)
    seen = bench.call(3.0)
    assert seen.failed is None
    bench.advance(1.01)
    assert seen.places == ["slow"]


def test_without_a_deadline_waiting_has_a_limit():
    bench = Bench("a", rules=Rules(retry=RetryRules(max_wait_s=20.0)))
    bench.limited("a", remaining_requests=0, reset_requests_s=10.0)
    assert bench.call().failed is None
    bench.limited("a", remaining_requests=0, reset_requests_s=30.0)
    assert bench.call().failed.saturated
    assert bench.call(patience_s=600.0).failed is None, "who says how long is believed"


def test_the_callers_patience_bounds_the_wait():
    bench = Bench("a")
    bench.limited("a", remaining_requests=0, reset_requests_s=10.0)
    assert bench.call(60.0, patience_s=5.0).failed.saturated


@pytest.mark.parametrize("what", ["requests", "tokens"])
def test_nothing_left_is_believed_before_a_429_comes(what):
    bench = Bench("a", "b")
    bench.limited("a", **{f"remaining_{what}": 0, f"reset_{what}_s": 20.0})
    assert [bench.call(5.0).places for _ in range(3)] == [["b"]] * 3
    bench.advance(20.1)
    assert bench.call(5.0).places == ["a"]


def test_what_is_left_or_has_no_end_does_not_matter():
    bench = Bench("a")
    bench.limited("a", remaining_requests=5, reset_requests_s=20.0, remaining_tokens=0)
    assert bench.call(5.0).places == ["a"]


def test_a_429_that_says_nothing_means_longer_and_longer_rests():
    bench = Bench("a")
    rests = []
    for _ in range(7):
        seen = bench.call()
        bench.fail(seen, FailureKind.RATE_LIMITED)
        rests.append(bench.scheduler.ledger.table.gates.blocked_until[0] - bench.now)
        bench.cancel(seen)
        bench.advance(60.0)
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    bench.finish(bench.call())
    bench.fail(bench.call(), FailureKind.RATE_LIMITED)
    assert bench.scheduler.ledger.table.gates.blocked_until[0] - bench.now == 1.0


def test_a_burst_of_429_counts_once():
    bench = Bench("a")
    calls = [bench.call(100.0) for _ in range(50)]
    for seen in calls:
        bench.fail(seen, FailureKind.RATE_LIMITED)
    assert bench.scheduler.ledger.table.gates.blocked_until[0] - bench.now == 1.0


def test_429_for_ever_overflows_nothing():
    bench = Bench("a")
    table = bench.scheduler.ledger.table
    for k in range(3000):
        table.gates.limited(0, None, 1000.0 + 40.0 * k)
    assert table.gates.blocked_until[0] == 1000.0 + 40.0 * 2999 + 30.0


def test_a_503_with_retry_after_is_honoured_too():
    bench = Bench("a", "b")
    seen = bench.call(10.0)
    bench.fail(seen, FailureKind.SERVER, status=503, retry_after_s=8.0)
    assert seen.places == ["a", "b"]
    assert bench.scheduler.ledger.table.gates.closed_s(np.array([0]), 1.0, bench.now)[0] == pytest.approx(8.0)


# -- requests and tokens per minute ----------------------------------------------------------------------------------


def test_requests_per_minute():
    bench = Bench(endpoint("a", rpm=3))
    calls = [bench.call(100.0) for _ in range(5)]
    assert [len(seen.starts) for seen in calls] == [1, 1, 1, 0, 0]
    for seen in calls[:3]:
        bench.finish(seen)
    bench.advance(19.9)
    assert not calls[3].starts
    bench.advance(0.2)
    assert [len(seen.starts) for seen in calls] == [1, 1, 1, 1, 0], "one every twenty seconds"
    bench.advance(20.0)
    assert [len(seen.starts) for seen in calls] == [1] * 5


def test_what_a_server_says_is_left_counts_more_than_the_configured_limit():
    """One of 60 a minute comes every second, long before the limit is whole again."""
    bench = Bench(endpoint("a", rpm=60))
    bench.limited("a", remaining_requests=0, reset_requests_s=60.0)
    seen = bench.call(100.0)
    assert not seen.starts
    bench.advance(1.01)
    assert len(seen.starts) == 1


def test_requests_beyond_the_limit_go_elsewhere():
    bench = Bench(endpoint("a", rpm=1), "b")
    assert [bench.call(10.0).places[0] for _ in range(4)] == ["a", "b", "b", "b"]


def test_tokens_are_reserved_by_forecast_and_refunded_by_count():
    bench = Bench(endpoint("a", tpm=1000), lengths=FixedLengths(400))
    first = bench.call(100.0, input_tokens=100)
    second = bench.call(100.0, input_tokens=100)
    third = bench.call(100.0, input_tokens=100)
    assert (len(first.starts), len(second.starts), len(third.starts)) == (1, 1, 0)
    bench.finish(first, 10)
    assert third.starts == []
    bench.finish(second, 10)
    assert len(third.starts) == 1


def test_more_tokens_than_forecast_are_charged():
    bench = Bench(endpoint("a", tpm=1000), lengths=FixedLengths(100))
    first = bench.call(100.0, input_tokens=100)
    bench.finish(first, 850)
    assert bench.call(100.0, input_tokens=100).starts == []


def test_what_no_server_worked_on_is_refunded_whole():
    bench = Bench(endpoint("a", tpm=1000), "b", lengths=FixedLengths(400))
    seen = bench.call(100.0, input_tokens=500)
    assert seen.places == ["a"]
    bench.fail(seen, FailureKind.CONNECT)
    assert bench.scheduler.ledger.table.gates.token_buckets[0].used(bench.now) == 0.0


def test_a_call_larger_than_the_limit_goes_when_the_window_is_empty():
    bench = Bench(endpoint("a", tpm=1000), lengths=FixedLengths(100))
    small = bench.call(100.0, input_tokens=100)
    bench.finish(small, 100)
    big = bench.call(300.0, input_tokens=5000)
    assert big.starts == []
    bench.advance(60.1)
    assert len(big.starts) == 1


def test_full_slots_do_not_hide_a_limit_that_lasts_too_long():
    bench = Bench(endpoint("a", max_concurrency=1))
    bench.call(100.0)
    bench.limited("a", remaining_requests=0, reset_requests_s=50.0)
    assert bench.call(5.0).failed.saturated
