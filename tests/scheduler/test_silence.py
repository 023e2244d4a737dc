"""A silent endpoint is left while another can still answer in time; a slow but healthy one is not left needlessly."""

import pytest

from agentsched.core.call import FailureKind, Usage
from agentsched.core.endpoint import Profile
from agentsched.core.forecast import QuantileForecast
from agentsched.core.rules import HedgeRules, RetryRules, Rules
from agentsched.forecast.length import PRIOR_OUTPUT_TOKENS, EmpiricalLengths
from agentsched.scheduler.actions import Cancel, Deliver, Start
from agentsched.scheduler.events import AttemptFinished, TokensProgressed
from tests.scheduler.bench import Bench, FirstReady, endpoint

COLD = EmpiricalLengths()


def known(tokens: int) -> EmpiricalLengths:
    """Answers are about this long."""
    return EmpiricalLengths({("", "", ""): QuantileForecast.lognormal(float(tokens), 0.3)})


WARM = known(20)
NO_HEDGE = HedgeRules(max_extra=0.0, reserve=0.0)


def answers(ttft_s: float, tpot_s: float, tokens: int, *, stream: bool):
    """A healthy endpoint's events after a start."""

    def world(start: Start):
        if stream:
            for k in range(1, tokens + 1, 5):
                yield ttft_s + (k - 1) * tpot_s, TokensProgressed(start.attempt_id, k)
        yield ttft_s + (tokens - 1) * tpot_s, AttemptFinished(start.attempt_id, Usage(10, tokens))

    return world


def pool_bench(behaviour, *, stream: bool, warm: bool, tokens: int = 20, **fields) -> Bench:
    """Endpoints by behaviour: the name -> (ttft_s, tpot_s, tokens), or None for silent."""

    def world(start: Start):
        told = behaviour[start.endpoint]
        return () if told is None else answers(*told, stream=stream)(start)

    profile = Profile(ttft_s=0.3, tpot_s=0.02)
    lengths = known(tokens) if warm else COLD
    return Bench(*(endpoint(name, profile=profile) for name in behaviour), lengths=lengths, world=world, **fields)


def warm_up(bench: Bench, behaviour, *, stream: bool, calls: int = 10) -> None:
    """Every endpoint answers a while; then ``behaviour`` shall hold."""
    held = dict(behaviour)
    for name in behaviour:
        behaviour[name] = next(told for told in held.values() if told)
    for _ in range(calls):
        for name in behaviour:
            bench.call(60.0, stream=stream, pinned=name)
            bench.finish_all()
    behaviour.update(held)
    bench.advance(20.0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("deadline_s", [1.0, 2.0, 10.0])
def test_a_healthy_second_endpoint_still_answers_in_time(deadline_s, warm, stream):
    tokens = 6 if deadline_s == 1.0 else 20
    behaviour = {"silent": None, "healthy": (0.3, 0.02, tokens)}
    bench = pool_bench(behaviour, stream=stream, warm=warm, tokens=tokens)
    if warm:
        warm_up(bench, behaviour, stream=stream)
    for _ in range(3):
        seen = bench.call(deadline_s, stream=stream)
        bench.finish_all()
        assert len(seen.places) <= 2
        assert seen.ended.status == "ok"
        assert seen.ended.ended_at - seen.ended.arrived_at < deadline_s


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("deadline_s", [2.0, 10.0])
def test_known_endpoints_are_left_by_the_last_call_at_the_latest(deadline_s, stream):
    """Deadline - q95 of the alternative - 0.1 s, where that leaves the first one time for its own sign of life."""
    behaviour = {"silent": None, "healthy": (0.3, 0.02, 20)}
    bench = pool_bench(behaviour, stream=stream, warm=True, policy=FirstReady())
    warm_up(bench, behaviour, stream=stream)
    began = bench.now
    seen = bench.call(deadline_s, stream=stream)
    while len(seen.starts) < 2 and bench.now < began + deadline_s:
        bench.advance(0.01)
    rival_q95_s = next(d for d in bench.decisions if d.attempt_id == seen.starts[1].attempt_id).e2e_p95_s
    assert bench.now - began <= deadline_s - rival_q95_s - 0.1


@pytest.mark.parametrize("stream", [False, True])
def test_fifty_silent_calls_in_a_row_are_all_answered(stream):
    """The budget for hedges does not last that long: by then the endpoint must have lost its good name."""
    behaviour = {"silent": None, "healthy": (0.3, 0.02, 20)}
    bench = pool_bench(behaviour, stream=stream, warm=True)
    for _ in range(50):
        seen = bench.call(2.0, stream=stream)
        bench.finish_all()
        assert seen.ended.status == "ok"
    silent_tries = [p for s in bench.calls.values() for p in s.places].count("silent")
    assert silent_tries < 10


@pytest.mark.parametrize("stream", [False, True])
def test_many_at_once_on_a_silent_endpoint(stream):
    behaviour = {"silent": None, "healthy": (0.3, 0.02, 20)}
    bench = pool_bench(behaviour, stream=stream, warm=True)
    calls = [bench.call(4.0, stream=stream) for _ in range(40)]
    bench.finish_all()
    assert all(seen.ended.status == "ok" for seen in calls)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("warm", [False, True])
def test_everybody_slow_is_nobody_dead(warm, stream):
    """All endpoints are six times slower than their profile says: calls are answered, nobody is left or blamed."""
    behaviour = {"a": (1.8, 0.12, 20), "b": (1.8, 0.12, 20)}
    bench = pool_bench(behaviour, stream=stream, warm=warm)
    for _ in range(30):
        seen = bench.call(20.0, stream=stream)
        bench.finish_all()
        assert seen.ended.status == "ok"
        assert len(seen.starts) <= 2
        assert seen.ended.ended_at - seen.ended.arrived_at <= 4.09, "the first attempt went on to its end"
    assert not any("left alone" in note for note in bench.notes)
    extra = sum(len(seen.starts) - 1 for seen in bench.calls.values())
    assert extra <= 6


@pytest.mark.parametrize("stream", [False, True])
def test_many_slow_answers_at_once_are_not_thrown_away_when_no_hedge_is_left(stream):
    behaviour = {"a": (1.8, 0.12, 20), "b": (1.8, 0.12, 20)}
    bench = pool_bench(behaviour, stream=stream, warm=True, rules=Rules(hedge=NO_HEDGE))
    calls = [bench.call(20.0, stream=stream) for _ in range(30)]
    bench.finish_all()
    wasted = sum(len(seen.starts) - 1 for seen in calls)
    assert all(seen.ended.status == "ok" for seen in calls)
    assert wasted == 0
    assert not any("left alone" in note for note in bench.notes)


def test_a_healthy_slow_answer_without_a_deadline_is_waited_for():
    behaviour = {"a": (1.8, 0.02, 20), "b": (1.8, 0.02, 20)}
    bench = pool_bench(behaviour, stream=True, warm=True, rules=Rules(hedge=NO_HEDGE))
    seen = bench.call(stream=True)
    bench.finish_all()
    assert seen.places == ["a"]


# -- hedges ----------------------------------------------------------------------------------------------------------


def hedged(**fields) -> tuple[Bench, object]:
    bench = Bench("a", "b", lengths=WARM, **fields)
    seen = bench.call(2.0)
    bench.advance(1.2)
    assert seen.places == ["a", "b"]
    assert len(seen.running) == 2
    assert bench.decisions[1].why == "hedge"
    return bench, seen


@pytest.mark.parametrize("which", [0, 1])
def test_the_first_to_answer_wins_and_the_other_is_cancelled(which):
    bench, seen = hedged()
    actions = bench.finish(seen, which=which)
    assert [a.attempt_id for a in actions if isinstance(a, Deliver)] == [seen.starts[which].attempt_id]
    assert [a.attempt_id for a in actions if isinstance(a, Cancel)] == [seen.starts[1 - which].attempt_id]
    assert bench.finish(seen, which=1 - which) == []
    assert seen.ended.endpoint == "ab"[which]
    assert sorted(o.status for o in bench.observations) == ["cancelled", "ok"]


def test_a_hedge_of_a_stream_ends_with_the_first_token():
    bench = Bench("a", "b", lengths=WARM)
    seen = bench.call(2.0, stream=True)
    bench.advance(1.2)
    assert len(seen.running) == 2
    bench.progress(seen, 1, which=1)
    assert list(seen.running) == [seen.starts[1].attempt_id]
    bench.progress(seen, 1, which=0)
    assert seen.delivered.endpoint == "b"


def test_one_of_two_fails_the_other_goes_on():
    bench, seen = hedged()
    bench.fail(seen, FailureKind.SERVER, which=0)
    assert seen.failed is None
    bench.finish(seen)
    assert seen.ended.endpoint == "b"


def test_both_of_two_fail_and_a_third_is_tried():
    bench = Bench("a", "b", "c", lengths=WARM)
    seen = bench.call(3.0)
    bench.advance(1.8)
    assert seen.places[:2] == ["a", "b"]
    bench.fail(seen, FailureKind.SERVER, which=0)
    bench.fail(seen, FailureKind.SERVER, which=1)
    assert seen.places == ["a", "b", "c"], "both are avoided"


def test_a_hedge_that_is_refused_does_not_end_the_call():
    bench, seen = hedged()
    bench.fail(seen, FailureKind.CLIENT, which=1, status=401)
    assert seen.failed is None
    bench.finish(seen, which=0)
    assert seen.ended.status == "ok"


def test_a_call_ends_by_refusal_when_nobody_else_runs():
    bench, seen = hedged()
    bench.fail(seen, FailureKind.RESET, which=0)
    bench.fail(seen, FailureKind.CLIENT, which=1, status=401)
    assert seen.failed.passthrough == seen.starts[1].attempt_id


def test_the_deadline_ends_both():
    bench, seen = hedged()
    bench.advance(1.0)
    assert seen.failed.failure.kind is FailureKind.DEADLINE
    assert bench.in_flight("a") == bench.in_flight("b") == 0


def test_the_caller_goes_and_both_are_cancelled():
    bench, seen = hedged()
    assert sum(isinstance(a, Cancel) for a in bench.cancel(seen)) == 2


@pytest.mark.parametrize("deadline_s", [30.0, None])
@pytest.mark.parametrize("stream", [True, False])
def test_two_silent_attempts_do_not_wait_for_each_other_while_somebody_else_could_answer(stream, deadline_s):
    behaviour = {"a": None, "b": None, "c": (0.3, 0.02, 20)}
    bench = pool_bench(behaviour, stream=stream, warm=True)
    seen = bench.call(deadline_s, stream=stream)
    bench.advance(20.0)
    assert seen.places == ["a", "b", "c"]
    assert seen.ended.status == "ok"
    assert seen.ended.attempts == 3


def test_two_silent_attempts_are_waited_for_where_nobody_else_is():
    bench = pool_bench({"a": None, "b": None}, stream=True, warm=True)
    seen = bench.call(30.0)
    bench.advance(29.0)
    assert (seen.places, len(seen.running)) == (["a", "b"], 2)


def test_the_older_of_two_dead_attempts_is_left_only_once_the_younger_is_dead_too():
    """The younger may be healthy and merely slow: as long as there is hope for it both are kept."""
    bench = pool_bench({"a": None, "b": (4.0, 0.02, 20), "c": (0.3, 0.02, 20)}, stream=True, warm=True)
    seen = bench.call(30.0, stream=True)
    bench.advance(5.0)
    assert seen.places == ["a", "b"]
    bench.advance(5.0)
    assert (seen.ended.status, seen.ended.endpoint) == ("ok", "b")


@pytest.mark.parametrize(
    "rules", [Rules(retry=RetryRules(max_attempts=2)), Rules(retry=RetryRules(budget=0.0, reserve=0.0))]
)
def test_two_silent_attempts_are_kept_where_no_further_try_is_allowed(rules):
    bench = pool_bench({"a": None, "b": None, "c": (0.3, 0.02, 20)}, stream=True, warm=True, rules=rules)
    seen = bench.call(30.0, stream=True)
    bench.advance(29.0)
    assert seen.places == ["a", "b"]


def test_hedges_stay_within_their_budget():
    """Every answer comes at the very last moment."""
    rules = Rules(hedge=HedgeRules(max_extra=0.05, reserve=2.0), retry=RetryRules(max_attempts=2))
    bench = Bench("a", "b", lengths=COLD, rules=rules)
    for _ in range(100):
        seen = bench.call(2.0)
        bench.advance(1.9)
        bench.finish(seen, 90, which=0)
    hedges = sum(decision.why == "hedge" for decision in bench.decisions)
    assert 2 <= hedges <= 2 + 0.05 * 100


def test_a_rival_that_is_busy_is_asked_again_as_soon_as_it_may_be_free():
    bench = Bench(endpoint("a"), endpoint("b", max_concurrency=1), lengths=WARM)
    blocker = bench.call(60.0, pinned="b")
    seen = bench.call(2.0)
    assert seen.places == ["a"]
    bench.advance(1.05)
    bench.finish(blocker)
    bench.advance(0.2)
    assert seen.places == ["a", "b"]


# -- blame -----------------------------------------------------------------------------------------------------------


def test_a_loser_that_was_silent_for_long_is_blamed():
    bench, seen = hedged()
    bench.advance(0.1)
    bench.finish(seen)
    assert bench.scheduler.ledger.table.rows.error_rate[0] > 0


def test_a_loser_that_was_as_slow_as_the_winner_is_not():
    bench, seen = hedged()
    bench.finish(seen, which=0)
    assert bench.scheduler.ledger.table.rows.error_rate.max() == 0


def test_an_endpoint_that_stays_silent_to_the_deadline_is_blamed_where_an_answer_was_long_due():
    bench = Bench("a", lengths=WARM)
    for _ in range(3):
        bench.call(0.5)
        bench.advance(0.6)
    assert bench.scheduler.ledger.table.rows.error_rate[0] == 0.0, "no time for an answer"
    bench.call(20.0)
    bench.advance(21.0)
    assert bench.scheduler.ledger.table.rows.error_rate[0] > 0.0


def test_the_prior_of_lengths_is_wide():
    assert PRIOR_OUTPUT_TOKENS.quantile(0.95) > 5 * PRIOR_OUTPUT_TOKENS.quantile(0.5)


# -- overload --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crowd", "deadline_s", "whys"),
    [(0, 5.0, ["first", "hedge"]), (100, 5.0, ["first", "left"]), (100, 200.0, ["first", "hedge"])],
    ids=["nobody else", "more than can be done in time", "many, but all in time"],
)
def test_no_second_attempts_while_there_is_more_work_than_can_be_done_in_time(crowd, deadline_s, whys):
    """A crowd at one endpoint tells what the pool is in for; another is silent, and left once it is surely dead."""
    profile = Profile(ttft_s=0.3, tpot_s=0.02, tpot_per_batch_s=0.01)
    bench = Bench(*(endpoint(name, profile=profile) for name in "abc"), lengths=WARM)
    for _ in range(crowd):
        bench.call(deadline_s, pinned="a")
    seen = bench.call(5.0)
    bench.advance(4.9)
    assert [decision.why for decision in bench.decisions if decision.call_id == seen.call.call_id] == whys


def test_tight_deadlines_at_idle_endpoints_are_no_overload():
    """Every other call is expected to be late, though nothing else runs: second attempts are as good as ever."""
    bench = Bench("a", "b", lengths=WARM)
    for _ in range(100):
        seen = bench.call(0.72)
        bench.advance(0.7)
        bench.finish(seen, 20)
    assert bench.decisions[-1].p_meet < 0.8
    assert not bench.scheduler._rescue.overloaded


def test_a_late_review_is_not_awaited_when_one_of_two_attempts_fails_after_the_deadline():
    bench = pool_bench({"a": None, "b": None}, stream=True, warm=True)
    seen = bench.call(30.0, stream=True)
    bench.advance(29.0)
    assert len(seen.running) == 2
    bench.now += 1.5  # the review at the deadline has not come yet
    bench.fail(seen)
    assert seen.ended.status == "deadline"
    assert not seen.running
