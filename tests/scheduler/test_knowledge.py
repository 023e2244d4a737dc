"""What clients tell each other beyond their load: told first-hand only, believed where nothing better is known."""

import numpy as np
import pytest

from agentsched.core.call import FailureKind
from agentsched.core.endpoint import Profile
from agentsched.core.load import EndpointLoad
from agentsched.core.rules import BreakerRules, Rules
from agentsched.core.shared import EndpointKnowledge
from agentsched.scheduler.events import OthersKnow, OthersSeen
from agentsched.scheduler.recording import encode_line, first_difference
from agentsched.scheduler.scheduler import Scheduler
from tests.scheduler.bench import Bench, FirstReady, FixedLengths, endpoint


def told(bench: Bench, *knowledge: EndpointKnowledge, age_s: float = 0.0) -> None:
    bench.feed(OthersKnow(knowledge, bench.now - age_s))


def tells(bench: Bench) -> dict[str, EndpointKnowledge]:
    return {known.endpoint: known for known in bench.scheduler.knowledge(bench.now)}


def two(*endpoints, **rules) -> tuple[Bench, Bench]:
    """Two clients of the same endpoints."""
    return (
        Bench(*endpoints, policy=FirstReady(), rules=Rules(**rules)),
        Bench(*endpoints, policy=FirstReady(), rules=Rules(**rules)),
    )


def test_nothing_is_told_of_endpoints_that_were_never_used():
    assert Bench("a", endpoint("b", rpm=10)).scheduler.knowledge(1000.0) == ()


def test_a_rest_that_one_client_was_told_is_kept_by_all_and_told_by_one():
    one, other = two("a", "b")
    one.fail(one.call(9.0), FailureKind.RATE_LIMITED, retry_after_s=5.0)
    assert tells(one)["a"].rest_s == 5.0
    told(other, *tells(one).values())
    assert other.call(9.0).places == ["b"]
    assert "a" not in tells(other), "it did not see it itself"
    other.advance(5.01)
    assert other.call(9.0).places == ["a"]


def test_news_that_took_long_end_no_later():
    _, other = two("a", "b")
    told(other, EndpointKnowledge("a", rest_s=1.0), age_s=0.9)
    other.advance(0.2)
    assert other.call(9.0).places == ["a"]


def test_hearsay_sends_a_call_elsewhere_but_never_away():
    _, other = two("a", "b")
    told(other, EndpointKnowledge("a", rest_s=30.0), EndpointKnowledge("b", broken_s=30.0))
    tried = other.call(9.0)
    assert tried.places == ["a"], "both are said to be closed for longer than the call has"
    other.fail(tried, FailureKind.RATE_LIMITED, retry_after_s=30.0)
    assert tried.places == ["a", "b"]
    assert other.call(9.0).places == ["b"], "of the first it has seen it itself now"


def test_a_rest_that_is_taken_back_wakes_who_waits_for_it():
    _, other = two("a")
    told(other, EndpointKnowledge("a", rest_s=8.0))
    seen = other.call(9.0)
    assert seen.places == []
    told(other)
    assert seen.places == ["a"]


def test_an_open_breaker_is_believed_unless_the_endpoint_works_here():
    one, other = two("a", "b", breaker=BreakerRules(failures=1, cooldown_s=2.0))
    works = Bench("a", "b", policy=FirstReady())
    served = works.call()
    works.progress(served)
    works.finish(served)
    one.fail(one.call(9.0))
    assert tells(one)["a"].broken_s == 2.0
    for bench in (other, works):
        told(bench, *tells(one).values())
    assert other.call(9.0).places == ["b"]
    assert works.call(9.0).places == ["a"]
    works.advance(6.0)
    told(works, EndpointKnowledge("a", broken_s=2.0))
    assert works.call(9.0).places == ["b"], "that was long ago"


def test_a_limit_is_shared():
    one, other = two(endpoint("a", rpm=3), "b")
    assert [one.call().places for _ in range(2)] == [["a"], ["a"]]
    assert tells(one)["a"].requests == 2.0
    told(other, *tells(one).values())
    assert [other.call().places for _ in range(2)] == [["a"], ["b"]]
    assert tells(other)["a"].requests == 1.0, "its own"


def test_tokens_are_shared():
    one, other = two(endpoint("a", tpm=100), "b")
    one.call(input_tokens=70)
    assert tells(one)["a"].tokens == 90.0
    told(other, *tells(one).values())
    assert other.call(input_tokens=10).places == ["b"]


SLOW = EndpointKnowledge("a", tpot_s=0.08, tpot_count=30.0, ttft_idle_s=1.2, ttft_count=30.0)
PRIOR = Profile(ttft_s=0.3, tpot_s=0.02, tpot_per_batch_s=0.001)


def test_a_newcomer_takes_over_what_others_have_learned():
    bench = Bench(endpoint("a", profile=PRIOR))
    told(bench, SLOW)
    table = bench.scheduler.ledger.table
    assert table.rows.tpot_alone_s[0] == pytest.approx(0.08)
    assert table.rows.tpot_per_batch_s[0] == pytest.approx(0.004), "all of the profile is off by as much"
    assert table.rows.ttft_idle_s[0] == pytest.approx(1.2)
    told(bench, EndpointKnowledge("a", tpot_s=0.5, tpot_count=30.0, ttft_idle_s=9.0, ttft_count=30.0))
    assert table.rows.tpot_alone_s[0] == pytest.approx(0.08), "it is no newcomer any more"
    assert tells(bench) == {}, "hearsay is not passed on"


def test_who_has_seen_enough_believes_its_own_eyes_and_tells_them():
    bench = Bench(endpoint("a", profile=PRIOR), lengths=FixedLengths(20))
    for _ in range(6):
        seen = bench.call()
        bench.advance(0.3)
        bench.progress(seen)
        bench.advance(0.4)
        bench.progress(seen, 20)
        bench.finish(seen)
        bench.advance(30.0)
    own = tells(bench)["a"]
    assert own.tpot_count >= 4.0
    assert own.tpot_s == pytest.approx(0.02, rel=0.1)
    told(bench, SLOW)
    assert tells(bench)["a"] == own


def test_the_last_look_at_a_pace_counts_whoever_had_it():
    bench = Bench(endpoint("a", profile=PRIOR))
    rows = bench.scheduler.ledger.table.rows
    told(bench, EndpointKnowledge("a", pace_s=0.05, pace_calls=7.0, pace_age_s=1.0))
    assert (rows.tpot_s[0], rows.tpot_in_flight[0], bench.now - rows.seen_at[0]) == (0.05, 7.0, 1.0)
    told(bench, EndpointKnowledge("a", pace_s=0.5, pace_calls=70.0, pace_age_s=1.1))
    assert rows.tpot_s[0] == 0.05, "that was before"
    assert tells(bench) == {}, "hearsay is not passed on"


def test_a_pace_is_told_as_old_as_it_is_and_nothing_of_one_never_seen():
    bench = Bench(endpoint("a", profile=PRIOR), "b", policy=FirstReady())
    seen = bench.call()
    bench.advance(0.3)
    bench.progress(seen)
    bench.advance(0.4)
    bench.progress(seen, 20)
    bench.advance(2.0)
    own = tells(bench)["a"]
    assert own.pace_s == pytest.approx(0.4 / 19, rel=0.05)
    assert own.pace_age_s == pytest.approx(2.0)
    told(bench, EndpointKnowledge("b", pace_s=0.0))
    assert bench.scheduler.ledger.table.rows.seen_at[1] == -np.inf


def test_unknown_endpoints_are_no_matter_and_the_recording_replays():
    bench = Bench("a", "b", policy=FirstReady())
    told(bench, EndpointKnowledge("elsewhere", 1.0), EndpointKnowledge("a", rest_s=3.0))
    bench.finish(bench.call())
    lines = [encode_line(*step) for step in bench.history]
    old = bench.scheduler
    fresh = Scheduler(old.pool, FirstReady(), FixedLengths(), old._remainders, old.rules)
    assert first_difference(lines, fresh) is None


def test_slots_that_others_have_taken_are_a_queue_at_the_server():
    bench = Bench(endpoint("a", max_concurrency=4), endpoint("b", max_concurrency=4), "c")
    table = bench.scheduler.ledger.table
    indices = np.arange(3)

    def excess() -> list[float]:
        return table.states(indices, np.zeros(3), bench.now).excess_ttft_s.tolist()

    bench.feed(OthersSeen((EndpointLoad("a", 7.0), EndpointLoad("b", 3.0), EndpointLoad("c", 99.0)), bench.now))
    assert excess() == [pytest.approx(4 * table.gates.service_s[0] / 4), 0.0, 0.0]
    assert bench.call(9.0).places != ["a"]
    assert table.gates.queue_s(indices) is None, "it is not waited for here"
