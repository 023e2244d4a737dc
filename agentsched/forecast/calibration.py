"""Forecasts that keep what they promise: offsets per group and level that follow how often each level was exceeded.

Each level tau of a forecast is moved, on the scale log(1 + x), by the sum of the offsets of the groups that the
forecast belongs to. After an outcome y every offset takes one step of the online quantile update (Gibbs and Candes
2021, adaptive conformal inference; as a step down the pinball loss)

    offset += rate * (1[y > moved quantile] - (1 - tau)),

which makes the share of exceeded forecasts tend to 1 - tau whatever the outcomes are, also after they change. The
rate is in units of the group's usual error and falls while the group is young. Pure; the learners own a calibrator
and hand out its offsets with their snapshots.
"""

import math
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from agentsched.core.forecast import LEVELS, QUANTILES, QuantileForecast

__all__ = ["Calibrator", "Drift", "corrected", "corrected_levels", "offset_of"]

Array = NDArray[np.float64]
Group = TypeVar("Group", bound=Hashable)

_FASTEST, _SLOWEST = 0.06, 0.01
"""Step per outcome in units of the group's usual error: of a young group, and in the long run."""

_YOUNG = 40.0
"""Outcomes after which the step has fallen halfway."""

_LEAST_ERROR, _MOST_ERROR = 0.02, 1.0
"""The usual error of a group is taken to be in these bounds, in log(1 + x)."""

_ERROR_MEMORY = 0.98
_WINDOW = 40
_LOW, _HIGH = 3, 28
"""The levels nearest to .1 and .9: (k + .5) / 32 = .109 and .891."""

_TOO_OFTEN = 14
"""Outcomes of 40 beyond level .9 (or below .1) that mean drift: 1 in 50,000 windows has so many by chance."""

_SELDOM, _OFTEN, _HURRY = 1, 10, 5.0
"""While so few of the last 40 lay beyond either level (8 should), or so many beyond one (4 should), steps are long."""

_SETTLED = 40
"""A group that is younger than so many outcomes is learned still: that its forecasts are wrong is no drift."""

_WIDENED = 0.5
"""After drift the outermost levels stand apart by this many usual errors more on each side, in log(1 + x)."""

_MOST_GROUPS = 4096


@dataclass(frozen=True, slots=True)
class Drift(Generic[Group]):
    """Coverage was lost in a group: of its last ``window`` outcomes so many lay beyond the outer levels."""

    group: Group
    beyond: int
    below: int
    window: int

    def __str__(self) -> str:
        what, count = ("more", self.beyond) if self.beyond >= self.below else ("less", self.below)
        return f"{count} of the last {self.window} were {what} than nine in ten forecasts allow"


class _State:
    __slots__ = ("count", "error", "offset", "sides")

    def __init__(self) -> None:
        self.offset: Array = np.zeros(QUANTILES)
        self.count = 0
        self.error = 0.3
        self.sides: deque[int] = deque(maxlen=_WINDOW)
        """Of the latest outcomes: 1 beyond level .9, -1 below .1, else 0."""

    def pace(self) -> float:
        """How far the next outcome moves the offset, in log(1 + x)."""
        pace = _SLOWEST + (_FASTEST - _SLOWEST) * _YOUNG / (_YOUNG + self.count)
        if len(self.sides) == _WINDOW:
            beyond, below = self.sides.count(1), self.sides.count(-1)
            if beyond + below <= _SELDOM or max(beyond, below) >= _OFTEN:
                pace *= _HURRY
        return pace * min(max(self.error, _LEAST_ERROR), _MOST_ERROR)


_STEP: Array = LEVELS - 1.0
_APART: Array = (2.0 * LEVELS - 1.0) * _WIDENED


class Calibrator(Generic[Group]):
    """Follows the coverage of the forecasts of many groups. Bounded memory; not thread-safe.

    A forecast belongs to several groups, widest first, for example everything, a workflow, a step of it: the narrow
    ones take over what the wide ones leave.

    Args:
        parts: how many groups a forecast belongs to where all of its names are known, each of which takes its step.
            Where there are n, their steps are longer by the square root of parts / n: with parts / n what has no names
            would be followed as fast as what has, which where nothing changes costs more than it brings.
    """

    def __init__(self, parts: int = 1) -> None:
        self._parts = parts
        self._states: dict[Group, _State] = {}
        self._changed: set[Group] = set()

    def update(self, groups: Sequence[Group], forecast: QuantileForecast, outcome: float) -> Drift[Group] | None:
        """Compare a forecast, as it was before correction, with what came; about 15 us for three groups.

        Args:
            groups: what the forecast belongs to, widest first.
            forecast: of a non-negative quantity.
            outcome: what came of it.

        Returns:
            Drift, once, when the narrowest group lost its coverage; the caller then forgets what is old, and calls
            `widen`.
        """
        states = [self._state(group) for group in groups]
        haste = math.sqrt(max(1.0, self._parts / len(states)))
        moved = np.log1p(forecast.values)
        for state in states:
            moved += state.offset
        came = math.log1p(outcome)
        step = (came > moved) + _STEP
        side = (came > moved.item(_HIGH)) - (came < moved.item(_LOW))
        miss = abs(came - moved.item(QUANTILES // 2))
        for state in states:
            state.count += 1
            state.error += (1.0 - max(_ERROR_MEMORY, 1.0 - 1.0 / state.count)) * (miss - state.error)
            state.offset += step * (haste * state.pace())
            state.sides.append(side)
        self._changed.update(groups)
        return _drift(groups[-1], states[-1])

    def _state(self, group: Group) -> _State:
        state = self._states.pop(group, None)
        if state is None:
            state = _State()
            if len(self._states) >= _MOST_GROUPS:
                oldest = next(iter(self._states))
                del self._states[oldest]
                self._changed.discard(oldest)
        self._states[group] = state
        return state

    def widen(self, group: Group) -> None:
        """Start this group anew with forecasts wider than before, after what they were made of has changed."""
        state = self._state(group)
        state.offset = _APART * min(max(state.error, _LEAST_ERROR), _MOST_ERROR)
        state.count = 0
        self._changed.add(group)

    def give(self, of: Callable[[Group], bool], taker: "Calibrator[Group]", widest: Group, shared: Group) -> None:
        """Hand over the groups that ``of`` says to another calibrator.

        Args:
            of: whether a group is handed over.
            taker: who gets them.
            widest: the widest of these groups.
            shared: a wider group that stays: what its offsets differ by there is added to the widest one's, so that
                the sums, which are what forecasts are corrected by, stay the same.
        """
        given = [group for group in self._states if of(group)]
        for group in given:
            taker._states[group] = self._states.pop(group)
            taker._changed.add(group)
            self._changed.discard(group)
        if given:
            here, there = self._states.get(shared), taker._states.get(shared)
            state = taker._state(widest)
            state.offset += (0.0 if here is None else here.offset) - (0.0 if there is None else there.offset)

    def take_changes(self) -> dict[Group, Array]:
        """Copies of the offsets that changed since the last call, shape (QUANTILES,), in log(1 + x)."""
        made: dict[Group, Array] = {}
        for group in self._states:
            if group in self._changed:
                offset = self._states[group].offset.copy()
                offset.flags.writeable = False
                made[group] = offset
        self._changed.clear()
        return made

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups that are remembered, the longest quiet one first."""
        return tuple(self._states)


def _drift(group: Group, state: _State) -> Drift[Group] | None:
    beyond, below = state.sides.count(1), state.sides.count(-1)
    if max(beyond, below) < _TOO_OFTEN or state.count < _SETTLED:
        return None
    drift = Drift(group, beyond, below, len(state.sides))
    state.sides.clear()
    return drift


def offset_of(offsets: Mapping[Group, Array], groups: Sequence[Group]) -> Array | None:
    """The sum of the offsets of these groups, shape (QUANTILES,); None where nothing is known of any."""
    total: Array | None = None
    for group in groups:
        offset = offsets.get(group)
        if offset is not None:
            total = offset if total is None else total + offset
    return total


def corrected(forecast: QuantileForecast, offset: Array | None) -> QuantileForecast:
    """The forecast with each level moved by ``offset`` on the scale log(1 + x), ascending and not negative."""
    return forecast if offset is None else QuantileForecast(corrected_levels(forecast.values, offset))


def corrected_levels(values: Array, offset: Array) -> Array:
    """The same for the levels of one forecast or of several, shape (..., QUANTILES)."""
    levels = np.log1p(values)
    levels += offset
    np.expm1(levels, out=levels)
    np.maximum.accumulate(levels, axis=-1, out=levels)
    return np.maximum(levels, 0.0, out=levels)
