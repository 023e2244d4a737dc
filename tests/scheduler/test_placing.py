"""Where a call goes at first: events in, actions out."""

import pytest

from agentsched.core.call import FailureKind
from agentsched.core.endpoint import Group, Pool, Profile
from agentsched.core.rules import Rules, StreamRules
from agentsched.scheduler.actions import Fail, Record, ReviewAt, Start
from tests.scheduler.bench import Bench, FixedLengths, endpoint, pool_of

FAST, SLOW = Profile(tpot_s=0.01), Profile(tpot_s=0.05)


def kinds(actions):
    return [type(action) for action in actions if not isinstance(action, Record)]


def test_the_faster_endpoint_gets_the_first_call():
    bench = Bench(endpoint("slow", profile=SLOW), endpoint("fast", profile=FAST))
    assert bench.call(10.0).places == ["fast"]


def test_an_arrival_starts_and_is_reviewed():
    bench = Bench("a")
    bench.call(10.0)
    assert kinds(bench.history[-1][2]) == [Start, ReviewAt]


def test_a_call_without_any_clock_asks_for_no_review():
    bench = Bench("a")
    bench.call()
    assert kinds(bench.history[-1][2]) == [Start]


def test_the_decision_says_what_it_expects_and_who_the_rivals_were():
    bench = Bench(endpoint("slow", profile=SLOW), endpoint("fast", profile=FAST), lengths=FixedLengths(101))
    seen = bench.call(10.0, input_tokens=800)
    (decision,) = bench.decisions
    assert (decision.endpoint, decision.why, decision.attempt_id) == ("fast", "first", seen.starts[0].attempt_id)
    assert decision.ttft_s == pytest.approx(0.3 + 800 / 8000)
    assert decision.e2e_s == pytest.approx(0.4 + 100 * (0.01 + 0.0002), rel=0.02)
    assert decision.e2e_s < decision.e2e_p95_s < 2 * decision.e2e_s
    assert decision.p_meet == 1.0
    assert decision.slack_s == 10.0
    assert decision.output_tokens == 101
    (rival,) = decision.rivals
    assert rival[0] == "slow"
    assert rival[1] < decision.score


def test_p_meet_is_low_where_the_deadline_is_tight():
    bench = Bench("a", lengths=FixedLengths(101))
    bench.call(2.32)
    assert 0.3 < bench.decisions[0].p_meet < 0.7


def test_without_a_deadline_there_is_no_p_meet():
    bench = Bench("a")
    bench.call()
    assert bench.decisions[0].p_meet is None
    assert bench.decisions[0].slack_s is None


def test_those_that_cannot_be_had_are_no_rivals():
    bench = Bench("a", "b")
    first = bench.call(10.0)
    bench.fail(first)
    assert first.places == ["a", "b"]
    assert bench.decisions[1].rivals == ()


def test_load_spreads_over_equal_endpoints():
    bench = Bench("a", "b", "c")
    places = [bench.call(30.0).places[0] for _ in range(30)]
    assert {place: places.count(place) for place in "abc"} == {"a": 10, "b": 10, "c": 10}


def test_the_cached_prefix_attracts_the_next_call_of_the_run():
    bench = Bench("a", "b")
    bench.run()
    other = bench.call(30.0, input_tokens=10)
    first = bench.call(30.0, input_tokens=8000, prefix=7)
    assert (other.places, first.places) == (["a"], ["b"])
    bench.finish(first)
    bench.finish(other)
    assert bench.call(30.0, input_tokens=8000, prefix=7).places == ["b"]
    assert bench.call(30.0, input_tokens=8000, prefix=8).places == ["a"]


@pytest.mark.parametrize(
    ("fields", "call"),
    [
        ({"capabilities": frozenset({"stream"})}, {"needs": frozenset({"tools"})}),
        ({"quality": 0.5}, {"min_quality": 0.6}),
        ({"context_tokens": 1000}, {"input_tokens": 900, "max_tokens": 200}),
    ],
)
def test_who_cannot_serve_is_no_candidate(fields, call):
    bench = Bench(endpoint("unable", profile=FAST, **fields), endpoint("able", profile=SLOW))
    assert bench.call(10.0, **call).places == ["able"]
    alone = Bench(endpoint("unable", **fields))
    seen = alone.call(10.0, **call)
    assert seen.places == []
    assert seen.failed.failure.kind is FailureKind.INCAPABLE
    assert "'m'" in seen.failed.failure.detail


def test_a_context_that_just_suffices_is_enough():
    bench = Bench(endpoint("a", context_tokens=1100))
    assert bench.call(10.0, input_tokens=900, max_tokens=200).places == ["a"]


def test_a_pinned_call_goes_nowhere_else():
    bench = Bench(endpoint("fast", profile=FAST), endpoint("slow", profile=SLOW))
    seen = bench.call(10.0, pinned="slow")
    assert seen.places == ["slow"]
    bench.fail(seen)
    bench.advance(1.0)
    assert seen.places == ["slow", "slow"]


def test_a_call_pinned_to_a_stranger_fails():
    bench = Bench("a")
    assert bench.call(10.0, pinned="gone").failed.failure.kind is FailureKind.INCAPABLE


def test_groups_say_who_serves():
    pool = Pool(
        [endpoint("a", model="x"), endpoint("b", model="y", quality=0.2), endpoint("c", model="y")],
        {"gpt": Group(("b", "c"), min_quality=0.5), "*": ["a"]},
    )
    bench = Bench(pool)
    assert bench.call(10.0, model="gpt").places == ["c"]
    assert bench.call(10.0, model="y").places[0] in ("b", "c")
    assert bench.call(10.0, model="unheard of").places == ["a"]


def test_nobody_serves_the_model():
    seen = Bench("a").call(10.0, model="other")
    assert seen.failed.failure.kind is FailureKind.INCAPABLE
    assert not seen.failed.saturated


def test_a_call_that_comes_too_late_is_not_sent():
    bench = Bench("a")
    seen = bench.call(0.0)
    assert seen.places == []
    assert seen.failed.failure.kind is FailureKind.DEADLINE
    assert seen.ended.status == "deadline"


def test_the_answer_is_delivered_and_recorded():
    bench = Bench(pool_of(endpoint("a")))
    bench.run()
    seen = bench.call(10.0, input_tokens=50)
    bench.advance(0.4)
    bench.finish(seen, 20)
    assert seen.delivered.endpoint == "a"
    assert (seen.ended.status, seen.ended.endpoint, seen.ended.attempts, seen.ended.retries) == ("ok", "a", 1, 0)
    assert seen.ended.ended_at - seen.ended.arrived_at == pytest.approx(0.4)
    (observation,) = bench.observations
    assert (observation.status, observation.input_tokens, observation.output_tokens) == ("ok", 50, 20)
    assert observation.e2e_s == pytest.approx(0.4)
    assert observation.predicted_e2e_s == pytest.approx(bench.decisions[0].e2e_s)


def test_a_stream_is_delivered_at_its_first_token():
    bench = Bench("a")
    seen = bench.call(10.0, stream=True)
    bench.advance(0.4)
    bench.progress(seen)
    assert seen.delivered is not None
    bench.advance(1.0)
    bench.finish(seen)
    assert seen.ended.ttft_s == pytest.approx(0.4)


def test_an_empty_stream_is_delivered_at_its_end():
    bench = Bench("a")
    seen = bench.call(10.0, stream=True)
    bench.finish(seen, 0)
    assert seen.delivered is not None
    assert seen.ended.status == "ok"


def test_what_a_server_does_not_count_is_taken_from_the_request_and_the_stream():
    bench = Bench("a")
    seen = bench.call(10.0, stream=True, input_tokens=77)
    bench.advance(0.4)
    bench.progress(seen, 1)
    bench.progress(seen, 33)
    bench.finish(seen, None)
    assert bench.observations[0].output_tokens == 33
    assert bench.observations[0].input_tokens == 77


def test_max_tokens_caps_the_forecast():
    bench = Bench("a", lengths=FixedLengths(1000))
    bench.call(10.0, max_tokens=5)
    assert bench.decisions[0].output_tokens == 5
    assert bench.decisions[0].p_meet == 1.0


def test_the_connect_clock_is_bounded_by_the_budget():
    bench = Bench("a", rules=Rules(stream=StreamRules(connect_timeout=5.0)))
    assert bench.call(2.0).starts[0].limits.connect_s == 2.0
    assert bench.call(20.0).starts[0].limits.connect_s == 5.0
    assert bench.call().starts[0].limits.connect_s == 5.0


def test_calls_of_one_name_may_come_only_once():
    from agentsched.errors import InvariantViolated

    bench = Bench("a")
    bench.call(10.0, call_id="x")
    with pytest.raises(InvariantViolated, match="x arrived twice"):
        bench.call(10.0, call_id="x")


def test_failures_come_with_their_story():
    bench = Bench("a", "b")
    seen = bench.call(1.0)
    bench.fail(seen, FailureKind.RESET)
    bench.advance(0.2)
    bench.fail(seen, FailureKind.SERVER, status=503)
    bench.advance(1.0)
    assert isinstance(seen.failed, Fail)
    assert seen.failed.attempts[0] == "a: reset: as told after 0.00 s"
    assert seen.failed.attempts[1] == "b: server 503: as told after 0.20 s"


def test_candidates_are_told_apart_by_every_need_and_remembered_within_bounds():
    bench = Bench(endpoint("a", quality=0.5), endpoint("b", capabilities=frozenset({"vision"})))
    for _ in range(2):
        assert set(bench.call(10.0).places) <= {"a", "b"}
        assert bench.call(10.0, needs=frozenset({"vision"})).places == ["b"]
        assert bench.call(10.0, needs=frozenset({"tools"})).places == ["a"]
        assert bench.call(10.0, min_quality=0.9).places == ["b"]
        assert bench.call(10.0, pinned="a").places == ["a"]
    candidates = bench.scheduler._candidates
    for k in range(1500):
        bench.call(10.0, model=f"unheard of {k}")
    assert len(candidates._known) <= 1024
