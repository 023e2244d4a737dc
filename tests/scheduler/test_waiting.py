"""Full endpoints: calls wait in order of their deadlines, bound to no place, and are woken when one becomes free."""

import pytest

from agentsched.core.call import FailureKind
from agentsched.core.endpoint import Profile
from agentsched.core.rules import RetryRules, Rules
from tests.scheduler.bench import Bench, FirstReady, FixedLengths, endpoint


def test_a_call_waits_for_a_slot_and_gets_it_when_it_is_free():
    bench = Bench(endpoint("a", max_concurrency=1))
    first, second = bench.call(10.0), bench.call(10.0)
    assert second.places == []
    bench.advance(0.5)
    assert second.places == []
    bench.finish(first)
    assert second.places == ["a"]
    assert bench.decisions[-1].why == "queued"
    assert bench.decisions[-1].waited_s == pytest.approx(0.5)
    bench.finish(second)
    assert second.ended.queued_s == pytest.approx(0.5)


def test_the_most_urgent_is_served_first():
    bench = Bench(endpoint("a", max_concurrency=1))
    running = bench.call(100.0)
    later, unbounded, sooner = bench.call(50.0), bench.call(), bench.call(20.0)
    order = []
    for _ in range(3):
        bench.finish(running)
        (running,) = [seen for seen in bench.calls.values() if seen.running]
        order.append(running)
    assert order == [sooner, later, unbounded]


def test_equally_urgent_calls_are_served_in_order_of_arrival():
    bench = Bench(endpoint("a", max_concurrency=1))
    running = bench.call()
    waiting = [bench.call() for _ in range(5)]
    for expected in waiting:
        bench.finish(running)
        assert expected.running
        running = expected


def test_waiting_binds_late():
    """It waited for the fast endpoint; the slow one has a place now and the fast one has not."""
    bench = Bench(
        endpoint("fast", max_concurrency=1, profile=Profile(tpot_s=0.01)),
        endpoint("slow", max_concurrency=1, profile=Profile(tpot_s=0.02)),
        lengths=FixedLengths(20),
    )
    on_fast, on_slow = bench.call(30.0), bench.call(30.0)
    assert (on_fast.places, on_slow.places) == (["fast"], ["slow"])
    waiting = bench.call(30.0)
    bench.finish(on_slow)
    assert waiting.places == ["slow"]


def test_a_call_may_rather_wait_for_a_much_faster_endpoint():
    bench = Bench(
        endpoint("fast", max_concurrency=1, profile=Profile(tpot_s=0.01)),
        endpoint("slow", profile=Profile(tpot_s=1.0)),
        lengths=FixedLengths(500),
    )
    first, second = bench.call(1000.0), bench.call(1000.0)
    assert second.places == []
    bench.finish(first)
    assert second.places == ["fast"]


def test_a_cancelled_call_leaves_the_queue():
    bench = Bench(endpoint("a", max_concurrency=1))
    first, second, third = bench.call(10.0), bench.call(10.0), bench.call(10.0)
    bench.cancel(second)
    bench.finish(first)
    assert (second.places, third.places) == ([], ["a"])


def test_a_cancelled_attempt_frees_its_slot():
    bench = Bench(endpoint("a", max_concurrency=1))
    first, second = bench.call(10.0), bench.call(10.0)
    bench.cancel(first)
    assert second.places == ["a"]


def test_the_deadline_passes_in_the_queue():
    bench = Bench(endpoint("a", max_concurrency=1))
    bench.call(100.0)
    waiting = bench.call(2.0)
    bench.advance(1.99)
    assert waiting.failed is None
    bench.advance(0.02)
    assert waiting.failed.failure.kind is FailureKind.DEADLINE
    assert waiting.ended.queued_s == pytest.approx(2.0)


def test_a_place_that_comes_after_the_deadline_is_not_taken():
    """The review that would have ended the call is late; the slot's release comes first."""
    bench = Bench(endpoint("a", max_concurrency=1), late_s=lambda: 1.0)
    running, waiting = bench.call(100.0), bench.call(2.0)
    bench.advance(2.5)
    bench.finish(running)
    assert waiting.places == []
    assert waiting.failed.failure.kind is FailureKind.DEADLINE


def test_the_callers_patience_runs_in_the_queue_too():
    bench = Bench(endpoint("a", max_concurrency=1))
    bench.call(100.0)
    for _ in range(20):
        bench.call(100.0)
    waiting = bench.call(90.0, patience_s=2.0)
    bench.advance(2.01)
    assert waiting.failed.failure.kind is FailureKind.PATIENCE


def test_a_call_without_a_deadline_waits_for_a_slot_as_long_as_it_takes():
    bench = Bench(endpoint("a", max_concurrency=1), rules=Rules(retry=RetryRules(max_wait_s=1.0)))
    running, waiting = bench.call(), bench.call()
    bench.advance(500.0)
    assert waiting.failed is None
    bench.finish(running)
    assert waiting.places == ["a"]


def test_who_cannot_use_the_free_place_does_not_stand_in_the_way():
    bench = Bench(
        endpoint("a", max_concurrency=1),
        endpoint("b", max_concurrency=1, capabilities=frozenset({"vision"})),
    )
    on_a, on_b = bench.call(100.0), bench.call(100.0, needs=frozenset({"vision"}))
    for_b = bench.call(5.0, needs=frozenset({"vision"}))
    for_a = bench.call(50.0)
    bench.finish(on_a)
    assert (for_a.places, for_b.places) == (["a"], [])
    bench.finish(on_b)
    assert for_b.places == ["b"]


def test_a_newcomer_does_not_overtake_a_more_urgent_call_for_a_limited_place():
    bench = Bench(endpoint("a", rpm=1))
    bench.call(500.0)
    patient, urgent = bench.call(400.0), bench.call(100.0)
    bench.now += 60.0  # the window is over, the reviews are still on their way
    newcomer = bench.call(200.0)
    assert (urgent.places, newcomer.places, patient.places) == (["a"], [], [])
    bench.advance(60.1)
    assert newcomer.places == ["a"]
    bench.advance(60.1)
    assert patient.places == ["a"]


def test_a_hundred_calls_through_two_slots():
    bench = Bench(endpoint("a", max_concurrency=2))
    calls = [bench.call(1000.0) for _ in range(100)]
    while any(seen.running for seen in calls):
        assert bench.in_flight("a") <= 2
        bench.advance(0.1)
        bench.finish(next(seen for seen in calls if seen.running))
    assert all(seen.ended.status == "ok" for seen in calls)


def test_late_calls_let_those_go_first_that_can_be_in_time():
    """Their deadlines are the earliest: asked first, they would use up the looks that one free place is worth."""
    bench = Bench(endpoint("a", max_concurrency=1), policy=FirstReady())
    running = bench.call()
    late = [bench.call(due_at=bench.now + 1.0 + k) for k in range(20)]
    urgent = bench.call(due_at=bench.now + 60.0)
    bench.advance(30.0)
    bench.finish(running)
    assert (len(urgent.starts), sum(len(call.starts) for call in late)) == (1, 0)
    bench.finish(urgent)
    assert [len(call.starts) for call in late] == [1] + 19 * [0], "then they, in their order"
