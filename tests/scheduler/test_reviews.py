"""Second thoughts are told with their reasons, also those that change nothing; once each, and not without end."""

import json

import pytest

from agentsched.core.call import FailureKind
from agentsched.core.rules import HedgeRules, RetryRules, Rules
from agentsched.forecast.length import EmpiricalLengths
from agentsched.scheduler.events import ReviewDue
from agentsched.scheduler.recording import decode, encode
from tests.scheduler.bench import Bench, FixedLengths, endpoint


def told(seen) -> list[tuple[str, str]]:
    return [(review.verdict, review.why) for review in seen.ended.reviews]


def silent(bench: Bench, deadline_s: float = 2.0, **fields):
    """A call that nobody answers, to its end."""
    seen = bench.call(deadline_s, **fields)
    bench.advance(deadline_s + 0.1)
    return seen


def test_a_call_that_goes_as_expected_is_not_thought_about():
    bench = Bench("a", "b")
    seen = bench.call(10.0, stream=True)
    for k in range(1, 20):
        bench.advance(0.05)
        bench.progress(seen, k)
    bench.finish(seen, 20)
    assert told(seen) == []


def test_each_reason_is_told_once_and_followed_by_what_was_done():
    bench = Bench("a", "b", lengths=FixedLengths(20.0))
    seen = silent(bench, 4.0)
    verdicts = [verdict for verdict, _ in told(seen)]
    assert "hedge" in verdicts
    assert len(set(told(seen))) == len(told(seen)), "a review every half second, each reason once"
    hedge = next(review for review in seen.ended.reviews if review.verdict == "hedge")
    decision = next(one for one in bench.decisions if one.why == "hedge")
    assert (hedge.at, hedge.p_stay, hedge.p_switch) == (decision.at, decision.p_stay, decision.p_switch)
    assert hedge.attempt_id == seen.starts[0].attempt_id


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        (Rules(hedge=HedgeRules(max_extra=0.0, reserve=0.0)), "the share of second attempts is spent"),
        (Rules(hedge=HedgeRules(max_waste=0.0)), "the tokens for second attempts are spent"),
    ],
    ids=["calls", "tokens"],
)
def test_what_barred_a_second_attempt_is_told(rules, why):
    bench = Bench("a", "b", lengths=FixedLengths(20.0), rules=rules)
    assert ("keep", why) in told(silent(bench))


def test_that_no_try_is_left_is_told():
    bench = Bench("a", "b", lengths=FixedLengths(20.0), rules=Rules(retry=RetryRules(max_attempts=2)))
    seen = bench.call(60.0)
    bench.fail(seen)
    bench.advance(60.1)
    assert ("keep", "no further try is allowed") in told(seen)


def test_who_may_try_but_once_has_no_second_thoughts():
    bench = Bench("a", "b", lengths=FixedLengths(20.0), rules=Rules(retry=RetryRules(max_attempts=1)))
    seen = bench.call(60.0)
    bench.advance(59.9)
    assert not any(isinstance(event, ReviewDue) for event, *_ in bench.history)
    bench.advance(0.2)
    assert seen.ended.status == "deadline"


def test_a_busy_alternative_is_told():
    bench = Bench("a", endpoint("b", max_concurrency=1), lengths=FixedLengths(20.0))
    bench.call(60.0, pinned="b")
    assert ("keep", "the best other endpoint is busy") in told(silent(bench))


def test_a_stream_that_nobody_can_go_on_with_says_so():
    bench = Bench("a", "b")
    seen = bench.call(60.0, stream=True, continuable=frozenset())
    bench.advance(0.2)
    bench.progress(seen, 1)
    bench.advance(5.0)
    bench.fail(seen, FailureKind.RESET)
    assert told(seen) == [("keep", "nobody can go on with it")]


def test_they_are_bounded_and_the_last_one_is_kept():
    """Two reasons in turn."""
    bench = Bench("a", "b", lengths=EmpiricalLengths())
    seen = bench.call(60.0)
    state = bench.scheduler.ledger.calls[seen.call.call_id]
    attempt, rescue = next(iter(state.attempts.values())), bench.scheduler._rescue
    for k in range(20):
        thought = rescue.think(state, attempt, bench.now)
        review = thought.review(attempt, bench.now + k)
        state.reviewed(type(review)(review.at, review.attempt_id, "keep", f"reason {k % 2}"))
    assert len(state.reviews) == 8
    assert state.reviews[-1].at == bench.now + 19
    bench.finish(seen)
    assert decode(json.loads(json.dumps(encode(seen.ended)))) == seen.ended
