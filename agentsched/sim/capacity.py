"""How much load a pool carries: the most runs per second of which a wanted share still meets its deadline."""

import math
from dataclasses import dataclass, field

from agentsched.sim.comparison import CaseResult

__all__ = ["Capacity"]

_STRIDE = 1.5
"""As long as only one side is known, the next load is this many times more or less."""

_MOST_STRIDES = 12
"""Then the search ends with one side: 130 times the first load, or a 130th."""


@dataclass(slots=True)
class Capacity:
    """A search between the highest load that was carried and the lowest one above it that was not.

    More load means fewer runs in time but for the chance of the draw, so the two are the ends of a halved interval.

    Attributes:
        start: runs per second to begin with.
        at_least: the share of runs in time that is wanted.
        precision: how close the two ends shall come, as a share of the lower one.
        carried: what was reached at the highest load that was carried; None: none was.
        too_much: what was reached at the lowest load that was not; None: there was none.
    """

    start: float
    at_least: float
    precision: float
    carried: CaseResult | None = field(default=None, init=False)
    too_much: CaseResult | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)

    @property
    def load(self) -> float | None:
        """The highest load that was carried, runs per second; None: not even the lowest that was tried."""
        return None if self.carried is None else self.carried.load

    @property
    def next_load(self) -> float | None:
        """What to try next, runs per second; None: the search is over."""
        if self._ended:
            return None
        if self.carried is None and self.too_much is None:
            return self.start
        if self.too_much is None:
            return self._beyond(self.carried, _STRIDE)
        if self.carried is None:
            return self._beyond(self.too_much, 1.0 / _STRIDE)
        low, high = self.carried.load, self.too_much.load
        return None if high <= low * (1.0 + self.precision) else _rounded(math.sqrt(low * high))

    def _beyond(self, end: CaseResult | None, stride: float) -> float | None:
        assert end is not None
        strides = abs(math.log(end.load / self.start)) / math.log(_STRIDE)
        return None if strides > _MOST_STRIDES - 0.5 else _rounded(end.load * stride)

    def end(self) -> None:
        """Nothing can be learned from the next load: the search ends with what it has."""
        self._ended = True

    def tell(self, result: CaseResult) -> None:
        """What was reached at a load."""
        if result.attainment.mean >= self.at_least:
            self.carried = result
        else:
            self.too_much = result


def _rounded(load: float) -> float:
    """Four digits: a load that can be typed in again."""
    return float(f"{load:.4g}")
