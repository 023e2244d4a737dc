"""An endpoint that keeps failing is left alone, probed by one call, and taken back."""

from dataclasses import replace

import pytest

from agentsched.core.call import FailureKind
from agentsched.core.rules import BreakerRules, RetryRules, Rules
from tests.scheduler.bench import Bench, Seen

RULES = Rules(retry=RetryRules(max_attempts=1), breaker=BreakerRules(failures=3, cooldown_s=2.0, max_cooldown_s=5.0))


def broken(*names: str) -> Bench:
    """A pool whose first endpoint has just failed three times in a row."""
    bench = Bench(*names, rules=RULES)
    for _ in range(3):
        bench.fail(bench.call(10.0, pinned="a"))
    return bench


def test_it_opens_after_so_many_failures_in_a_row():
    bench = Bench("a", "b", rules=RULES)
    for _ in range(2):
        bench.fail(bench.call(10.0, pinned="a"))
    bench.finish(bench.call(10.0, pinned="a"))
    for _ in range(2):
        bench.fail(bench.call(10.0, pinned="a"))
    assert bench.notes == []
    bench.fail(bench.call(10.0, pinned="a"))
    assert bench.notes == ["endpoint a is left alone for 2.0 s (server: as told)"]
    assert [bench.call(1.0).places for _ in range(10)] == [["b"]] * 10


@pytest.mark.parametrize("kind", [FailureKind.CLIENT, FailureKind.RATE_LIMITED, FailureKind.STALE])
def test_what_is_not_the_endpoints_fault_does_not_open_it(kind):
    bench = Bench("a", rules=RULES)
    for _ in range(10):
        seen = bench.call(10.0)
        if seen.starts:
            bench.fail(seen, kind)
    assert bench.notes == []
    assert bench.scheduler.ledger.table.gates.failures_in_row[0] == 0


def test_calls_wait_for_the_cooldown_if_it_fits_the_deadline():
    bench = broken("a")
    seen = bench.call(5.0)
    bench.advance(1.99)
    assert seen.places == []
    bench.advance(0.02)
    assert seen.places == ["a"]


def test_calls_fail_at_once_if_it_does_not():
    seen = broken("a").call(1.0)
    assert seen.failed.failure.kind is FailureKind.SERVER
    assert not seen.failed.saturated
    assert "out of order" in seen.failed.failure.detail


def test_one_call_probes_and_its_success_closes_the_breaker():
    bench = broken("a")
    calls = [bench.call(20.0) for _ in range(5)]
    bench.advance(2.01)
    probing = [seen for seen in calls if seen.starts]
    assert len(probing) == 1
    bench.finish(probing[0])
    assert bench.notes[-1] == "endpoint a is back"
    assert all(seen.starts for seen in calls)


def test_a_failed_probe_doubles_the_cooldown_up_to_a_limit():
    bench = broken("a")
    for cooldown_s in (4.0, 5.0, 5.0):
        seen = bench.call(100.0)
        bench.advance(6.0)
        assert seen.places == ["a"]
        bench.fail(seen)
        assert bench.notes[-1] == f"endpoint a is left alone for {cooldown_s} s (server: as told)"
    seen = bench.call(100.0)
    bench.advance(6.0)
    bench.finish(seen)
    for _ in range(3):
        bench.fail(bench.call(10.0))
    assert bench.notes[-1] == "endpoint a is left alone for 2.0 s (server: as told)"


def test_failures_of_calls_sent_before_it_opened_are_told_once():
    bench = Bench("a", "b", rules=RULES)
    calls = [bench.call(10.0, pinned="a") for _ in range(20)]
    for seen in calls:
        bench.fail(seen)
    assert len(bench.notes) == 1


def test_a_lost_probe_does_not_lock_the_endpoint_for_ever():
    bench = broken("a")
    probe = bench.call(100.0)
    bench.advance(2.01)
    assert probe.starts
    bench.cancel(probe)
    following = bench.call(100.0)
    bench.advance(2.01)
    assert following.places == ["a"]


def test_while_a_probe_runs_there_is_at_most_one_more_per_cooldown():
    bench = broken("a")
    calls = [bench.call(100.0) for _ in range(10)]
    bench.advance(2.01)
    assert sum(len(seen.starts) for seen in calls) == 1
    bench.advance(2.01)
    assert sum(len(seen.starts) for seen in calls) == 2


def tried() -> tuple[Bench, Seen]:
    """A pool whose only endpoint, out of order so far, is being tried by a call."""
    bench = broken("a")
    trial = bench.call(100.0)
    bench.advance(2.01)
    assert trial.starts
    return bench, trial


def test_who_could_not_wait_for_another_trial_waits_for_the_end_of_this_one():
    bench, trial = tried()
    calls = [bench.call(1.0) for _ in range(20)]
    assert not any(seen.starts or seen.failed for seen in calls)
    bench.advance(0.2)
    bench.finish(trial)
    bench.advance(0.6)
    assert all(seen.places == ["a"] for seen in calls)


def test_they_fail_when_the_trial_does():
    bench, trial = tried()
    seen = bench.call(1.0)
    bench.advance(0.2)
    bench.fail(trial)
    assert "out of order" in seen.failed.failure.detail


def test_they_fail_at_once_when_nobody_tries_any_more():
    bench, trial = tried()
    bench.cancel(trial)
    assert bench.call(1.0).failed is not None


def test_a_trial_without_an_end_is_waited_for_no_longer_than_anything_else():
    rules = replace(
        RULES, retry=RetryRules(max_attempts=1, max_wait_s=3.0), breaker=replace(RULES.breaker, cooldown_s=9.0)
    )
    bench = Bench("a", rules=rules)
    for _ in range(3):
        bench.fail(bench.call(10.0, pinned="a"))
    bench.call(100.0)
    bench.advance(9.01)
    waiting, bounded = bench.call(None), bench.call(1.5)
    bench.advance(1.4)
    assert (waiting.failed, bounded.failed) == (None, None)
    bench.advance(0.2)
    assert (waiting.failed, bounded.failed is None) == (None, False)
    bench.advance(1.5)
    assert waiting.failed is not None


def test_an_endpoint_that_fails_now_and_then_is_used_less():
    bench = Bench("a", "b")
    for _ in range(2):
        bench.fail(bench.call(10.0, pinned="a"))
    seen = bench.call(10.0, pinned="a")
    bench.advance(bench.decisions[-1].e2e_s)
    bench.finish(seen)
    assert bench.call(10.0).places == ["b"]
