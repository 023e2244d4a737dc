"""Keeps what is forecast of the rest of a run in its promise: intervals are widened where they have lost coverage.

The samples of each quantity, in ascending order, stand for the levels (k + .5) / 32. Those above .8 and those below .2
are moved outwards, on the scale log(1 + x / (mean work of a call)), by offsets that follow how often .95 was exceeded
and .05 undercut: the online quantile update of `agentsched.forecast.calibration` (Gibbs and Candes 2021), with one step
per run, since the calls of a run all miss together. A run counts for as much as it has calls.

Nothing is narrowed: where much is known futures are few whole numbers, often one, and a level that moves in below such
a number loses all the outcomes that equal it. Offsets for each level, or for each step, follow more noise than they
correct. Pure; the learner owns one calibrator per workflow and hands out its offsets.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from agentsched.core.forecast import LEVELS, QUANTILES

__all__ = ["RestCalibrator", "moved"]

Array = NDArray[np.float64]

_QUANTITIES = 4
_ROWS: NDArray[np.intp] = QUANTILES * np.arange(_QUANTITIES, dtype=np.intp)[:, None]

_OUTER = 0.05
"""The share of outcomes that may lie beyond the interval on each side."""

_UP: Array = np.maximum(0.0, (LEVELS - 0.8) / 0.15)
_DOWN: Array = _UP[::-1]
"""How far the levels go along with those at .95 and .05."""

_BETWEEN: Array = np.array([[0.1, 0.9], [0.9, 0.1]])
"""The weights of the levels at .922 and .953 for .95, of those at .047 and .078 for .05."""

_FASTEST, _SLOWEST = 0.2, 0.02
"""Step per run in units of the usual error: of a young workflow, and in the long run."""

_YOUNG = 8.0
"""Runs after which the step has fallen halfway."""

_LEAST_ERROR, _MOST_ERROR = 0.02, 1.0
"""Bounds of the usual error, on the logarithmic scale."""

_SPARE, _MOST = 0.3, 3.0
"""Bounds of what is summed up, in usual errors: kept to spare below zero, where nothing is moved, and at most."""

_EQUAL = 0.02
"""Logarithms as near as this count as equal: a fiftieth of a call's work is not worth a correction."""

_ERROR_MEMORY = 0.95
_LONG_RUN = 3.0
"""A run counts for at most so many times the mean of the latest ones, of which there are"""
_MEAN_OF = 20

_MOVED, _HURRY = 0.15, 1.0
"""Step per run while levels are moved, and while coverage is lost."""

_WINDOW, _LEAST_RUNS, _LOST = 8, 5, 0.22
"""Coverage is lost on a side while of the calls of the latest runs, so many at most and at least, a larger share than
this lay beyond it: one in twenty should."""

_DRIFTED = 0.65
"""When it is this share, runs are no longer what they were."""

_WIDENED = 0.7
"""After that the interval is wider by this many usual errors on each side."""


class RestCalibrator:
    """Follows the coverage of one workflow's forecasts. Bounded memory; not thread-safe."""

    def __init__(self) -> None:
        self._sum: Array = np.zeros((2, _QUANTITIES))
        """For .95 upwards and for .05 downwards, in usual errors."""
        self._error: Array = np.full(_QUANTITIES, 0.3)
        self._calls = 0.0
        self._runs = 0
        self._beyond: deque[Array] = deque(maxlen=_WINDOW)
        """Of the latest runs the shares of calls above and below the interval, shape (2, 4)."""

    def learn(self, forecasts: Array, came: Array, per_call: Array, *, whole: bool) -> bool:
        """Compare what was forecast after the calls of one run, before correction, with what came.

        Args:
            forecasts: shape (calls, 4, QUANTILES), in any order.
            came: shape (calls, 4).
            per_call: the mean work of a call, shape (4,).
            whole: whether that is all that came; of a run that was cut short it is what came at least.

        Returns:
            Whether the runs have drifted away from the forecasts: older runs then mislead.
        """
        scale = np.maximum(per_call, 1e-9)
        levels = np.sort(np.log1p(forecasts / scale[:, None]), axis=2)
        offsets = self.offsets()
        if offsets is not None:
            levels = _shifted(levels, offsets)
        outcome = np.log1p(came / scale)
        high, low = levels[:, :, -3:-1] @ _BETWEEN[0], levels[:, :, 1:3] @ _BETWEEN[1]
        above, below = (outcome > high + _EQUAL).astype(np.float64), (outcome < low - _EQUAL).astype(np.float64)
        if not whole:  # how much further such a run would have gone is taken from the forecast itself
            passed = (levels <= outcome[:, :, None]).mean(axis=2)
            above = np.maximum(above, np.minimum(1.0, _OUTER / np.maximum(_OUTER, 1.0 - passed)))
            below = np.where(passed < _OUTER, _OUTER, 0.0)
        self._follow(np.stack([above.mean(axis=0), below.mean(axis=0)]), len(came))
        miss = np.abs(outcome - levels[:, :, QUANTILES // 2]).mean(axis=0)
        self._error += (1.0 - max(_ERROR_MEMORY, 1.0 - 1.0 / self._runs)) * (miss - self._error)
        return self._drifted()

    def _follow(self, beyond: Array, calls: int) -> None:
        self._runs += 1
        self._calls += (calls - self._calls) / min(_MEAN_OF, self._runs)
        self._beyond.append(beyond)
        pace = _SLOWEST + (_FASTEST - _SLOWEST) * _YOUNG / (_YOUNG + self._runs)
        paces = np.where(self._sum > 0.0, max(pace, _MOVED), pace)
        if len(self._beyond) >= _LEAST_RUNS:
            lost = np.mean(self._beyond, axis=0) > _LOST
            paces[lost] = _HURRY
        paces *= min(_LONG_RUN, calls / self._calls)
        self._sum += paces * (beyond - _OUTER)
        np.clip(self._sum, -_SPARE, _MOST, out=self._sum)

    def _drifted(self) -> bool:
        if len(self._beyond) < _WINDOW or np.mean(self._beyond, axis=0).max() < _DRIFTED:
            return False
        self._beyond.clear()
        np.maximum(self._sum, _WIDENED, out=self._sum)
        self._runs = 0
        return True

    def offsets(self) -> Array | None:
        """How far each level is moved, on the logarithmic scale, shape (4, QUANTILES); None: none is."""
        up, down = np.maximum(self._sum, 0.0) * np.clip(self._error, _LEAST_ERROR, _MOST_ERROR)
        if not (up.any() or down.any()):
            return None
        made: Array = np.outer(up, _UP) - np.outer(down, _DOWN)
        return made


def _shifted(levels: Array, offsets: Array) -> Array:
    """Levels in ascending order along the last axis, moved, in ascending order and not negative."""
    levels += offsets
    np.maximum.accumulate(levels, axis=-1, out=levels)
    return np.maximum(levels, 0.0, out=levels)


def moved(futures: Array, offsets: Array, per_call: Array) -> Array:
    """Futures whose levels are moved by ``offsets``, each future at its rank as before; shape (4, QUANTILES).

    Args:
        futures: shape (4, QUANTILES), contiguous.
        offsets: likewise, see `RestCalibrator.offsets`.
        per_call: the mean work of a call, shape (4,), what the logarithmic scale counts in.
    """
    scale = np.maximum(per_call, 1e-9)[:, None]
    logs = np.log1p(futures / scale)
    ranked = logs.argsort(axis=1)
    ranked += _ROWS
    levels = _shifted(logs.take(ranked), offsets)
    np.expm1(levels, out=levels)
    levels *= scale
    result: Array = np.empty_like(futures)
    result.put(ranked, levels)
    return result
