"""Whether what was forecast of answers still holds: the share of recent ones that came within the time foretold."""

from collections import deque

__all__ = ["Coverage"]

_ANSWERS = 100
_FEWEST = 50

_LOST_LATE, _BACK_LATE = 0.4, 0.6
"""Nine in ten answers should come within the time that was foretold for nine in ten. With fewer than the first share
the forecasts are lost, and found again with more than the second."""

_LOST_EARLY, _BACK_EARLY = 0.9, 0.7
"""One in ten should come within the time that was foretold for one in ten; likewise."""


class Coverage:
    """Counts the latest answers; two thresholds apart, so that it does not flutter."""

    def __init__(self) -> None:
        self._seen: deque[tuple[bool, bool]] = deque(maxlen=_ANSWERS)
        self._early = self._in_time = 0
        self.lost = False

    def saw(self, elapsed_s: float, low_s: float, high_s: float) -> bool:
        """An answer took ``elapsed_s``; nine in ten were to take more than ``low_s``, nine in ten less than ``high_s``.

        Answers whether trust was lost or regained by it.
        """
        if len(self._seen) == _ANSWERS:
            early, in_time = self._seen[0]
            self._early -= early
            self._in_time -= in_time
        early, in_time = elapsed_s < low_s, elapsed_s <= high_s
        self._seen.append((early, in_time))
        self._early += early
        self._in_time += in_time
        count = len(self._seen)
        if count < _FEWEST:
            return False
        was_lost = self.lost
        least = _BACK_LATE if was_lost else _LOST_LATE
        most = _BACK_EARLY if was_lost else _LOST_EARLY
        self.lost = self._in_time < least * count or self._early > most * count
        return self.lost != was_lost

    def __repr__(self) -> str:
        count = max(1, len(self._seen))
        return f"Coverage(early={self._early / count:.2f}, in_time={self._in_time / count:.2f}, lost={self.lost})"
