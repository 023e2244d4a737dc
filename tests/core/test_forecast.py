"""The algebra of distributions, against sampling."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsched.core.forecast import LEVELS, QUANTILES, QuantileForecast, normal_quantiles
from agentsched.errors import ConfigError

POSITIVE = st.floats(0.01, 1000.0)
SIGMA = st.floats(0.05, 1.2)
BATCH = 40_000


@st.composite
def forecasts(draw):
    """Smooth, lumpy or certain."""
    kind = draw(st.integers(0, 2))
    if kind == 0:
        return QuantileForecast.lognormal(draw(POSITIVE), draw(SIGMA))
    if kind == 1:
        return QuantileForecast.constant(draw(POSITIVE))
    return QuantileForecast.from_samples(draw(st.lists(POSITIVE, min_size=1, max_size=60)))


def drawn(forecast: QuantileForecast, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(forecast.values, BATCH)


def assert_like(forecast: QuantileForecast, samples: np.ndarray) -> None:
    """Every third quantile lies where the samples' does, give or take two in a hundred of rank."""
    scale = 1e-6 + 0.01 * (samples.max() - samples.min())
    for k in range(1, QUANTILES - 1, 3):
        low, high = np.quantile(samples, [max(0.0, LEVELS[k] - 0.02), min(1.0, LEVELS[k] + 0.02)])
        assert low - scale <= forecast.values[k] <= high + scale


@settings(max_examples=40, derandomize=True)
@given(forecasts(), forecasts(), st.integers(0, 10**6))
def test_sums_are_those_of_independent_quantities(one, other, seed):
    rng = np.random.default_rng(seed)
    total = one.plus(other)
    assert_like(total, drawn(one, rng) + drawn(other, rng))
    assert total.mean == pytest.approx(one.mean + other.mean, rel=0.05)


def test_a_sum_is_not_the_comonotone_one():
    """Its tail is lighter than the sum of the tails, as that of independent quantities is."""
    one = QuantileForecast.lognormal(1.0, 1.0)
    total = one.plus(one).plus(one).plus(one)
    comonotone = 4 * one.quantile(0.95)
    sample = np.random.default_rng(1).lognormal(0.0, 1.0, (BATCH, 4)).sum(axis=1)
    assert total.quantile(0.95) < 0.75 * comonotone
    # 32 quantiles end at the 98th percentile: what lies beyond is missing from the tail of the sum.
    assert total.quantile(0.95) == pytest.approx(float(np.quantile(sample, 0.95)), rel=0.1)


@settings(max_examples=40, derandomize=True)
@given(forecasts(), forecasts(), st.integers(0, 10**6))
def test_the_slower_of_two(one, other, seed):
    rng = np.random.default_rng(seed)
    assert_like(one.slower_of(other), np.maximum(drawn(one, rng), drawn(other, rng)))


@settings(max_examples=40, derandomize=True)
@given(forecasts(), forecasts(), st.floats(0.0, 1.0), st.integers(0, 10**6))
def test_a_mixture_draws_from_one_or_the_other(one, other, weight, seed):
    rng = np.random.default_rng(seed)
    made = one.mixed(other, weight)
    pooled = np.concatenate((one.values, other.values))
    mass = np.repeat([(1 - weight) / QUANTILES, weight / QUANTILES], QUANTILES)
    samples = rng.choice(pooled, BATCH, p=mass / mass.sum())
    for p in (0.1, 0.3, 0.5, 0.7, 0.9):
        low, high = np.quantile(samples, [max(0, p - 0.05), min(1, p + 0.05)])
        assert low - 1e-6 - 0.02 * abs(low) <= made.quantile(p) <= high + 1e-6 + 0.02 * abs(high)


@given(forecasts(), forecasts())
def test_a_mixture_with_nothing_is_the_one(one, other):
    np.testing.assert_allclose(one.mixed(other, 0.0).values, one.values, rtol=1e-9)
    np.testing.assert_allclose(one.mixed(other, 1.0).values, other.values, rtol=1e-9)


@settings(max_examples=40, derandomize=True)
@given(POSITIVE, SIGMA, st.floats(0.05, 0.8))
def test_what_is_known_to_exceed_something(median, sigma, p):
    whole = QuantileForecast.lognormal(median, sigma)
    seen = whole.quantile(p)
    rest = whole.above(seen)
    sample = median * np.exp(sigma * np.random.default_rng(0).standard_normal(BATCH))
    sample = sample[sample > seen]
    assert rest.values.min() > seen
    assert rest.quantile(0.5) == pytest.approx(float(np.median(sample)), rel=0.1)


@given(forecasts(), st.floats(0.0, 1e4))
def test_what_exceeds_something_does(whole, seen):
    rest = whole.above(seen)
    assert (rest.values > seen).all()
    assert (np.diff(rest.values) >= 0).all()


def test_beyond_everything_known_the_tail_goes_on_in_proportion():
    rest = QuantileForecast.constant(100.0).above(500.0)
    assert 500.0 < rest.quantile(0.5) == pytest.approx(550.0, rel=0.01)
    assert QuantileForecast.constant(5.0).above(4.0).mean == 5.0


@given(forecasts(), st.floats(-5.0, 5.0), st.floats(0.0, 10.0))
def test_shifts_and_scales(forecast, offset, factor):
    np.testing.assert_allclose(forecast.shift(offset).values, forecast.values + offset)
    np.testing.assert_allclose(forecast.scale(factor).values, forecast.values * factor)


@given(forecasts(), forecasts(), st.floats(0.0, 1.0), st.floats(0.0, 2000.0))
def test_quantiles_always_ascend(one, other, weight, seen):
    for made in (one.plus(other), one.slower_of(other), one.mixed(other, weight), one.above(seen)):
        assert made.values.shape == (QUANTILES,)
        assert (np.diff(made.values) >= -1e-12 * made.values.max()).all()


@given(forecasts(), st.floats(0.0, 1.0))
def test_quantile_and_cdf_agree(forecast, p):
    assert forecast.cdf(forecast.quantile(p) * (1 + 1e-9)) >= p - 1.5 / QUANTILES
    assert forecast.cdf(forecast.quantile(p) * (1 - 1e-9)) <= p + 1.5 / QUANTILES
    assert forecast.cdf(forecast.values[-1]) == 1.0
    assert forecast.cdf(forecast.values[0] - 1e-9) == 0.0


@given(forecasts(), st.floats(0.0, 1.0))
def test_a_quantile_is_that_of_linear_interpolation(forecast, p):
    assert forecast.quantile(p) == pytest.approx(float(np.interp(p, LEVELS, forecast.values)), rel=1e-12, abs=1e-12)


def test_a_lognormal():
    forecast = QuantileForecast.lognormal(150.0, 1.0)
    assert forecast.quantile(0.5) == pytest.approx(150.0, rel=0.01)
    assert forecast.quantile(0.95) == pytest.approx(150.0 * math.exp(1.645), rel=0.03)


def test_normal_quantiles_are_those_of_the_normal():
    exact = [NormalDist().inv_cdf((k + 0.5) / 500) for k in range(500)]
    np.testing.assert_allclose(normal_quantiles(500), exact, rtol=2e-9, atol=1e-9)


def test_one_sample_is_certainty():
    assert QuantileForecast.from_samples([7.0]).values.tolist() == [7.0] * QUANTILES


@pytest.mark.parametrize("shape", [(31,), (33,), (32, 1), ()])
def test_a_wrong_shape_is_refused(shape):
    with pytest.raises(ConfigError, match=r"forecast.values: wrong shape .*allowed: \(32,\)"):
        QuantileForecast(np.zeros(shape))


def test_it_cannot_be_changed():
    forecast = QuantileForecast.constant(1.0)
    with pytest.raises(ValueError, match="read-only"):
        forecast.values[0] = 5.0
    with pytest.raises(AttributeError):
        forecast.values = np.zeros(QUANTILES)


def test_the_representation_tells_the_distribution():
    assert repr(QuantileForecast.constant(2.0)) == "QuantileForecast(p5=2, p50=2, p95=2)"
