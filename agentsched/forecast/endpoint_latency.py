"""How far answers of an endpoint lie from what its speeds predict, and what becomes of speeds that nobody confirms.

Hosted endpoints stall now and then: their latencies have tails that no lognormal has. So what was seen is kept as
it is, the latest factors of each endpoint beside a prior; on recorded calls to hosted models this loses less than a
lognormal whose width follows the misfit, and less than a lognormal body with a Pareto tail (docs/forecasts.md).
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from agentsched.core.forecast import LEVELS, QUANTILES, normal_quantiles

__all__ = ["LatencyFactors", "aged"]

Array = NDArray[np.float64]

_KEPT = 128
"""Answers remembered."""

_PRIOR_ANSWERS = 8.0
"""The prior counts as so many answers."""

_PRIOR_SPREAD = 0.15
"""Log-standard-deviation of the prior."""

_MOST = 4.0
"""Log-factors beyond this count as this."""

_PRIOR: Array = _PRIOR_SPREAD * normal_quantiles(QUANTILES)


class LatencyFactors:
    """The latest factors between actual and predicted time, as a distribution around what they should be: one."""

    __slots__ = ("_count", "_made", "_pooled")

    def __init__(self) -> None:
        self._pooled = np.concatenate((_PRIOR, np.zeros(_KEPT)))  # the prior, then a ring of what was seen
        self._count = 0
        self._made: Array | None = None

    def saw(self, factor: float) -> None:
        """An answer took ``factor`` times what was predicted for its length; above 0."""
        self._pooled[QUANTILES + self._count % _KEPT] = min(_MOST, max(-_MOST, math.log(factor)))
        self._count += 1
        self._made = None

    def quantiles(self) -> Array:
        """The QUANTILES quantiles of the factor, ascending; not to be written to."""
        made = self._made
        if made is None:
            made = self._made = self._quantiles()
            made.flags.writeable = False
        return made

    def _quantiles(self) -> Array:
        count = min(self._count, _KEPT)
        if count == 0:
            return np.exp(_PRIOR)
        pooled = self._pooled[: QUANTILES + count]
        order = pooled.argsort(kind="stable")
        mass = _masses(count)[order]
        middle = np.add.accumulate(mass)
        mass *= 0.5
        middle -= mass
        result: Array = np.exp(np.interp(LEVELS, middle, pooled[order]))
        return result


@lru_cache(maxsize=_KEPT)
def _masses(count: int) -> Array:
    """What the prior's quantiles and ``count`` answers each count for, of a total of 1."""
    total = _PRIOR_ANSWERS + count
    return np.repeat((_PRIOR_ANSWERS / (QUANTILES * total), 1.0 / total), (QUANTILES, count))


def aged(learned: float, prior: float, unseen_s: float, half_life_s: float) -> float:
    """What is left of a positive quantity that was learned and that nobody has confirmed since.

    On the logarithmic scale its distance from the prior halves with every half-life: an endpoint that was slow for an
    hour is tried again, and one that nobody has tried is not believed to be fast for ever.
    """
    weight: float = 0.5 ** (max(0.0, unseen_s) / half_life_s)
    result: float = prior * (learned / prior) ** weight
    return result
