"""The value of time: how likely a call's run is to be done by its deadline, and what one more second would cost it.

The probability is smoothed by a sigmoid, whose width is the safety margin (decision 6):

    P(S) = mean_k sigmoid((S - X_k) / h),  h = .1 max(.5, S) + .03
    slope = (P(S) - P(S - dl)) / dl,  dl = max(.2, .05 S), h held fixed

With e_k = exp((X_k - S) / h) both need one exponential: sigmoid((S - X_k) / h) = 1 / (1 + e_k), and S - dl in the place
of S makes it 1 / (1 + e_k exp(dl / h)).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["odds_against", "p_meet", "running_slopes", "slope_step_s", "smoothing_s"]

Array = NDArray[np.float64]

_SMOOTHING, _LEAST_SLACK_S, _LEAST_SMOOTHING_S = 0.1, 0.5, 0.03
_STEP, _LEAST_STEP_S = 0.05, 0.2

_MOST_EXPONENT = 60.0
"""Odds beyond exp(60) are as good as certain; exp of more would overflow in the end."""


def smoothing_s(slack_s: float) -> float:
    """The width h of the sigmoid, seconds."""
    return _SMOOTHING * max(_LEAST_SLACK_S, slack_s) + _LEAST_SMOOTHING_S


def slope_step_s(slack_s: float) -> float:
    """The delay dl over which a slope is taken, seconds."""
    return max(_LEAST_STEP_S, _STEP * slack_s)


def odds_against(finish_s: Array, slack_s: float, width_s: float) -> Array:
    """e_k for finish times X_k (any shape), worked out in place: the caller's array is overwritten."""
    finish_s -= slack_s
    finish_s *= 1.0 / width_s
    np.minimum(finish_s, _MOST_EXPONENT, out=finish_s)
    result: Array = np.exp(finish_s, out=finish_s)
    return result


def p_meet(odds: Array) -> Array:
    """P from odds against, averaged over the last axis."""
    result: Array = np.add.reduce(np.reciprocal(odds + 1.0), axis=-1)
    result /= odds.shape[-1]
    return result


def running_slopes(finish_s: Array, likely: Array, slack_s: Array) -> Array:
    """What one second is worth to each of many running calls, per second, shape (n,).

    Args:
        finish_s: shape (n, k), seconds from now until their runs end; overwritten.
        likely: shape (n, k), weights that add up to 1 in every row.
        slack_s: shape (n,), seconds until they should; inf: no deadline, slope 0.
    """
    slack = np.minimum(slack_s, 1e9)
    width = _SMOOTHING * np.maximum(_LEAST_SLACK_S, slack) + _LEAST_SMOOTHING_S
    step = np.maximum(_LEAST_STEP_S, _STEP * slack)
    finish_s -= slack[:, None]
    finish_s /= width[:, None]
    np.minimum(finish_s, _MOST_EXPONENT, out=finish_s)
    odds = np.exp(finish_s, out=finish_s)
    lost = np.reciprocal(odds + 1.0)
    odds *= np.exp(step / width)[:, None]
    odds += 1.0
    lost -= np.reciprocal(odds, out=odds)
    lost *= likely
    result: Array = lost.sum(axis=1)
    result /= step
    return result
