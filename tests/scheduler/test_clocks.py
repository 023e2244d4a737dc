"""Deadline, the caller's patience, first-token and idle clocks: each ends what it should, when it should."""

import pytest

from agentsched.core.call import FailureKind
from agentsched.core.rules import HedgeRules, RetryRules, Rules, StreamRules
from tests.scheduler.bench import Bench


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("deadline_s", [0.05, 1.0, 2.0, 10.0])
def test_the_deadline_ends_a_silent_call(stream, deadline_s):
    bench = Bench("a")
    seen = bench.call(deadline_s, stream=stream)
    bench.advance(deadline_s - 0.001)
    assert seen.failed is None
    bench.advance(0.002)
    assert seen.failed.failure.kind is FailureKind.DEADLINE
    assert bench.in_flight("a") == 0


def test_the_deadline_ends_a_flowing_stream():
    bench = Bench("a")
    seen = bench.call(2.0, stream=True)
    for k in range(1, 40):
        bench.advance(0.1)
        if seen.failed is None:
            bench.progress(seen, k)
    assert seen.failed.failure.kind is FailureKind.DEADLINE
    assert seen.failed.delivered
    assert seen.ended.ended_at - seen.ended.arrived_at == pytest.approx(2.0)


def test_patience_counts_from_the_call_to_the_first_token_and_then_from_token_to_token():
    bench = Bench("a")
    silent = bench.call(patience_s=2.0, stream=True)
    bench.advance(2.01)
    assert silent.failed.failure.kind is FailureKind.PATIENCE
    seen = bench.call(patience_s=2.0, stream=True)
    for k in range(1, 6):
        bench.advance(1.9)
        bench.progress(seen, k)
    bench.advance(1.99)
    assert seen.failed is None
    bench.advance(0.02)
    assert seen.failed.failure.kind is FailureKind.PATIENCE


def test_patience_outlives_no_retry():
    """The caller's timeout counts from its call, whatever number of attempts we make in that time."""
    bench = Bench("a", rules=Rules(retry=RetryRules(backoff_s=0.5)))
    seen = bench.call(patience_s=2.0)
    bench.advance(1.0)
    bench.fail(seen)
    bench.advance(0.6)
    assert len(seen.starts) == 2
    bench.advance(0.41)
    assert seen.failed.failure.kind is FailureKind.PATIENCE


def test_a_caller_that_does_not_read_is_patient():
    bench = Bench("a")
    seen = bench.call(patience_s=2.0, stream=True)
    bench.progress(seen, 1)
    bench.progress(seen, 50, paused=True)
    bench.advance(60.0)
    assert seen.failed is None


def test_the_idle_clock_ends_a_stalled_stream():
    bench = Bench("a", rules=Rules(stream=StreamRules(idle_timeout=3.0)))
    seen = bench.call(stream=True)
    for k in range(1, 4):
        bench.advance(2.9)
        bench.progress(seen, k)
    bench.advance(3.01)
    assert seen.failed.failure.kind is FailureKind.STALLED
    assert bench.scheduler.ledger.table.rows.error_rate[0] > 0


def test_the_idle_clock_rests_while_the_caller_does_not_read_and_runs_again_afterwards():
    bench = Bench("a", rules=Rules(stream=StreamRules(idle_timeout=3.0)))
    seen = bench.call(stream=True)
    bench.progress(seen, 1)
    bench.advance(2.0)
    bench.progress(seen, 40, paused=True)
    bench.advance(100.0)
    assert seen.failed is None
    bench.progress(seen, 40)
    bench.advance(2.9)
    assert seen.failed is None
    bench.advance(0.2)
    assert seen.failed.failure.kind is FailureKind.STALLED


def test_a_configured_first_token_clock_leaves_a_silent_stream():
    bench = Bench("a", "b", rules=Rules(stream=StreamRules(first_token_timeout=0.2)))
    seen = bench.call(stream=True)
    bench.advance(0.21)
    assert seen.places == ["a", "b"]
    assert bench.observations[0].status == "silent"
    bench.advance(0.21)
    assert seen.places == ["a", "b", "a"], "the pause of the first is over"


def test_the_first_token_clock_is_not_for_whole_answers():
    rules = Rules(stream=StreamRules(first_token_timeout=0.2), hedge=HedgeRules(max_extra=0.0, reserve=0.0))
    bench = Bench("a", rules=rules)
    seen = bench.call(30.0)
    bench.advance(10.0)
    assert seen.places == ["a"]
    assert seen.failed is None


def test_a_late_review_does_the_same_only_later():
    bench = Bench("a", late_s=lambda: 0.3)
    seen = bench.call(2.0)
    bench.advance(2.29)
    assert seen.failed is None
    bench.advance(0.02)
    assert seen.failed.failure.kind is FailureKind.DEADLINE


@pytest.mark.parametrize("pauses", [True, False])
def test_a_delivered_call_whose_review_is_late_ends_with_the_next_word_of_its_stream(pauses):
    """Its caller stops, or goes on, to read after the deadline: the review must not be put off once more."""
    bench = Bench("a", late_s=lambda: 5.0)
    seen = bench.call(2.0, stream=True)
    bench.advance(0.1)
    bench.progress(seen, 1)
    if not pauses:
        bench.progress(seen, 2, paused=True)
    bench.advance(2.2)
    assert seen.ended is None, "the review is late"
    bench.progress(seen, 3, paused=pauses)
    assert (seen.failed.failure.kind, seen.failed.delivered) == (FailureKind.DEADLINE, True)
    assert bench.in_flight("a") == 0


def test_a_stream_needs_few_reviews():
    """Tokens move the idle clock lazily: not every chunk asks for a timer."""
    bench = Bench("a")
    seen = bench.call(100.0, stream=True)
    asked = 0
    for k in range(1, 500):
        bench.advance(0.1)
        asked += len(bench.progress(seen, k))
    reviews = sum(type(event).__name__ == "ReviewDue" for event, _, _ in bench.history)
    assert reviews <= 4
    assert asked <= 10
