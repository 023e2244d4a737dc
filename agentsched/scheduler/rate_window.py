"""Requests or tokens per minute, kept as an exact sliding window."""

from collections import deque

__all__ = ["RateWindow", "Spend"]

_WINDOW_S = 60.0


class Spend:
    """One entry of a window; `RateWindow.correct` changes its amount once the true one is known."""

    __slots__ = ("amount", "at")

    def __init__(self, at: float, amount: float) -> None:
        self.at, self.amount = at, amount


class RateWindow:
    """At most ``limit`` in any 60 seconds.

    A sliding window never sends what a server with a fixed window or a token bucket of the same limit would refuse,
    and wastes none of the limit. An amount above the limit is let through when the window is empty.

    What other clients spend of the same limit is told now and then; until it is told anew it is taken to expire evenly.
    """

    __slots__ = ("_entries", "_others", "_others_gone_at", "_total", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._entries: deque[Spend] = deque()
        self._total = 0.0
        self._others = 0.0
        self._others_gone_at = 0.0

    def others_spent(self, at: float, amount: float) -> None:
        """Other clients had spent ``amount`` in the 60 seconds before ``at``: replaces what was known of them."""
        self._others, self._others_gone_at = amount, at + _WINDOW_S

    def _of_others(self, now: float) -> float:
        return self._others * min(1.0, max(0.0, (self._others_gone_at - now) / _WINDOW_S))

    def _expire(self, now: float) -> None:
        entries = self._entries
        while entries and entries[0].at <= now - _WINDOW_S:
            self._total -= entries.popleft().amount
        if not entries:
            self._total = 0.0

    def used(self, now: float) -> float:
        """What this client spent in the last 60 seconds."""
        self._expire(now)
        return self._total

    def spend(self, now: float, amount: float) -> Spend:
        """Take ``amount`` at ``now``."""
        self._expire(now)
        entry = Spend(now, amount)
        self._entries.append(entry)
        self._total += amount
        return entry

    def correct(self, entry: Spend, amount: float) -> None:
        """Refund or charge the difference once the true amount is known; nothing happens to an expired entry."""
        if self._entries and entry.at >= self._entries[0].at:
            self._total += amount - entry.amount
            entry.amount = amount

    def wait_s(self, now: float, amount: float) -> float:
        """Seconds until ``amount`` may be spent; 0: now."""
        self._expire(now)
        others = self._of_others(now)
        excess = self._total + others + amount - self.limit
        if excess <= 1e-9:
            return 0.0
        others_gone_s = max(1e-9, self._others_gone_at - now)
        per_s = others / others_gone_s
        for entry in self._entries:
            gone_s = entry.at + _WINDOW_S - now
            of_others = per_s * min(gone_s, others_gone_s)
            if excess <= of_others:
                return excess / per_s
            excess -= entry.amount
            if excess - of_others <= 1e-9:
                return gone_s
        own_gone_s = self._entries[-1].at + _WINDOW_S - now if self._entries else 0.0
        return max(own_gone_s, min(others_gone_s, excess / per_s) if others > 0.0 else 0.0)
