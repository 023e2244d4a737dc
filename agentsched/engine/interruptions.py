"""When an instance is slow, and when it is down."""

from __future__ import annotations

from math import inf

__all__ = ["Outages", "Slowdowns"]


class Slowdowns:
    """Intervals in which everything takes a factor longer; overlapping intervals multiply."""

    def __init__(self) -> None:
        self._intervals: list[tuple[float, float, float]] = []

    def __bool__(self) -> bool:
        return bool(self._intervals)

    def add(self, factor: float, start_s: float, until_s: float) -> None:
        """Add an interval.

        Raises:
            ValueError: the factor is not positive or the interval is empty.
        """
        if not factor > 0 or not until_s > start_s:
            raise ValueError(f"slowdown needs factor > 0 and start < until, got {factor}, {start_s}, {until_s}")
        self._intervals.append((start_s, until_s, factor))

    def factor_at(self, instant: float) -> float:
        """Return the factor that applies to work started at the instant."""
        if not self._intervals:
            return 1.0
        self._intervals = [interval for interval in self._intervals if interval[1] > instant]
        factor = 1.0
        for start, _, interval_factor in self._intervals:
            if start <= instant:
                factor *= interval_factor
        return factor

    def next_change_after(self, instant: float) -> float:
        """Return the next instant at which the factor may change; infinity if there is none."""
        edges = [edge for start, until, _ in self._intervals for edge in (start, until) if edge > instant]
        return min(edges, default=inf)


class Outages:
    """Intervals in which the instance is gone.

    Attributes:
        next_start_s: the start of the earliest outage not yet begun (see `begin`); infinity if there is none.
    """

    def __init__(self) -> None:
        self._intervals: list[tuple[float, float]] = []
        self.next_start_s = inf

    def add(self, start_s: float, until_s: float) -> None:
        """Add an interval.

        Raises:
            ValueError: the interval is empty.
        """
        if not until_s > start_s:
            raise ValueError(f"an outage needs start < until, got {start_s}, {until_s}")
        self._intervals.append((start_s, until_s))
        self._intervals.sort()
        self.next_start_s = self._intervals[0][0]

    def begin(self) -> float:
        """Take the earliest outage off the list and return when it is over."""
        _, until_s = self._intervals.pop(0)
        self.next_start_s = self._intervals[0][0] if self._intervals else inf
        return until_s
