"""A forecast is a distribution, kept as equally likely quantiles."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agentsched.errors import ConfigError

__all__ = ["QUANTILES", "QuantileForecast", "normal_quantiles"]

QUANTILES = 32
"""How many quantiles a forecast holds; the k-th stands at probability (k + .5) / QUANTILES."""

Array = NDArray[np.float64]
LEVELS: Array = (np.arange(QUANTILES) + 0.5) / QUANTILES
LEVELS.flags.writeable = False


@dataclass(frozen=True, slots=True, eq=False)
class QuantileForecast:
    """A distribution over one non-negative quantity (seconds, tokens, USD).

    Attributes:
        values: shape (QUANTILES,), ascending; ``values[k]`` is the quantile at (k + .5) / QUANTILES.
    """

    values: Array
    _mean: float | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.values.shape != (QUANTILES,):
            raise ConfigError(
                "wrong shape", field="forecast.values", given=self.values.shape, allowed=f"({QUANTILES},)"
            )
        self.values.flags.writeable = False

    @classmethod
    def from_samples(cls, samples: Sequence[float] | Array) -> "QuantileForecast":
        """The forecast whose quantiles are those of ``samples`` (any length from 1 on)."""
        return cls(np.quantile(np.asarray(samples, dtype=np.float64), LEVELS))

    @classmethod
    def constant(cls, value: float) -> "QuantileForecast":
        """A forecast that is certain."""
        return cls(np.full(QUANTILES, float(value)))

    @classmethod
    def lognormal(cls, median: float, sigma: float) -> "QuantileForecast":
        """A lognormal forecast with this median and log-standard-deviation."""
        return cls(median * np.exp(sigma * _NORMAL))

    @property
    def mean(self) -> float:
        """The expected value."""
        mean = self._mean
        if mean is None:
            mean = float(np.add.reduce(self.values)) / QUANTILES
            object.__setattr__(self, "_mean", mean)
        return mean

    def quantile(self, p: float) -> float:
        """The value below which the quantity stays with probability ``p``; linear between, flat outside the levels."""
        place = p * QUANTILES - 0.5
        if place <= 0.0:
            return self.values.item(0)
        if place >= QUANTILES - 1.0:
            return self.values.item(QUANTILES - 1)
        below = int(place)
        low, high = self.values.item(below), self.values.item(below + 1)
        return low + (place - below) * (high - low)

    def cdf(self, x: float) -> float:
        """The probability that the quantity is at most ``x``."""
        return float(np.searchsorted(self.values, x, side="right")) / QUANTILES

    def shift(self, offset: float) -> "QuantileForecast":
        """The forecast of the quantity plus a constant."""
        return QuantileForecast(self.values + offset)

    def scale(self, factor: float) -> "QuantileForecast":
        """The forecast of the quantity times a non-negative constant."""
        return QuantileForecast(self.values * factor)

    def above(self, seen: float) -> "QuantileForecast":
        """The forecast once it is known that the quantity exceeds ``seen``.

        Beyond the largest quantile nothing is known: the tail is then continued in proportion (10 % beyond ``seen``).
        """
        rest = self.values[self.values > seen]
        if rest.size == QUANTILES:
            return self
        if rest.size == 0:
            return QuantileForecast(seen + max(1e-9, 0.1 * abs(seen)) * LEVELS * 2)
        return QuantileForecast.from_samples(rest)

    def plus(self, other: "QuantileForecast") -> "QuantileForecast":
        """The forecast of the sum of two independent quantities, by convolution of all pairs.

        Adding quantile to quantile would be the comonotone sum, whose tail is too heavy.
        """
        return QuantileForecast.from_samples(np.add.outer(self.values, other.values).ravel())

    def slower_of(self, other: "QuantileForecast") -> "QuantileForecast":
        """The forecast of the larger of two independent quantities: the product of the two CDFs."""
        return QuantileForecast.from_samples(np.maximum.outer(self.values, other.values).ravel())

    def mixed(self, other: "QuantileForecast", weight: float) -> "QuantileForecast":
        """The mixture that draws from ``other`` with probability ``weight`` in [0, 1]."""
        pooled = np.concatenate((self.values, other.values))
        order = np.argsort(pooled, kind="stable")
        mass = np.repeat(((1.0 - weight) / QUANTILES, weight / QUANTILES), QUANTILES)[order]
        return QuantileForecast(np.interp(LEVELS, np.cumsum(mass) - mass / 2, pooled[order]))

    def __repr__(self) -> str:
        low, middle, high = (self.quantile(p) for p in (0.05, 0.5, 0.95))
        return f"QuantileForecast(p5={low:.4g}, p50={middle:.4g}, p95={high:.4g})"


def normal_quantiles(count: int) -> Array:
    """The standard normal quantiles at (k + .5) / count, shape (count,).

    Acklam's rational approximation (2003) of the inverse normal CDF; relative error below 1.2e-9.
    """
    p = (np.arange(count) + 0.5) / count
    tail = np.minimum(p, 1 - p)
    q = p - 0.5
    r = q * q
    central = q * _horner(_A, r) / _horner((*_B, 1.0), r)
    t = np.sqrt(-2 * np.log(tail))
    outer = -_horner(_C, t) / _horner((*_D, 1.0), t) * np.sign(q)
    result: Array = np.where(tail > 0.02425, central, outer)
    return result


def _horner(coefficients: Sequence[float], x: Array) -> Array:
    total = np.zeros_like(x)
    for coefficient in coefficients:
        total = total * x + coefficient
    return total


_A = (
    -39.69683028665376,
    220.9460984245205,
    -275.9285104469687,
    138.3577518672690,
    -30.66479806614716,
    2.506628277459239,
)
_B = (-54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572)
_C = (
    -0.007784894002430293,
    -0.3223964580411365,
    -2.400758277161838,
    -2.549732539343734,
    4.374664141464968,
    2.938163982698783,
)
_D = (0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416)

_NORMAL = normal_quantiles(QUANTILES)
