"""What is believed of an endpoint follows what was seen there."""

import numpy as np
import pytest

from agentsched.core.call import FailureKind, Usage
from agentsched.core.endpoint import Profile
from agentsched.forecast.latency import tpot_if_joined, ttft_if_joined
from agentsched.scheduler.events import AttemptFinished, TokensProgressed
from tests.scheduler.bench import Bench, FixedLengths, endpoint

PRIOR = Profile(ttft_s=0.3, tpot_s=0.02, tpot_per_batch_s=0.0, prefill_tokens_per_s=8000.0)


def truth(ttft_s: float, tpot_s: float, lengths, *, stream: bool):
    """An endpoint that always takes this long; answers have these lengths in turn; told at most every 0.1 s."""
    from itertools import cycle

    each = cycle(lengths)

    def world(start):
        tokens = next(each)
        if stream:
            told_at = -1.0
            for k in range(1, tokens + 1):
                at = ttft_s + (k - 1) * tpot_s
                if at - told_at >= 0.1:
                    told_at = at
                    yield at, TokensProgressed(start.attempt_id, k)
        yield ttft_s + (tokens - 1) * tpot_s, AttemptFinished(start.attempt_id, Usage(10, tokens))

    return world


def believed(bench: Bench, tokens: int, i: int = 0) -> float:
    """The predicted end-to-end time of an answer on the idle endpoint, long after the last one."""
    table = bench.scheduler.ledger.table
    indices = np.array([i])
    states = table.states(indices, np.zeros(1), bench.now + 1000.0)
    return float((ttft_if_joined(states, np.zeros(1)) + (tokens - 1) * tpot_if_joined(states))[0])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("ttft_s", "tpot_s"), [(0.3, 0.02), (0.8, 0.02), (0.1, 0.005), (0.3, 0.06), (2.0, 0.05)])
def test_speed_is_learned(ttft_s, tpot_s, stream):
    """Also a pace of more than a report's interval over four tokens, and from answers that come in one piece."""
    bench = Bench(
        endpoint("a", profile=PRIOR),
        world=truth(ttft_s, tpot_s, (10, 500, 60), stream=stream),
        lengths=FixedLengths(60),
    )
    for _ in range(60):
        bench.call(stream=stream)
        bench.finish_all()
        bench.advance(5.0)
    for tokens in (20, 60, 500):
        assert believed(bench, tokens) == pytest.approx(ttft_s + (tokens - 1) * tpot_s, rel=0.25)


def test_what_a_server_says_of_its_time_tells_both_parts_apart():
    """Answers in one piece, all of one length: without the server's word the parts could be told apart by nothing."""
    bench = Bench(endpoint("a", profile=PRIOR), lengths=FixedLengths(60))
    for _ in range(40):
        seen = bench.call()
        bench.advance(1.0 + 59 * 0.005)
        bench.feed(AttemptFinished(seen.starts[0].attempt_id, Usage(10, 60, None, 59 * 0.005)))
        bench.advance(5.0)
    assert believed(bench, 20) == pytest.approx(1.0 + 19 * 0.005, rel=0.1)
    assert believed(bench, 500) == pytest.approx(1.0 + 499 * 0.005, rel=0.1)


def test_a_server_that_says_more_than_the_time_it_had_is_not_believed():
    bench = Bench(endpoint("a", profile=PRIOR), lengths=FixedLengths(60))
    seen = bench.call()
    bench.advance(1.0)
    bench.feed(AttemptFinished(seen.starts[0].attempt_id, Usage(10, 60, None, 500.0)))
    assert believed(bench, 60) < 2.0


def test_one_odd_answer_does_not_outweigh_the_profile():
    bench = Bench(endpoint("a", profile=PRIOR), lengths=FixedLengths(20))
    before = believed(bench, 20)
    seen = bench.call(stream=True)
    bench.advance(3.3)
    bench.progress(seen)
    bench.advance(0.4)
    bench.finish(seen, 20)
    assert before < believed(bench, 20) < before + 0.6 * 3.0


def test_a_recent_pace_is_believed_and_then_forgotten():
    bench = Bench(endpoint("a", profile=PRIOR), lengths=FixedLengths(20))
    table = bench.scheduler.ledger.table
    for k in range(40):
        table.speeds.saw_pace(0, 5.0, 0.1, bench.now + 0.1 * k)
    now = bench.now + 4.0
    for k in range(20):
        table.speeds.saw_pace(0, 5.0, 0.5, now + 0.5 * k)
    now += 9.5
    recent = tpot_if_joined(table.states(np.array([0]), np.zeros(1), now))[0]
    later = tpot_if_joined(table.states(np.array([0]), np.zeros(1), now + 100.0))[0]
    assert recent == pytest.approx(0.1, rel=0.05)
    assert 0.02 < later < 0.08


def test_an_unseen_endpoint_is_its_profile_not_idle_and_fast():
    bench = Bench(endpoint("a", profile=PRIOR))
    states = bench.scheduler.ledger.table.states(np.array([0]), np.zeros(1), bench.now)
    assert states.seen_age_s[0] > 1e5
    assert tpot_if_joined(states)[0] == pytest.approx(0.02)


def test_a_crowded_first_token_is_load_and_fades():
    bench = Bench(endpoint("a", profile=PRIOR))
    table = bench.scheduler.ledger.table
    table.speeds.saw_first_token(0, 4.3, 0.3, crowd=20.0, now=bench.now)
    soon = table.states(np.array([0]), np.zeros(1), bench.now).excess_ttft_s[0]
    later = table.states(np.array([0]), np.zeros(1), bench.now + 50.0).excess_ttft_s[0]
    assert soon == pytest.approx(2.0)
    assert later < 0.001
    assert table.rows.ttft_idle_s[0] == 0.3


def test_prefill_is_counted_until_the_first_token():
    bench = Bench("a")
    table = bench.scheduler.ledger.table
    first = bench.call(stream=True, input_tokens=1000)
    bench.call(stream=True, input_tokens=500)
    assert table.rows.prefill_tokens[0] == 1500
    bench.progress(first)
    assert table.rows.prefill_tokens[0] == 500
    bench.fail(first, FailureKind.RESET)
    assert table.rows.prefill_tokens[0] == 500


def test_prefill_of_whole_answers_is_taken_as_done_when_predicted():
    bench = Bench("a")
    table = bench.scheduler.ledger.table
    bench.call(input_tokens=8000)
    bench.call(input_tokens=8000)
    bench.advance(1.5)
    assert table.states(np.array([0]), np.zeros(1), bench.now).prefill_tokens[0] == 8000
    bench.advance(5.0)
    assert table.states(np.array([0]), np.zeros(1), bench.now).prefill_tokens[0] == 0


def test_an_empty_endpoint_has_no_prefill():
    bench = Bench("a")
    table = bench.scheduler.ledger.table
    for _ in range(3):
        bench.finish(bench.call(input_tokens=8000))
        assert table.rows.prefill_tokens[0] == 0
    bench.call(input_tokens=8000)
    bench.advance(0.0)
    assert table.states(np.array([0]), np.zeros(1), bench.now).prefill_tokens[0] == 8000


def test_a_stream_that_its_caller_did_not_read_teaches_no_pace():
    bench = Bench("a")
    table = bench.scheduler.ledger.table
    seen = bench.call(stream=True)
    bench.advance(0.3)
    bench.progress(seen, 1)
    bench.progress(seen, 10, paused=True)
    bench.advance(100.0)
    bench.progress(seen, 10)
    bench.advance(0.1)
    bench.progress(seen, 15)
    bench.finish(seen, 15)
    assert table.rows.tpot_s[0] == pytest.approx(0.02)
    assert table.speeds.pace_scale[0] == pytest.approx(1.0, rel=0.01)


def test_a_count_that_differs_from_the_stream_teaches_no_impossible_pace():
    """A server that packs many tokens into an event, and says so at the end."""
    bench = Bench("a")
    table = bench.scheduler.ledger.table
    seen = bench.call(stream=True)
    for k in range(1, 30):
        bench.advance(0.1)
        bench.progress(seen, 5 * k)
    bench.finish(seen, 5000)
    assert table.rows.tpot_s[0] == pytest.approx(0.02)


def test_error_rates_rise_and_fall():
    bench = Bench("a", "b")
    table = bench.scheduler.ledger.table
    rates = []
    for _ in range(4):
        table.gates.failed(0, bench.now)
        rates.append(table.rows.error_rate[0])
    assert rates == sorted(rates)
    assert 0.3 < rates[-1] < 0.5
    for _ in range(20):
        table.gates.succeeded(0)
    assert table.rows.error_rate[0] < 0.05
    assert table.rows.error_rate[1] == 0.0


def test_waiting_for_a_slot_is_expected_to_take_longer_in_a_longer_queue():
    bench = Bench(endpoint("a", max_concurrency=2), endpoint("b"))
    table, both = bench.scheduler.ledger.table, np.array([0, 1])
    for _ in range(2):
        bench.call(pinned="a")
    short = table.gates.queue_s(both)[0]
    bench.call(pinned="a")
    assert table.gates.queue_s(both)[0] > short > 0.0
    assert table.gates.queue_s(both)[1] == 0.0
    for _ in range(50):
        table.saw_answer(0, 10.0, 20)
    assert table.gates.queue_s(both)[0] == pytest.approx(10.0, rel=0.1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("took_s", [0.0, 0.5])
def test_a_profile_of_no_time_at_all_breaks_nothing(stream, took_s):
    bench = Bench(endpoint("a", profile=Profile(ttft_s=0.0)), lengths=FixedLengths(0))
    for _ in range(3):
        seen = bench.call(10.0, stream=stream)
        bench.advance(took_s)
        bench.finish(seen, 1)
        assert seen.ended.status == "ok"


def test_a_caller_that_reads_slowly_is_no_misfit():
    bench = Bench("a")
    table = bench.scheduler.ledger.table
    seen = bench.call(stream=True)
    bench.advance(0.3)
    bench.progress(seen, 1)
    bench.progress(seen, 10, paused=True)
    bench.advance(100.0)
    bench.progress(seen, 10)
    before = table.speeds.spread(0)
    bench.finish(seen, 20)
    assert table.speeds.spread(0) == before


def test_the_spread_is_what_forecasts_were_off_by():
    bench = Bench("a")
    table = bench.scheduler.ledger.table
    for factor in (0.5, 2.0) * 100:
        table.speeds.saw_misfit(0, factor)
    assert table.speeds.spread(0) == pytest.approx(np.log(2.0), rel=0.01)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_nobody_counted_teaches_no_speed(stream):
    bench = Bench(endpoint("a", profile=PRIOR))
    before = believed(bench, 20)
    for _ in range(5):
        seen = bench.call(stream=stream)
        bench.advance(10.0)
        bench.finish(seen, None)
    assert believed(bench, 20) == pytest.approx(before)
    assert bench.scheduler.ledger.table.gates.service_s[0] > 4.0


def test_an_endpoint_that_failed_once_is_used_again():
    """Avoided for ever it could never show that it is well."""
    bench = Bench(endpoint("a", profile=Profile(tpot_s=0.019)), endpoint("b", profile=Profile(tpot_s=0.0201)))
    bench.fail(bench.call(10.0, pinned="a"))
    places = []
    for _ in range(40):
        seen = bench.call(10.0)
        places += seen.places
        bench.advance(bench.decisions[-1].e2e_s)
        bench.finish(seen, 20)
        bench.advance(2.0)
    assert places[:10] == ["b"] * 10
    assert places[-1] == "a"
    assert bench.scheduler.ledger.table.gates.errors(0, bench.now) < 0.05


def test_errors_fade():
    bench = Bench("a")
    table = bench.scheduler.ledger.table
    for _ in range(4):
        table.gates.failed(0, bench.now)
    at_once, later = table.gates.errors(0, bench.now), table.gates.errors(0, bench.now + 30.0)
    assert later == pytest.approx(at_once / 2)
    assert table.gates.errors(0, bench.now + 60.0) == 0.0
    for now in (bench.now, bench.now + 30.0, bench.now + 61.0):
        shown = table.states(np.array([0]), np.zeros(1), now).error_rate[0]
        assert shown == pytest.approx(table.gates.errors(0, now))
    table.gates.failed(0, bench.now + 60.0)
    assert table.gates.errors(0, bench.now + 60.0) == pytest.approx(1 / 8), "the past is past"
