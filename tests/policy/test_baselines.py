"""The rules of others, each on situations whose answer is plain."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from agentsched.core.call import Observation
from agentsched.core.decision import Decision, Situation
from agentsched.core.forecast import QuantileForecast
from agentsched.errors import ConfigError
from agentsched.policy.chance import fractions
from agentsched.policy.drawn import PowerOfTwo, Random
from agentsched.policy.fused import Fused
from agentsched.policy.just_enough import JustEnough
from agentsched.policy.least_outstanding import LeastOutstanding
from agentsched.policy.litellm import LiteLLMLatency, LiteLLMShuffle
from agentsched.policy.peak_ewma import PeakEwma
from agentsched.policy.prefix_affinity import PrefixAffinity
from agentsched.policy.round_robin import RoundRobin
from agentsched.policy.table import make_policy
from agentsched.policy.tail_aware import TailAware

FAST, SLOW = {"tpot_s": 0.01, "tpot_alone_s": 0.01}, {"tpot_s": 0.04, "tpot_alone_s": 0.04}
NEVER, LATER = {"ready_in_s": np.inf}, {"ready_in_s": 5.0}


def of_call(situation: Situation, call_id: str = "c", **fields) -> Situation:
    """The same situation with another call."""
    return replace(situation, call=replace(situation.call, call_id=call_id, **fields))


def counts(policy, situation: Situation, calls: int = 4000) -> list[int]:
    """How many of many calls each endpoint would be sent."""
    chosen = Counter(policy.choose(of_call(situation, f"r{k}.0")).index for k in range(calls))
    return [chosen[k] for k in range(len(situation.names))]


def answered(endpoint: str, *, at: float, took: float, tokens: int = 100, **fields) -> Observation:
    """An attempt that ended at ``at``."""
    told = {"ttft_s": None, "status": "ok", "input_tokens": 10, "cached_input_tokens": None, "max_tokens": None}
    return Observation(
        attempt_id="a",
        call_id="c",
        run_id="r",
        workflow="w",
        step="s",
        endpoint=endpoint,
        model="m",
        started_at=at - took,
        e2e_s=took,
        output_tokens=tokens,
        **(told | fields),
    )


def sent(endpoint: str) -> Decision:
    """An attempt that begins."""
    return Decision(
        call_id="c",
        run_id="r",
        attempt_id="a",
        step="s",
        at=1.0,
        endpoint=endpoint,
        why="first",
        policy="p",
        slack_s=None,
        p_meet=None,
        ttft_s=0.1,
        e2e_s=1.0,
        e2e_p95_s=2.0,
        output_tokens=10.0,
        score=0.0,
        waited_s=0.0,
        rivals=(),
    )


# -- chance ----------------------------------------------------------------------------------------------------------


def test_fractions_follow_from_key_and_seed_alone():
    np.testing.assert_array_equal(fractions("call", 5), fractions("call", 5))
    np.testing.assert_array_equal(fractions("call", 9)[:5], fractions("call", 5))
    assert (fractions("call", 5) != fractions("call", 5, seed=1)).all()
    assert (fractions("call", 5) != fractions("call2", 5)).all()
    assert fractions("call", 3).tolist() == [0.20248512698139154, 0.36997902149773243, 0.06599234307773194], "for ever"


def test_fractions_are_uniform_and_independent():
    drawn = np.array([fractions(f"r{k}.0", 8) for k in range(4000)])
    assert ((drawn >= 0.0) & (drawn < 1.0)).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(drawn.var(axis=0), 1 / 12, atol=0.004)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(8)).max() < 0.06


# -- lots and turns --------------------------------------------------------------------------------------------------


def test_random_gives_each_ready_one_the_same_share(situation):
    there = situation({"in_flight": 50.0}, {}, NEVER, LATER, {})
    shares = counts(Random(), there)
    assert shares[2:4] == [0, 0]
    assert all(abs(share - 4000 / 3) < 130 for share in (shares[0], shares[1], shares[4])), shares
    assert counts(Random(seed=1), there, 20) != counts(Random(), there, 20)


def test_the_one_that_is_ready_soonest_is_better_than_none(situation):
    for name in ("random", "round_robin", "power_of_two", "least_outstanding", "peak_ewma", "prefix_affinity"):
        assert make_policy(name).choose(situation(LATER, {"ready_in_s": 1.0}, NEVER)).index == 1, name


def test_power_of_two_takes_the_emptier_of_two(situation):
    shares = counts(PowerOfTwo(), situation({"in_flight": 9.0}, {"in_flight": 5.0}, {"in_flight": 1.0}))
    assert shares[0] == 0, "it is in no pair the emptier"
    assert abs(shares[1] - 4000 / 3) < 130, "it wins one of three pairs"
    assert counts(PowerOfTwo(), situation({"in_flight": 9.0}), 5) == [5]
    equal = counts(PowerOfTwo(), situation({}, {}))
    assert abs(equal[0] - 2000) < 160, "an equal count is decided by lot"


def test_round_robin_goes_round(situation):
    policy, there = RoundRobin(), situation({}, {}, {})
    turns = []
    for _ in range(7):
        choice = policy.choose(there)
        assert policy.choose(there).index == choice.index, "asking is no turn"
        policy.remember(sent(there.names[choice.index]))
        turns.append(choice.index)
    assert turns == [0, 1, 2, 0, 1, 2, 0]
    policy.remember(answered("e1", at=1.0, took=1.0))
    assert policy.choose(there).index == 1, "an end is no turn"


def test_who_was_away_has_no_turns_to_catch_up(situation):
    policy, away, back = RoundRobin(), situation({}, {}, NEVER), situation({}, {}, {})
    for there in (away, away, away, back, back, back):
        policy.remember(sent(f"e{policy.choose(there).index}"))
    assert policy.choose(back).index == 2, "it came back to be third: e2, e1, e0, and e2 again"


def test_least_outstanding_counts_calls(situation):
    assert counts(LeastOutstanding(), situation({"in_flight": 3.0}, {"in_flight": 2.0} | SLOW, {}), 9) == [0, 0, 9]
    equal = counts(LeastOutstanding(), situation({}, SLOW))
    assert abs(equal[0] - 2000) < 160, "an equal count is decided by lot"


# -- measured latencies ----------------------------------------------------------------------------------------------


def test_peak_ewma_believes_bad_news_at_once_and_good_news_slowly(situation):
    policy, there = PeakEwma(decay_s=10.0, sampled=False), situation({}, {})
    policy.remember(answered("e0", at=90.0, took=1.0))
    policy.remember(answered("e1", at=90.0, took=2.0))
    assert policy.choose(there).index == 0
    policy.remember(answered("e0", at=100.0, took=5.0))
    np.testing.assert_allclose(policy.choose(there).scores, [-5.0, -2.0 * np.exp(-1.0)], rtol=1e-12)
    policy.remember(answered("e0", at=100.0, took=1.0))
    assert policy.choose(there).scores[0] == pytest.approx(-5.0), "no time has passed, so it has no weight"
    policy.remember(answered("e1", at=100.0, took=0.5))
    expected = 2.0 * np.exp(-1.0) + 0.5 * (1.0 - np.exp(-1.0))
    assert policy.choose(there).scores[1] == pytest.approx(-expected)


def test_peak_ewma_multiplies_by_the_calls_in_flight(situation):
    policy = PeakEwma(sampled=False)
    for name in ("e0", "e1"):
        policy.remember(answered(name, at=100.0, took=1.0))
    assert policy.choose(situation({"in_flight": 2.0}, {"in_flight": 1.0})).scores.tolist() == [-3.0, -2.0]


def test_peak_ewma_tries_the_unknown_once_and_forgets_what_is_old(situation):
    policy = PeakEwma(decay_s=10.0, sampled=False)
    policy.remember(answered("e0", at=100.0, took=0.1))
    assert policy.choose(situation({}, {})).index == 1, "never tried"
    assert policy.choose(situation({}, {"in_flight": 1.0})).index == 0, "being tried"
    policy.remember(answered("e1", at=0.0, took=50.0))
    assert policy.choose(situation({}, {})).index == 1, "its bad hour was ten time constants ago"


def test_peak_ewma_counts_silence_but_no_refusal(situation):
    policy, there = PeakEwma(sampled=False), situation({"in_flight": 1.0}, {"in_flight": 1.0})
    policy.remember(answered("e0", at=100.0, took=0.001, status="server"))
    policy.remember(answered("e1", at=100.0, took=30.0, status="silent"))
    assert policy.choose(there).index == 1, "30 s beat nothing known"


def test_peak_ewma_draws_two(situation):
    policy = PeakEwma()
    for name, took in (("e0", 1.0), ("e1", 2.0), ("e2", 3.0)):
        policy.remember(answered(name, at=100.0, took=took))
    shares = counts(policy, situation({}, {}, {}))
    assert shares[2] == 0
    assert abs(shares[1] - 4000 / 3) < 130


def test_litellm_takes_the_lowest_mean_of_ten_per_token(situation):
    policy, there = LiteLLMLatency(), situation({"in_flight": 60.0}, {})
    for k in range(12):
        policy.remember(answered("e0", at=99.0, took=9.0 if k < 2 else 1.0, tokens=100))
        policy.remember(answered("e1", at=99.0, took=1.0, tokens=50))
    choice = policy.choose(there)
    assert choice.index == 0, "the first two are forgotten, and the crowd is not seen"
    assert choice.scores[1] == pytest.approx(-1.02)


def test_litellm_compares_streams_by_their_first_token(situation):
    policy, there = LiteLLMLatency(), situation({}, {})
    policy.remember(answered("e0", at=99.0, took=1.0, ttft_s=0.5, stream=True))
    policy.remember(answered("e1", at=99.0, took=9.0, ttft_s=0.2, stream=True))
    assert policy.choose(there).index == 0
    assert policy.choose(of_call(there, stream=True)).index == 1


def test_litellm_draws_among_those_within_the_buffer(situation):
    policy = LiteLLMLatency(buffer=0.5)
    for name, took in (("e0", 1.0), ("e1", 1.4), ("e2", 1.6)):
        policy.remember(answered(name, at=99.0, took=took))
    shares = counts(policy, situation({}, {}, {}))
    assert abs(shares[0] - 2000) < 160
    assert shares[2] == 0


def test_litellm_tries_the_new_first_and_punishes_timeouts(situation):
    policy = LiteLLMLatency()
    policy.remember(answered("e0", at=99.0, took=1.0))
    assert policy.choose(situation({}, {})).index == 1
    policy.remember(answered("e1", at=99.0, took=0.1, status="silent"))
    assert policy.choose(situation({}, {})).index == 0
    policy.remember(answered("e1", at=99.0, took=0.1, status="limited"))
    later = replace(situation({}, {}), now=99.0 + 3601.0)
    assert policy.choose(later).scores.max() >= 0.0, "after an hour everybody is new again"


@pytest.mark.parametrize(
    ("weights", "endpoints", "expected"),
    [
        ("e0=3 e1=1", ({}, {}), (0.75, 0.25)),
        ("e0=3 e1=1", (NEVER, {}, {}), (0.0, 1.0, 0.0)),
        ("e0=3", (NEVER, {}, {}), (0.0, 0.5, 0.5)),
        ("", ({}, {}), (0.5, 0.5)),
        ("", ({"request_s": 0.1}, {"request_s": 0.3}), (0.75, 0.25)),
        ("", ({"request_s": 0.1, "token_s": 9.0}, {}), (1.0, 0.0)),
        ("", ({"token_s": 0.001}, {"token_s": 0.001}, {}), (0.5, 0.5, 0.0)),
        ("e1=1", ({"request_s": 0.1}, {}), (0.0, 1.0)),
    ],
)
def test_litellm_shuffles_by_weight_else_requests_else_tokens(situation, weights, endpoints, expected):
    shares = np.array(counts(LiteLLMShuffle(weights), situation(*endpoints))) / 4000
    np.testing.assert_allclose(shares, expected, atol=0.03)
    assert ((shares > 0) == (np.array(expected) > 0)).all()


# -- prefix affinity -------------------------------------------------------------------------------------------------


def test_a_cached_prompt_is_followed_unless_it_is_too_crowded_there(situation):
    held = {"input_tokens": 1000, "cached": [0, 900, 0]}
    assert PrefixAffinity().choose(situation({}, {}, {}, **held)).index == 1
    assert PrefixAffinity(bound=2.0).choose(situation({}, {"in_flight": 1.0}, {}, **held)).index == 1
    assert PrefixAffinity(bound=1.25).choose(situation({}, {"in_flight": 8.0}, {}, **held)).index != 1
    assert PrefixAffinity().choose(situation({}, {} | NEVER, {}, **held)).index != 1


def test_a_prefix_has_one_home_and_prompts_without_one_have_any(situation):
    there = situation({}, {}, {}, {}, input_tokens=100, cached=[0, 40, 0, 0])
    policy = PrefixAffinity()
    for prefix in (1, 2, 3):
        homes = {policy.choose(of_call(there, f"r{k}.0", prefix=prefix)).index for k in range(20)}
        assert len(homes) == 1, "40 % of a prompt are not worth following, by default"
    assert len({policy.choose(of_call(there, prefix=prefix)).index for prefix in range(1, 40)}) == 4
    assert min(counts(policy, there, 400)) > 60


# -- GoodServe -------------------------------------------------------------------------------------------------------


def due(situation: Situation, slack_s: float | None, **fields) -> Situation:
    return replace(of_call(situation, due_at=None if slack_s is None else situation.now + slack_s), **fields)


def test_just_enough_is_the_slowest_that_makes_it(situation):
    there = situation(FAST, {}, SLOW, tokens=101)  # 1.3, 2.3, 4.3 s
    for slack_s, expected in ((10.0, 2), (4.0, 1), (2.0, 0), (1.0, 0), (-5.0, 0), (None, 0)):
        assert JustEnough().choose(due(there, slack_s)).index == expected, slack_s
    assert JustEnough(margin=2.0).choose(due(there, 4.0)).index == 0
    assert JustEnough().choose(due(there, 10.0, rest_s=np.full(32, 6.0))).index == 1


def test_just_enough_wants_a_free_place(situation):
    assert JustEnough().choose(due(situation(FAST, SLOW | LATER, tokens=11), 100.0)).index == 0


def test_just_enough_as_published_does_not_see_what_it_adds(situation):
    crowded = SLOW | {"in_flight": 40.0, "tpot_per_batch_s": 0.001, "prefill_tokens": 40_000.0}
    there = due(situation(FAST, crowded, tokens=101), 5.0)
    assert JustEnough().choose(there).index == 1
    assert JustEnough(load_aware=True).choose(there).index == 0


# -- RouteBalance ----------------------------------------------------------------------------------------------------

DEAR = {"quality": 1.0, "price_output_usd": 4e-6, **SLOW}
CHEAP = {"quality": 0.5, "price_output_usd": 1e-6, **FAST}


def test_the_fused_score_is_the_formula(situation):
    there = situation(DEAR, CHEAP | {"in_flight": 2.0}, tokens=100)
    times = there.ttft_s + 99 * there.tpot_s
    expected = [
        0.4 * 1.0 + 0.3 * (1 - 1.0) + 0.2 * (1 - 1.0) + 0.1 * (1 - 0.0),
        0.4 * 0.5 + 0.3 * (1 - 0.25) + 0.2 * (1 - times[1] / times[0]) + 0.1 * (1 - 1.0),
    ]
    scores = Fused(quality=0.4, cost=0.3, latency=0.2, load=0.1).choose(there).scores
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("preset", "expected"), [("quality_heavy", 0), ("latency_heavy", 1), ("cost_heavy", 1), ("balanced", 1)]
)
def test_weights_decide_between_good_and_cheap(situation, preset, expected):
    assert Fused(preset).choose(situation(DEAR, CHEAP)).index == expected


def test_a_single_weight_replaces_the_preset_s(situation):
    there = situation(DEAR, CHEAP)
    assert Fused("latency_heavy", latency=0.0, cost=0.0).choose(there).index == 0


def test_fused_never_takes_who_will_never_be_ready(situation):
    assert Fused("quality_heavy").choose(situation(DEAR | NEVER, CHEAP)).index == 1
    assert Fused(latency=0.0).choose(situation({} | NEVER, SLOW)).index == 1


# -- SwarmX ----------------------------------------------------------------------------------------------------------


def test_the_comonotone_tail_is_the_sum_of_quantiles(situation):
    there = replace(situation({}, tokens=1), output_tokens=QuantileForecast.lognormal(100.0, 0.5))
    policy = TailAware(percentile=0.9, queue_spread=0.5)
    queue = QuantileForecast.lognormal(there.ttft_s.item(), 0.5).quantile(0.9)
    service = (there.output_tokens.quantile(0.9) - 1.0) * there.tpot_s.item()
    assert policy.choose(there).scores[0] == pytest.approx(-(queue + service), rel=2e-3)


def test_the_independent_tail_is_shorter(situation):
    there = replace(situation({"ttft_idle_s": 2.0}, tokens=1), output_tokens=QuantileForecast.lognormal(100.0, 0.5))
    together = -TailAware(percentile=0.95).choose(there).scores.item()
    apart = -TailAware(percentile=0.95, independent=True).choose(there).scores.item()
    rng = np.random.default_rng(3)
    true = np.quantile(
        there.ttft_s.item() * np.exp(0.5 * rng.normal(size=200_000))
        + (100.0 * np.exp(0.5 * rng.normal(size=200_000)) - 1.0) * there.tpot_s.item(),
        0.95,
    )
    assert apart == pytest.approx(true, rel=0.05)
    assert together > 1.08 * true


def test_the_percentile_tells_a_steady_pace_from_a_quick_start(situation):
    steady, quick = {"ttft_idle_s": 1.2, "tpot_alone_s": 0.01}, {"ttft_idle_s": 0.1, "tpot_alone_s": 0.02}
    there = replace(situation(steady, quick), output_tokens=QuantileForecast.lognormal(60.0, 1.0))
    assert TailAware(percentile=0.5, queue_spread=0.1).choose(there).index == 1
    assert TailAware(percentile=0.95, queue_spread=0.1).choose(there).index == 0


# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("random", {"seed": -1}),
        ("power_of_two", {"seed": 1.5}),
        ("peak_ewma", {"decay_s": 0}),
        ("peak_ewma", {"sampled": 1}),
        ("litellm_latency", {"buffer": -0.1}),
        ("litellm_shuffle", {"weights": 3}),
        ("litellm_shuffle", {"weights": "a"}),
        ("litellm_shuffle", {"weights": "a=b"}),
        ("litellm_shuffle", {"weights": "a=-1"}),
        ("prefix_affinity", {"bound": 0.5}),
        ("prefix_affinity", {"share": 2}),
        ("just_enough", {"margin": 0.0}),
        ("just_enough", {"load_aware": "yes"}),
        ("fused", {"preset": "fast"}),
        ("fused", {"quality": -1}),
        ("fused", {"cost": True}),
        ("fused", {"latency": float("nan")}),
        ("tail_aware", {"percentile": 1.0}),
        ("tail_aware", {"independent": 0}),
        ("tail_aware", {"queue_spread": float("inf")}),
    ],
)
def test_a_bad_option_is_refused_when_it_is_set(name, options):
    with pytest.raises(ConfigError) as error:
        make_policy(name, options)
    assert error.value.field == f"policy.{next(iter(options))}"
