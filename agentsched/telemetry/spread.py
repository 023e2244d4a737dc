"""Small statistics for reports: percentiles of a sample, and the interval of a share."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["Spread", "spread", "wilson_interval"]

_Z95 = 1.959963984540054
"""The standard normal quantile at .975."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A sample's size, mean, percentiles (linear between observations) and maximum, in the sample's unit."""

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


def spread(values: Iterable[float | None]) -> Spread | None:
    """The spread of those values that are known; None: none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    p50, p90, p95, p99 = (float(q) for q in np.quantile(known, (0.5, 0.9, 0.95, 0.99)))
    return Spread(len(known), float(np.mean(known)), p50, p90, p95, p99, max(known))


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of which ``hits`` in ``count`` were seen.

    Wilson's score interval (1927), which unlike the normal approximation also holds for few runs and shares near one.
    """
    if count == 0:
        return 0.0, 1.0
    share, z2 = hits / count, _Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)
