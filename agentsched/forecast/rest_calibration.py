"""Keeps what is forecast of the rest of a run in its promise: offsets per workflow and quantity follow its coverage.

The samples of each quantity, in ascending order, stand for the levels (k + .5) / 32. Those above .8 and those below .2
are moved, on the scale log(1 + x / (mean work of a call)), by offsets that follow how often .95 was exceeded and .05
undercut: the online quantile update of `agentsched.forecast.calibration` (Gibbs and Candes 2021), with one step per
run, since the calls of a run all miss together. A run counts for as much as it has calls. Offsets for each level, or
for each step, follow more noise than they correct. Pure; the learner owns one per workflow and hands out its offsets.

An outcome may equal a forecast exactly, most often when nothing follows: it is then held by the interval.
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

_FASTEST, _SLOWEST = 0.3, 0.03
"""Step per run in units of the usual error: of a young workflow, and in the long run."""

_YOUNG = 8.0
"""Runs after which the step has fallen halfway."""

_LEAST_ERROR, _MOST_ERROR = 0.02, 1.0
_MOST_OFFSET = 2.0
"""Bounds of the usual error and of an offset, on the logarithmic scale."""

_ERROR_MEMORY = 0.95
_LONG_RUN = 3.0
"""A run counts for at most so many times the mean of the latest ones, of which there are"""
_MEAN_OF = 20

_WINDOW, _LATEST = 8, 5
_LOST, _HURRY = 0.25, 8.0
"""While more than this share of the calls of the latest five runs lay beyond one side, steps are so much longer."""

_DRIFTED = 0.65
"""When it is this share, runs are no longer what they were."""

_WIDENED = 0.7
"""After that the interval is wider by this many usual errors on each side."""


class RestCalibrator:
    """Follows the coverage of one workflow's forecasts. Bounded memory; not thread-safe."""

    def __init__(self) -> None:
        self._offset: Array = np.zeros((2, _QUANTITIES))
        """Of .95 upwards and of .05 downwards."""
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
        levels = _shifted(np.sort(np.log1p(forecasts / scale[:, None]), axis=2), self.offsets())
        outcome = np.log1p(came / scale)
        high, low = levels[:, :, -3:-1] @ _BETWEEN[0], levels[:, :, 1:3] @ _BETWEEN[1]
        above, below = (outcome > high).astype(np.float64), (outcome < low).astype(np.float64)
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
        paces = pace * min(_LONG_RUN, calls / self._calls) * self._usual_error()
        if len(self._beyond) >= _LATEST:
            lost = np.mean(list(self._beyond)[-_LATEST:], axis=0).max(axis=0) > _LOST
            paces = np.minimum(np.where(lost, _HURRY * paces, paces), _FASTEST)
        self._offset += paces * (beyond - _OUTER)
        np.clip(self._offset, -_MOST_OFFSET, _MOST_OFFSET, out=self._offset)

    def _usual_error(self) -> Array:
        return np.clip(self._error, _LEAST_ERROR, _MOST_ERROR)

    def _drifted(self) -> bool:
        if len(self._beyond) < _WINDOW or np.mean(self._beyond, axis=0).max() < _DRIFTED:
            return False
        self._beyond.clear()
        self._offset = np.maximum(self._offset, _WIDENED * self._usual_error())
        self._runs = 0
        return True

    def offsets(self) -> Array:
        """How far each level is moved, on the logarithmic scale, shape (4, QUANTILES)."""
        up, down = self._offset
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
