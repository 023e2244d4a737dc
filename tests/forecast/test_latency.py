"""The formulas of decision 6, against a plain reading of them, one endpoint at a time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.core.decision import EndpointStates
from agentsched.core.forecast import QUANTILES, QuantileForecast
from agentsched.forecast.latency import completion_samples, lognormal_factors, tpot_if_joined, ttft_if_joined

FIELDS = {
    "in_flight": st.integers(0, 50).map(float),
    "prefill_tokens": st.floats(0, 50_000),
    "tpot_s": st.floats(0.001, 0.5),
    "tpot_in_flight": st.floats(1, 50),
    "seen_age_s": st.floats(0, 100) | st.just(math.inf),
    "excess_ttft_s": st.floats(0, 10),
    "tpot_alone_s": st.floats(0.001, 0.2),
    "tpot_per_batch_s": st.floats(0, 0.01),
    "prefill_tokens_per_s": st.floats(100, 50_000),
    "ttft_idle_s": st.floats(0, 5),
    "ready_in_s": st.floats(0, 60) | st.just(math.inf),
    "price_input_usd": st.just(0.0),
    "price_output_usd": st.just(0.0),
    "quality": st.just(1.0),
    "error_rate": st.floats(0, 1),
    "stake_per_s": st.floats(0, 10),
    "stake_mean_per_s": st.floats(0, 10),
    "stake_tokens": st.floats(0, 1000),
    "queue_stake_per_s": st.floats(0, 10),
    "slots": st.just(math.inf),
    "request_s": st.just(0.0),
    "token_s": st.just(0.0),
    "in_flight_all": st.floats(0, 200),
    "prefill_tokens_all": st.floats(0, 100_000),
}
ONE = st.fixed_dictionaries(FIELDS)


def states(*endpoints) -> EndpointStates:
    return EndpointStates(**{name: np.array([e[name] for e in endpoints]) for name in FIELDS})


@given(st.lists(ONE, min_size=1, max_size=5))
def test_time_per_output_token(endpoints):
    made = tpot_if_joined(states(*endpoints))
    for e, tpot in zip(endpoints, made, strict=True):
        a, b, n = e["tpot_alone_s"], e["tpot_per_batch_s"], e["in_flight_all"]
        w = math.exp(-e["seen_age_s"] / 8.0)
        seen = max(0.8 * a, e["tpot_s"] + b * (n + 1 - e["tpot_in_flight"]))
        assert tpot == pytest.approx(w * seen + (1 - w) * (a + b * (n + 1)))
        assert tpot > 0


@given(st.lists(st.tuples(ONE, st.floats(0, 30_000)), min_size=1, max_size=5))
def test_time_to_first_token(pairs):
    endpoints, uncached = zip(*pairs, strict=True)
    made = ttft_if_joined(states(*endpoints), np.array(uncached))
    for e, tokens, ttft in zip(endpoints, uncached, made, strict=True):
        speed = e["prefill_tokens_per_s"]
        queue = max(e["prefill_tokens_all"] / speed, e["excess_ttft_s"])
        assert ttft == pytest.approx(e["ready_in_s"] + e["ttft_idle_s"] + queue + tokens / speed)


def test_more_calls_are_slower_and_the_unseen_is_its_profile():
    base = {name: 1.0 for name in FIELDS} | {"tpot_alone_s": 0.02, "tpot_per_batch_s": 0.001, "seen_age_s": math.inf}
    made = tpot_if_joined(states(*(base | {"in_flight": float(n), "in_flight_all": float(n)} for n in range(4))))
    assert made.tolist() == pytest.approx([0.021, 0.022, 0.023, 0.024])


@given(st.floats(0.0, 10.0), st.floats(0.0005, 0.5), st.floats(1.0, 2000.0), st.floats(0.0, 1.5))
def test_completion_is_first_token_and_the_rest(ttft_s, tpot_s, median, sigma):
    lengths = QuantileForecast.lognormal(median, sigma)
    samples = completion_samples(ttft_s, tpot_s, lengths.values)
    exact = ttft_s + float(np.maximum(0.0, lengths.values - 1.0).mean()) * tpot_s
    assert samples.shape == (QUANTILES,)
    assert samples.min() >= 0
    assert samples.mean() == pytest.approx(exact, rel=0.12)


def test_the_noise_is_independent_of_the_length():
    """A comonotone sum would have the longest answers also be the latest."""
    lengths = np.linspace(1.0, 1000.0, QUANTILES)
    factors = completion_samples(1.0, 0.0, lengths)
    assert abs(np.corrcoef(lengths, factors)[0, 1]) < 0.15
    assert factors.std() == pytest.approx(0.15, rel=0.1)


def test_scatter_is_independent_of_length_and_noise():
    lengths, factors = np.arange(QUANTILES), np.log(lognormal_factors(1.0))
    noise = completion_samples(1.0, 0.0, lengths)
    assert factors.std() == pytest.approx(1.0, rel=0.1)
    for other in (lengths, noise):
        assert abs(np.corrcoef(other, factors)[0, 1]) < 0.15
    assert lognormal_factors(0.0).tolist() == [1.0] * QUANTILES
