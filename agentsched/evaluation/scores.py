"""Scores of forecasts by what came: pinball loss, coverage, error of the median."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVELS", "Scores", "pinball", "scores_of"]

Array = NDArray[np.float64]

LEVELS = (0.05, 0.5, 0.9, 0.95, 0.99)
"""The levels that every forecaster is asked for; losses and coverage are told at .5, .9 and .99."""

TOLD = (0.5, 0.9, 0.99)
_TOLD_AT = [LEVELS.index(level) for level in TOLD]


@dataclass(frozen=True, slots=True)
class Scores:
    """How good a forecaster was.

    Attributes:
        calls: outcomes.
        pinball: the mean pinball loss at .5, .9 and .99, in the outcome's unit.
        mean_pinball: the mean of these three.
        coverage: the share of outcomes that were at most the forecast at .5, .9 and .99.
        interval_90: the share of outcomes between the forecasts at .05 and .95.
        median_error: the median absolute error of the forecast median.
    """

    calls: int
    pinball: tuple[float, float, float]
    mean_pinball: float
    coverage: tuple[float, float, float]
    interval_90: float
    median_error: float


def pinball(outcomes: Array, forecasts: Array, levels: Sequence[float]) -> Array:
    """The pinball loss of each forecast, shape (n, levels), for outcomes of shape (n,)."""
    error = outcomes[:, None] - forecasts
    level = np.asarray(levels)
    loss: Array = np.maximum(level * error, (level - 1.0) * error)
    return loss


def scores_of(outcomes: Array, forecasts: Array) -> Scores:
    """The scores of forecasts at `LEVELS`, shape (n, 5), for outcomes of shape (n,); n is 1 at least."""
    losses = pinball(outcomes, forecasts, LEVELS)[:, _TOLD_AT].mean(axis=0)
    held = (outcomes[:, None] <= forecasts)[:, _TOLD_AT].mean(axis=0)
    inside = (outcomes >= forecasts[:, 0]) & (outcomes <= forecasts[:, LEVELS.index(0.95)])
    return Scores(
        calls=outcomes.size,
        pinball=(float(losses[0]), float(losses[1]), float(losses[2])),
        mean_pinball=float(losses.mean()),
        coverage=(float(held[0]), float(held[1]), float(held[2])),
        interval_90=float(inside.mean()),
        median_error=float(np.median(np.abs(outcomes - forecasts[:, LEVELS.index(0.5)]))),
    )
