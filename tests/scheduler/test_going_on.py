"""Streams that break off, stand still or crawl in the caller's hands: who goes on with them, how, and at what cost."""

import pytest

from agentsched.core.call import FailureKind, Handed, Usage, Way
from agentsched.core.endpoint import Group, Pool, Price, Profile
from agentsched.core.rules import HedgeRules, RetryRules, Rules, StreamRules
from agentsched.forecast.length import EmpiricalLengths
from agentsched.scheduler.actions import Cancel, Deliver, Start
from agentsched.scheduler.events import AttemptFinished
from tests.scheduler.bench import Bench, FirstReady, FixedLengths, endpoint

PREFILL, REPLAY, TOKENS = frozenset({Way.PREFILL}), frozenset({Way.REPLAY}), frozenset({Way.TOKENS})


def vllm(*names: str, **fields) -> list:
    return [endpoint(name, kind="vllm", **fields) for name in names]


def streaming(bench: Bench, *, tokens: int = 7, handed: Handed = Handed.TEXT, **fields):
    """A call whose caller has some of its stream."""
    seen = bench.call(60.0, **({"stream": True, "continuable": PREFILL, "input_tokens": 100} | fields))
    bench.advance(0.2)
    bench.progress(seen, 1, handed=handed)
    bench.advance(0.1)
    bench.progress(seen, tokens, handed=handed)
    return seen


def ways(seen) -> list:
    return [start.way for start in seen.starts]


@pytest.mark.parametrize(
    "kind", [FailureKind.RESET, FailureKind.IN_BAND, FailureKind.MALFORMED, FailureKind.SERVER], ids=str
)
def test_another_endpoint_goes_on_at_once(kind):
    bench = Bench(*vllm("a", "b"))
    seen = streaming(bench)
    actions = bench.fail(seen, kind)
    assert [type(a) for a in actions if isinstance(a, Start | Deliver | Cancel)] == [Start]
    assert ways(seen) == [None, Way.PREFILL]
    assert bench.decisions[-1].why == "migrate"
    assert bench.progress(seen, 1)[0] == Deliver(seen.call.call_id, seen.starts[1].attempt_id, "b")
    bench.feed(AttemptFinished(seen.starts[1].attempt_id, Usage(107, 13)))
    assert seen.ended.status == "ok"
    assert (seen.ended.input_tokens, seen.ended.output_tokens) == (100, 20)
    assert seen.ended.wasted_tokens == 107, "the prompt and the beginning of the answer, read a second time"
    assert seen.ended.ttft_s == pytest.approx(0.2)
    assert [o.continued_tokens for o in bench.observations] == [0, 7]


def test_it_goes_on_a_second_time_from_where_it_then_was():
    bench = Bench(*vllm("a", "b", "c"))
    seen = streaming(bench, tokens=7)
    bench.fail(seen, FailureKind.RESET)
    bench.progress(seen, 5)
    bench.fail(seen, FailureKind.RESET)
    bench.feed(AttemptFinished(seen.starts[2].attempt_id, Usage(None, 8)))
    assert seen.places[0] != seen.places[1] != seen.places[2]
    assert (seen.ended.input_tokens, seen.ended.output_tokens) == (100, 20)


def test_an_attempt_that_only_repeats_is_not_delivered_yet():
    bench = Bench("a", "b")
    seen = streaming(bench, continuable=REPLAY)
    bench.fail(seen, FailureKind.RESET)
    assert ways(seen) == [None, Way.REPLAY]
    assert bench.progress(seen, 3, handed=Handed.NOTHING) == []
    assert seen.delivered.attempt_id == seen.starts[0].attempt_id
    bench.progress(seen, 8)
    assert seen.delivered.attempt_id == seen.starts[1].attempt_id
    bench.finish(seen, 20)
    assert seen.ended.output_tokens == 20, "a replay writes all of it"


@pytest.mark.parametrize(
    ("what", "fields", "kind", "handed", "way"),
    [
        ("text, a server that takes it", {"continuable": PREFILL}, "vllm", Handed.TEXT, Way.PREFILL),
        ("text, a server that does not", {"continuable": PREFILL}, "openai", Handed.TEXT, None),
        ("text, replayed", {"continuable": REPLAY}, "openai", Handed.TEXT, Way.REPLAY),
        ("both", {"continuable": PREFILL | REPLAY}, "vllm", Handed.TEXT, Way.PREFILL),
        ("a text completion", {"continuable": frozenset({Way.PROMPT})}, "openai", Handed.TEXT, Way.PROMPT),
        ("a text completion by ids", {"continuable": TOKENS}, "vllm", Handed.TOKENS, Way.TOKENS),
        ("ids that are not known", {"continuable": TOKENS}, "vllm", Handed.TEXT, None),
        ("ids, a server that takes none", {"continuable": TOKENS}, "openai", Handed.TOKENS, None),
        ("ids, replayed there", {"continuable": TOKENS | REPLAY}, "openai", Handed.TOKENS, Way.REPLAY),
        ("a tool call", {"continuable": PREFILL}, "vllm", Handed.OTHER, None),
        ("a tool call, replayed", {"continuable": PREFILL | REPLAY}, "vllm", Handed.OTHER, Way.REPLAY),
        ("half a tool call, held back", {"continuable": frozenset()}, "openai", Handed.NOTHING, Way.REPLAY),
        ("not to be repeated", {"repeatable": False}, "vllm", Handed.TEXT, None),
        ("of several choices", {"needs": frozenset({"n"})}, "vllm", Handed.TEXT, None),
        ("a response", {"api": "responses", "continuable": REPLAY}, "vllm", Handed.OTHER, Way.REPLAY),
        ("a response, no replay", {"api": "responses", "continuable": frozenset()}, "vllm", Handed.OTHER, None),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else None,
)
def test_who_may_go_on_and_how(what, fields, kind, handed, way):
    bench = Bench(endpoint("a", kind=kind), endpoint("b", kind=kind))
    seen = streaming(bench, handed=handed, **fields)
    bench.fail(seen, FailureKind.RESET)
    assert (ways(seen)[1] if len(seen.starts) == 2 else None) is way
    assert (seen.failed is None) is (way is not None)
    assert seen.failed is None or seen.failed.delivered


def test_an_endpoint_with_the_same_model_is_preferred():
    other = endpoint("b", kind="vllm", model="another")
    bench = Bench(endpoint("a", kind="vllm"), other, endpoint("c", kind="vllm"), policy=None)
    seen = streaming(bench, model="m", pinned=None)
    bench.fail(seen, FailureKind.RESET)
    assert seen.places[1] in ("a", "c")


def test_ids_mean_nothing_to_another_model():
    bench = Bench(endpoint("a", kind="vllm"), endpoint("b", kind="vllm", model="another"), policy=None)
    seen = streaming(bench, model="m", pinned=None, continuable=TOKENS, handed=Handed.TOKENS)
    bench.fail(seen, FailureKind.RESET)
    assert set(seen.places) == {"a"}


def test_a_draft_is_gone_on_with_by_ids():
    bench = Bench(*vllm("a", "b"))
    seen = streaming(bench, stream=False, upgradable=True, continuable=TOKENS, handed=Handed.TOKENS)
    bench.fail(seen, FailureKind.RESET)
    assert ways(seen) == [None, Way.TOKENS]


def test_switched_off_it_breaks():
    bench = Bench(*vllm("a", "b"), rules=Rules(stream=StreamRules(continuation=False)))
    seen = streaming(bench)
    assert not seen.starts[0].resumable
    bench.fail(seen, FailureKind.RESET)
    assert seen.failed.delivered


def test_a_server_that_takes_no_unfinished_message_is_not_asked_again():
    bench = Bench(*vllm("a", "b", "c"))
    seen = streaming(bench)
    bench.fail(seen, FailureKind.RESET)
    bench.fail(seen, FailureKind.CLIENT, status=400)
    assert sorted(seen.places) == ["a", "b", "c"]
    bench.fail(seen, FailureKind.CLIENT, status=400)
    bench.advance(1.0)
    assert seen.places.count(seen.places[0]) == 2, "the first one may be back"


def test_an_answer_that_comes_out_differently_ends_the_replays():
    bench = Bench("a", "b")
    seen = streaming(bench, continuable=REPLAY)
    bench.fail(seen, FailureKind.RESET)
    bench.fail(seen, FailureKind.DIVERGED)
    assert len(seen.starts) == 2
    assert seen.failed.delivered
    assert seen.failed.passthrough is None
    assert bench.scheduler.ledger.table.rows.error_rate[1] == 0.0, "not the server's fault"


def test_retries_and_their_budget_bound_it():
    bench = Bench(*vllm("a", "b"), rules=Rules(retry=RetryRules(max_attempts=2)))
    seen = streaming(bench)
    bench.fail(seen, FailureKind.RESET)
    bench.progress(seen, 3)
    bench.fail(seen, FailureKind.RESET)
    assert len(seen.starts) == 2
    assert seen.failed.delivered


# -- stalls and crawls -----------------------------------------------------------------------------------------------


def test_a_stream_that_stands_still_is_left_long_before_its_idle_clock():
    bench = Bench(*vllm("a", "b"))
    seen = streaming(bench)
    bench.advance(3.0)
    assert seen.places == ["a", "b"]
    assert ways(seen)[1] is Way.PREFILL
    assert bench.observations[0].status == "stalled"
    assert 1.0 < bench.decisions[1].at - bench.decisions[0].at < 3.5
    decision = bench.decisions[1]
    assert decision.p_stay < 0.2 < 0.9 < decision.p_switch


def test_a_lull_that_it_has_shown_before_is_none():
    """Tokens come in bursts, 1.5 s apart."""
    bench = Bench(*vllm("a", "b"))
    seen = streaming(bench, tokens=7)
    for k in range(2, 12):
        bench.advance(1.5)
        bench.progress(seen, 7 * k)
    assert seen.places == ["a"]


def test_a_caller_that_reads_slowly_is_no_stall():
    bench = Bench(*vllm("a", "b"))
    seen = streaming(bench)
    bench.progress(seen, 8, paused=True)
    bench.advance(20.0)
    assert seen.places == ["a"]


def test_the_only_endpoint_is_not_left():
    bench = Bench(*vllm("a"))
    seen = streaming(bench)
    bench.advance(20.0)
    assert seen.places == ["a"]


# -- whole answers that are asked for as streams ---------------------------------------------------------------------


def whole(bench: Bench, *, tokens: int = 7, handed: Handed = Handed.TEXT, deadline_s: float = 60.0, **fields):
    """A call of whose whole answer something has been written, which nobody has."""
    seen = bench.call(deadline_s, **({"upgradable": True, "continuable": PREFILL, "input_tokens": 100} | fields))
    bench.advance(0.2)
    bench.progress(seen, 1, handed=handed)
    bench.advance(0.1)
    bench.progress(seen, tokens, handed=handed)
    return seen


@pytest.mark.parametrize(("tokens", "streams"), [(20.0, False), (200.0, True)])
def test_only_answers_that_take_long_are_asked_for_as_streams(tokens, streams):
    bench = Bench(*vllm("a"), lengths=FixedLengths(tokens), rules=Rules())
    seen = bench.call(60.0, upgradable=True)
    (decision,) = bench.decisions
    assert [start.stream for start in seen.starts] == [streams]
    assert (decision.e2e_s >= Rules().stream.upgrade_from_s) is streams


def test_what_was_begun_as_a_stream_goes_on_as_one():
    slow, fast = Profile(tpot_s=0.03), Profile(tpot_s=0.0001, tpot_per_batch_s=0.0)
    bench = Bench(
        *vllm("a", profile=slow),
        *vllm("b", profile=fast),
        lengths=FixedLengths(200.0),
        rules=Rules(),
        policy=FirstReady(),
    )
    seen = whole(bench)
    bench.fail(seen, FailureKind.RESET)
    assert bench.decisions[-1].e2e_s < Rules().stream.upgrade_from_s
    assert ways(seen) == [None, Way.PREFILL]


@pytest.mark.parametrize("broken", [FailureKind.RESET, FailureKind.MALFORMED, None], ids=str)
def test_a_whole_answer_goes_on_from_what_was_written(broken):
    """It breaks off, or (None) it stands still."""
    bench = Bench(*vllm("a", "b"))
    seen = whole(bench)
    assert [start.resumable for start in seen.starts] == [True]
    bench.advance(3.0) if broken is None else bench.fail(seen, broken)
    assert ways(seen) == [None, Way.PREFILL]
    assert seen.starts[1].after == seen.starts[0].attempt_id
    assert (seen.delivered, bench.decisions[-1].why) == (None, "migrate")
    bench.feed(AttemptFinished(seen.starts[1].attempt_id, Usage(107, 13)))
    assert (seen.ended.status, seen.ended.input_tokens, seen.ended.output_tokens) == ("ok", 100, 20)
    assert seen.ended.wasted_tokens == 107
    assert [o.continued_tokens for o in bench.observations] == [0, 7]


@pytest.mark.parametrize(
    ("what", "fields", "endpoints", "handed"),
    [
        ("a server that takes no unfinished message", {}, ["a", "b"], Handed.TEXT),
        ("a tool call", {}, vllm("a", "b"), Handed.OTHER),
        ("a prescribed form, or fields unknown here", {"continuable": frozenset()}, vllm("a", "b"), Handed.TEXT),
        ("another model", {}, [*vllm("a"), *vllm("b", model="other")], Handed.TEXT),
        ("replay only", {"continuable": REPLAY}, vllm("a", "b"), Handed.TEXT),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else None,
)
def test_a_whole_answer_that_nobody_can_go_on_with_is_begun_anew(what, fields, endpoints, handed):
    places = [e if isinstance(e, str) else e.name for e in endpoints]
    made = [endpoint(e) if isinstance(e, str) else e for e in endpoints]
    bench = Bench(Pool(made, {"m": Group(tuple(places))}), policy=FirstReady())
    seen = whole(bench, handed=handed, **fields)
    bench.fail(seen, FailureKind.RESET)
    assert (seen.places, ways(seen)) == (["a", "b"], [None, None])
    bench.finish(seen, 20)
    assert (seen.ended.output_tokens, seen.ended.wasted_tokens) == (20, 107)


@pytest.mark.parametrize("kind", [FailureKind.CLIENT, FailureKind.UNSTREAMED, FailureKind.MALFORMED], ids=str)
def test_a_server_that_refuses_the_draft_is_no_reason_to_refuse_the_call(kind):
    rules = Rules(retry=RetryRules(max_attempts=2), stream=StreamRules(upgrade_from_s=0.0))
    bench = Bench(*vllm("a", "b", "c"), rules=rules)
    seen = whole(bench)
    bench.fail(seen, FailureKind.RESET)
    bench.fail(seen, kind, status=400)
    assert seen.failed is None
    assert ways(seen) == [None, Way.PREFILL, None]
    assert seen.starts[2].stream, "the refusal had nothing to do with the stream"
    bench.fail(seen, FailureKind.CLIENT, status=400)
    assert seen.failed.passthrough == seen.starts[2].attempt_id


def test_the_attempt_that_came_furthest_is_gone_on_with():
    bench = Bench(*vllm("a", "b", "c"))
    seen = whole(bench, tokens=7)
    bench.fail(seen, FailureKind.RESET)
    bench.fail(seen, FailureKind.RESET)
    bench.progress(seen, 4)
    bench.fail(seen, FailureKind.RESET)
    bench.advance(1.0)
    first, second, third, fourth = seen.starts
    assert [start.after for start in (second, third, fourth)] == [first.attempt_id, first.attempt_id, third.attempt_id]
    bench.feed(AttemptFinished(fourth.attempt_id, Usage(None, 9)))
    assert (seen.ended.input_tokens, seen.ended.output_tokens) == (100, 7 + 4 + 9)


def test_a_draft_is_not_what_the_caller_has():
    """Its patience is counted from the call, and its failure is not that of a broken stream."""
    bench = Bench(*vllm("a"), rules=Rules(retry=RetryRules(max_attempts=1), stream=StreamRules(upgrade_from_s=0.0)))
    seen = whole(bench, patience_s=5.0)
    bench.fail(seen, FailureKind.RESET)
    assert not seen.failed.delivered


def test_the_last_call_of_a_lull_goes_on_beside_it():
    """Too short to be a stall, but the alternative would not fit any more: whoever has the rest first wins."""
    bench = Bench(*vllm("a", "b"), lengths=FixedLengths(200.0))
    seen = whole(bench, deadline_s=8.0)
    bench.advance(8.0)
    hedges = [start for start, decision in zip(seen.starts, bench.decisions, strict=True) if decision.why == "hedge"]
    assert [(start.way, start.after) for start in hedges] == [(Way.PREFILL, seen.starts[0].attempt_id)]


# -- crawls ----------------------------------------------------------------------------------------------------------


def crawl(bench: Bench, deadline_s: float | None, *, pace_s: float = 0.2, tokens: int = 40):
    """A stream of 200 tokens, each of which takes ten times as long as it should."""
    seen = bench.call(deadline_s, stream=True, continuable=PREFILL)
    bench.advance(0.2)
    for k in range(1, tokens):
        bench.progress(seen, k)
        bench.advance(pace_s)
        if len(seen.starts) > 1:
            break
    return seen


LONG = FixedLengths(200.0)


@pytest.mark.parametrize("deadline_s", [15.0, None])
def test_a_stream_that_crawls_moves_where_that_saves_the_deadline(deadline_s):
    bench = Bench(*vllm("a", "b"), lengths=LONG)
    seen = crawl(bench, deadline_s)
    assert seen.places == ["a", "b"]
    assert bench.observations[0].status == "slow"
    assert bench.decisions[1].p_switch - bench.decisions[1].p_stay >= 0.35


def test_a_stream_that_crawls_stays_where_it_makes_its_deadline_anyway():
    bench = Bench(*vllm("a", "b"), lengths=LONG)
    assert crawl(bench, 300.0).places == ["a"]


@pytest.mark.parametrize("hedge", [HedgeRules(max_moves=0.0), HedgeRules(max_waste=0.0), HedgeRules(reserve=0.0)])
def test_moves_have_a_budget(hedge):
    bench = Bench(*vllm("a", "b"), lengths=LONG, rules=Rules(hedge=hedge))
    assert crawl(bench, 15.0).places == ["a"]


def test_second_tries_have_a_budget_in_tokens():
    """Two tries of long calls use up what many short calls would."""
    rules = Rules(hedge=HedgeRules(max_extra=1.0, max_waste=0.1, reserve=2.0))
    bench = Bench("a", "b", rules=rules, lengths=EmpiricalLengths())
    for _ in range(12):
        bench.call(2.0, input_tokens=5000)
        bench.advance(2.1)
    hedges = sum(decision.why == "hedge" for decision in bench.decisions)
    assert 1 <= hedges <= 2 + 0.1 * 12


# -- overload and quality --------------------------------------------------------------------------------------------


def test_a_worse_endpoint_that_takes_over_is_called_a_degradation():
    bench = Bench(endpoint("a", kind="vllm", quality=1.0), endpoint("b", kind="vllm", quality=0.5))
    seen = streaming(bench)
    bench.fail(seen, FailureKind.RESET)
    if seen.places[0] == "a":
        assert bench.decisions[1].why == "degrade"
    else:
        assert bench.decisions[1].why == "migrate"


def test_money_that_losers_took_is_told():
    price = Price(1.0, 10.0)
    bench = Bench(*vllm("a", "b", price=price))
    bench.run()
    seen = streaming(bench)
    bench.fail(seen, FailureKind.RESET)
    bench.feed(AttemptFinished(seen.starts[1].attempt_id, Usage(107, 13)))
    bench.end_run()
    assert seen.ended.cost_usd == pytest.approx(price.cost_usd(207, 20))
    assert seen.ended.wasted_usd == pytest.approx(price.cost_usd(107, 0))
    assert bench.closed_runs[0].wasted_tokens == 107
    assert bench.closed_runs[0].wasted_usd == seen.ended.wasted_usd


def test_a_call_without_an_answer_was_all_waste():
    bench = Bench("a", rules=Rules(retry=RetryRules(max_attempts=1)))
    seen = streaming(bench, continuable=frozenset())
    bench.fail(seen, FailureKind.RESET)
    assert seen.ended.wasted_tokens == 107


def test_an_unbroken_answer_wastes_nothing():
    bench = Bench("a")
    seen = bench.call(10.0, input_tokens=100)
    bench.finish(seen, 20)
    assert (seen.ended.wasted_tokens, seen.ended.wasted_usd) == (0, 0.0)
