"""agentsched's own rule: its formulas read plainly, and what each part of them is for."""

import math
from dataclasses import replace

import numpy as np
import pytest

from agentsched.core.call import ModelCall
from agentsched.core.forecast import QUANTILES, QuantileForecast, normal_quantiles
from agentsched.core.remainder import RemainderForecast
from agentsched.errors import ConfigError
from agentsched.policy.deadline_aware import DeadlineAware
from agentsched.policy.slopes import running_slopes, slope_step_s, smoothing_s
from agentsched.testing import situation

LENGTHS = QuantileForecast.lognormal(200.0, 0.8)
SLOW, FAST = {"tpot_s": 0.03, "tpot_alone_s": 0.03}, {"tpot_s": 0.01, "tpot_alone_s": 0.01}


def due_in(seconds: float | None, **fields: object) -> ModelCall:
    due_at = None if seconds is None else 100.0 + seconds
    return ModelCall("c", "r", "w", "s", 0, "m", deadline_at=due_at, **fields)


def follows(tokens: float, *, calls: float = 0.0) -> RemainderForecast:
    none = np.zeros(QUANTILES)
    return RemainderForecast(none + tokens, none.copy(), none + calls, none.copy())


BUSY = [
    SLOW | {"in_flight": 3.0, "stake_per_s": 0.05, "stake_mean_per_s": 0.08, "stake_tokens": 150.0, "seen_age_s": 2.0},
    FAST | {"in_flight": 9.0, "stake_per_s": 0.40, "stake_mean_per_s": 0.20, "stake_tokens": 90.0, "seen_age_s": 0.5},
    {"in_flight": 1.0, "prefill_tokens": 4000.0, "error_rate": 0.25, "price_output_usd": 1e-5, "ready_in_s": 0.4},
]


def plainly(seen, policy_noise, *, toll=1.0, cost=0.005, latency=0.15):
    """Decision 6, one endpoint and one future at a time."""
    states, slack = seen.states, seen.slack_s
    width, lengths = smoothing_s(slack), seen.output_tokens.values
    mean = float(lengths.mean())
    uncached = seen.uncached_tokens
    money = [
        states.price_input_usd[i] * seen.call.input_tokens + states.price_output_usd[i] * mean
        for i in range(len(seen.names))
    ]
    scores = []
    for i in range(len(seen.names)):
        d, tt = seen.tpot_s[i], seen.ttft_s[i]
        p = 0.0
        for k, tokens in enumerate(lengths):
            x = (tt + max(0.0, tokens - 1.0) * d) * policy_noise[k] + seen.rest_s[k]
            p += 1.0 / (1.0 + math.exp(min(60.0, (x - slack) / width))) / len(lengths)
        g, ge, r, b = (
            states.stake_per_s[i],
            states.stake_mean_per_s[i],
            states.stake_tokens[i],
            states.tpot_per_batch_s[i],
        )
        fee = uncached[i] / states.prefill_tokens_per_s[i] * max(g, (g + ge) / 2)
        fee += b * (min(mean, r) * g + max(0.0, mean - r) * ge)
        expected = tt + (mean - 1.0) * d
        score = p * (1.0 - states.error_rate[i]) - toll * fee
        score -= cost * money[i] / (sum(money) / len(money)) + latency * min(1.0, expected / slack)
        scores.append(score)
    return scores


def test_the_score_is_the_formula():
    seen = situation(
        *BUSY,
        call=due_in(9.0, input_tokens=2000),
        output_tokens=LENGTHS,
        cached_tokens=[0, 500, 0],
        remainder=follows(80),
    )
    order = (np.arange(QUANTILES) * 19 + 7) % QUANTILES
    noise = np.exp(0.15 * normal_quantiles(QUANTILES)[np.argsort(order)])
    choice = DeadlineAware(correction=False).choose(seen)
    assert choice.scores.tolist() == pytest.approx(plainly(seen, noise), abs=1e-9)
    assert choice.index == int(np.argmax(choice.scores))


def test_the_stake_is_what_a_second_costs():
    """The slope of the smoothed probability at the chosen place, by a call that has so much less time."""
    seen = situation(*BUSY[:1], call=due_in(8.0), output_tokens=LENGTHS)
    stake = DeadlineAware().choose(seen).stake
    assert stake is not None
    step, finish = slope_step_s(8.0), None
    lengths = LENGTHS.values
    noise = np.exp(0.15 * normal_quantiles(QUANTILES)[np.argsort((np.arange(QUANTILES) * 19 + 7) % QUANTILES)])
    finish = (seen.ttft_s[0] + (lengths - 1.0) * seen.tpot_s[0]) * noise
    width = smoothing_s(8.0)
    now, later = (np.mean(1 / (1 + np.exp((finish - slack) / width))) for slack in (8.0, 8.0 - step))
    assert stake.per_s == pytest.approx((now - later) / step)
    rows, likely = np.stack([finish, finish]), np.full((2, QUANTILES), 1.0 / QUANTILES)
    again = running_slopes(rows, likely, np.array([8.0, math.inf]))
    assert again[0] == pytest.approx(stake.per_s, rel=1e-6)
    assert again[1] == pytest.approx(0.0, abs=1e-9)


# -- just fast enough ------------------------------------------------------------------------------------------------


def test_a_call_with_time_leaves_the_fast_endpoint_to_those_who_have_none():
    crowd = FAST | {"in_flight": 9.0, "stake_per_s": 2.0, "stake_mean_per_s": 2.0, "stake_tokens": 200.0}
    for slack_s, expected in ((60.0, 0), (4.0, 1)):
        seen = situation(SLOW, crowd, call=due_in(slack_s), output_tokens=100.0)
        assert DeadlineAware(latency=0.05).choose(seen).index == expected
    assert DeadlineAware(toll=0.0).choose(situation(SLOW, crowd, call=due_in(60.0))).index == 1


def test_what_follows_takes_of_the_time():
    """A hundred tokens would do at the slow one in 4 s of 6, but not if three hundred more follow."""
    options = {"latency": 0.0}
    crowd = FAST | {"stake_per_s": 1.0, "stake_mean_per_s": 1.0, "stake_tokens": 500.0}
    for tokens, expected in ((0.0, 0), (300.0, 1)):
        seen = situation(SLOW, crowd, call=due_in(6.0), remainder=follows(tokens))
        assert DeadlineAware(**options).choose(seen).index == expected
        assert DeadlineAware(remainder=False, **options).choose(seen).index == 0


def test_a_run_that_answers_long_is_expected_to_go_on_so():
    seen = situation(SLOW, FAST, call=due_in(6.0), remainder=follows(100.0))
    long = replace(seen, correction=2.0)
    on, off = DeadlineAware(correction=True), DeadlineAware(correction=False)
    assert on.choose(long).scores.max() < on.choose(seen).scores.max()
    assert off.choose(long).scores.tolist() == off.choose(seen).scores.tolist()


def test_a_branch_need_not_be_faster_than_its_slowest_sibling():
    crowd = FAST | {"stake_per_s": 0.05, "stake_mean_per_s": 0.05, "stake_tokens": 500.0}
    alone = situation(SLOW, crowd, call=due_in(4.2), output_tokens=QuantileForecast.lognormal(90.0, 0.3))
    joined = replace(alone, siblings_s=3.9)
    options = {"latency": 0.0}
    assert DeadlineAware(**options).choose(alone).index == 1
    gap = np.ptp(DeadlineAware(**options).choose(joined).scores)
    assert gap < np.ptp(DeadlineAware(joins=False, **options).choose(joined).scores)


def test_the_cache_counts():
    seen = situation({}, {}, call=due_in(5.0, input_tokens=16000), cached_tokens=[0, 15000])
    assert DeadlineAware().choose(seen).index == 1
    assert np.ptp(DeadlineAware(prefix=False).choose(seen).scores) == pytest.approx(0.0)


def test_the_spread_of_lengths_counts_and_the_mean_alone_does_not_see_it():
    """On average both are in time; the slow one often is not."""
    wide = QuantileForecast.lognormal(100.0, 1.2)
    seen = situation(SLOW, FAST, call=due_in(10.0), output_tokens=wide)
    many, one = DeadlineAware(latency=0.0), DeadlineAware(latency=0.0, samples=1)
    assert np.ptp(many.choose(seen).scores) > 4 * np.ptp(one.choose(seen).scores)
    for samples in (2, 4, 8, 16):
        assert DeadlineAware(samples=samples).choose(seen).index == 1


def test_money_and_time_settle_what_the_deadline_leaves_open():
    dear = {"price_output_usd": 1e-4}
    assert DeadlineAware().choose(situation(dear, {"price_output_usd": 1e-5}, call=due_in(100.0))).index == 1
    assert DeadlineAware().choose(situation(SLOW, FAST, call=due_in(100.0))).index == 1


def test_an_endpoint_that_fails_does_not_read_as_fast():
    seen = situation(FAST | {"error_rate": 0.5}, {}, call=due_in(30.0))
    assert DeadlineAware().choose(seen).index == 1
    only = situation(SLOW | {"tpot_s": 9.0, "tpot_alone_s": 9.0}, {"error_rate": 1.0}, call=due_in(9.0))
    assert DeadlineAware().choose(only).index == 1, "the penalty has a cap"


def test_a_wait_counts_as_time():
    assert DeadlineAware().choose(situation({"ready_in_s": 5.0}, {}, call=due_in(30.0))).index == 1
    assert DeadlineAware().choose(situation({"ready_in_s": math.inf}, SLOW, call=due_in(0.1))).index == 1


def test_those_who_wait_for_a_limit_or_a_slot_have_their_price():
    waited_for = FAST | {"queue_stake_per_s": 1.0, "request_s": 1.0}
    full = FAST | {"queue_stake_per_s": 4.0, "slots": 4.0}
    for contested in (waited_for, full):
        seen = situation({}, contested, call=due_in(60.0))
        assert DeadlineAware().choose(seen).index == 0
        assert DeadlineAware(queue_toll=0.0).choose(seen).index == 1


# -- without hope, without a deadline, with priority -----------------------------------------------------------------


def test_a_late_call_takes_what_nobody_needs_but_does_not_starve():
    crowd = FAST | {"in_flight": 9.0, "stake_per_s": 1.0, "stake_mean_per_s": 1.0, "stake_tokens": 200.0}
    late = due_in(-5.0)
    assert DeadlineAware().choose(situation(SLOW, crowd, call=late)).index == 0
    assert DeadlineAware().choose(situation(SLOW, FAST, call=late)).index == 1
    stake = DeadlineAware().choose(situation(SLOW, FAST, call=late)).stake
    assert stake is not None
    assert stake.per_s < 1e-3


def test_without_a_deadline_the_time_of_all_counts():
    crowded = {"in_flight": 30.0, "tpot_s": 0.018, "tpot_alone_s": 0.018}
    assert DeadlineAware().choose(situation(crowded, {}, call=due_in(None))).index == 1
    assert DeadlineAware().choose(situation(FAST, {}, call=due_in(None))).index == 0
    stake = DeadlineAware().choose(situation(FAST, {}, call=due_in(None))).stake
    assert stake is not None
    assert stake.due_at is None
    assert stake.per_s > 0.0


def test_a_priority_doubles_what_a_run_is_worth():
    crowd = FAST | {"stake_per_s": 8.0, "stake_mean_per_s": 8.0, "stake_tokens": 500.0}
    spread = QuantileForecast.lognormal(100.0, 0.5)
    stakes = []
    for priority, expected in ((-2, 0), (4, 1)):
        choice = DeadlineAware(latency=0.0).choose(
            situation(SLOW, crowd, call=due_in(4.5, priority=priority), output_tokens=spread)
        )
        assert choice.index == expected
        stakes.append(choice.stake.weight)
    assert stakes == [0.25, 16.0]


def test_haste_takes_the_faster_endpoint_where_the_deadline_leaves_it_open():
    """Someone is delayed at the fast endpoint by no more than the call gains there."""
    crowd = FAST | {"stake_per_s": 0.5, "stake_mean_per_s": 0.5, "stake_tokens": 500.0, "in_flight": 1.0}
    crowd["in_flight_all"] = 1.0
    seen = situation(SLOW, crowd, call=due_in(200.0), output_tokens=LENGTHS)
    assert DeadlineAware().choose(seen).index == 0
    assert DeadlineAware(haste=1.0).choose(seen).index == 1
    packed = situation(SLOW, crowd | {"in_flight": 80.0, "in_flight_all": 80.0}, call=seen.call, output_tokens=LENGTHS)
    assert DeadlineAware(haste=1.0).choose(packed).index == 0, "the seconds of others count as well"


def test_haste_counts_for_late_calls_too():
    crowd = FAST | {"stake_per_s": 0.5, "stake_mean_per_s": 0.5, "stake_tokens": 500.0}
    seen = situation(SLOW, crowd, call=due_in(0.1), output_tokens=LENGTHS)
    assert DeadlineAware().choose(seen).index == 0
    assert DeadlineAware(haste=1.0).choose(seen).index == 1


def test_a_run_may_be_worth_the_time_that_it_still_takes():
    short, long = (situation(FAST, call=due_in(300.0), output_tokens=LENGTHS.scale(factor)) for factor in (0.5, 20.0))
    for seen, more in ((short, False), (long, True)):
        plain, weighted = (DeadlineAware(by_length=power).choose(seen).stake for power in (0.0, 0.5))
        assert plain is not None
        assert weighted is not None
        assert plain.weight == 1.0
        assert (weighted.weight > 1.0) is more
    left_s = short.ttft_s.item(0) + short.tpot_s.item(0) * (short.output_tokens.mean - 1.0)
    assert DeadlineAware(by_length=1.0).choose(short).stake.weight == pytest.approx(left_s / 10.0)


def test_a_soft_deadline_guides():
    soft = ModelCall("c", "r", "w", "s", 0, "m", due_at=105.0)
    hard = ModelCall("c", "r", "w", "s", 0, "m", deadline_at=105.0)
    scores = [DeadlineAware().choose(situation(SLOW, FAST, call=call)).scores.tolist() for call in (soft, hard)]
    assert scores[0] == scores[1]


# -- large pools, and options ----------------------------------------------------------------------------------------


def test_of_a_large_pool_a_shortlist_is_looked_at_and_the_choice_is_the_same():
    rng = np.random.default_rng(5)
    worse = 0.0
    for _ in range(20):
        rows = [
            {
                "in_flight": float(rng.integers(0, 40)),
                "tpot_s": float(pace),
                "tpot_alone_s": float(pace),
                "stake_per_s": float(rng.uniform(0, 0.6)),
                "stake_mean_per_s": float(rng.uniform(0, 0.6)),
                "stake_tokens": 200.0,
            }
            for pace in rng.uniform(0.005, 0.05, 300)
        ]
        seen = situation(*rows, call=due_in(float(rng.uniform(1, 20))), output_tokens=LENGTHS)
        choice = DeadlineAware().choose(seen)
        assert choice.scores.shape == (300,)
        assert np.isfinite(choice.scores).sum() == 32
        half = [
            DeadlineAware().choose(situation(*part, call=seen.call, output_tokens=LENGTHS))
            for part in np.array_split(rows, 6)
        ]
        worse = max(worse, max(one.scores.max() for one in half) - choice.scores.max())
    assert worse < 1e-3


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("toll", -1),
        ("samples", 3),
        ("samples", True),
        ("remainder", 1),
        ("pessimism", "much"),
        ("unhurried_s", 0),
        ("haste", -1),
        ("by_length", 3),
    ],
)
def test_a_bad_option_is_refused_when_it_is_set(option, value):
    with pytest.raises(ConfigError) as error:
        DeadlineAware(**{option: value})
    assert error.value.field == f"policy.{option}"
