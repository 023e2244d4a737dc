"""Requests or tokens per minute, kept as a bucket that refills evenly."""

import math
from bisect import bisect_left

__all__ = ["RateBucket", "Spend"]

_MINUTE_S = 60.0

_LEAST_SHARE = 0.05
"""However much others spend, this share of a limit is taken to be left: only a refusal tells that it is not."""

_STALE_SHARE = 0.02
"""What flows into a bucket while an answer is on its way, generously: 1.2 s worth of its limit. Taking it away at every
answer that says "none left" would waste most of a limit that is used to the full."""

_ENOUGH = 1e-9

Order = tuple[float, int]
"""How urgent a waiting call is: when it is due, and its number."""


class Spend:
    """An amount that was taken; `RateBucket.correct` changes it once the true one is known."""

    __slots__ = ("amount",)

    def __init__(self, amount: float) -> None:
        self.amount = amount


class RateBucket:
    """Holds one minute's worth at most and refills evenly, as hosted APIs count; it may run into debt.

    A server that counts whole minutes instead refuses some of what this lets through after a lull; each refusal empties
    the bucket, so that it then keeps to the even pace. An amount above the limit goes when the bucket is full. What
    other clients spend is told now and then; for a minute it is taken to go on at that pace.
    """

    __slots__ = ("_ahead", "_at", "_level", "_orders", "_others", "_others_until", "_recent", "_recent_at", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._level = limit
        self._at = -math.inf
        self._others, self._others_until = 0.0, -math.inf
        self._recent, self._recent_at = 0.0, -math.inf
        self._orders: list[Order] = []  # of those that wait, and what each waits for
        self._ahead: list[float] = []

    def _per_s(self, now: float) -> float:
        others = self._others if now < self._others_until else 0.0
        return max(_LEAST_SHARE * self.limit, self.limit - others) / _MINUTE_S

    def _refill(self, now: float) -> None:
        if now > self._at:
            if self._at > -math.inf:
                self._level = min(self.limit, self._level + (now - self._at) * self._per_s(self._at))
            self._at = now

    def spend(self, now: float, amount: float) -> Spend:
        """Take ``amount`` at ``now``."""
        self._refill(now)
        self._level -= amount
        self._recent = self.used(now) + amount
        self._recent_at = now
        return Spend(amount)

    def correct(self, spend: Spend, amount: float) -> None:
        """Refund or charge the difference once the true amount is known."""
        self._level = min(self.limit, self._level + spend.amount - amount)
        self._recent = max(0.0, self._recent + amount - spend.amount)
        spend.amount = amount

    def used(self, now: float) -> float:
        """What this client spent in the last minute, taken to leave it evenly: for other clients to know."""
        return self._recent * max(0.0, 1.0 - (now - self._recent_at) / _MINUTE_S)

    def others_spent(self, at: float, amount: float) -> None:
        """Other clients had spent ``amount`` in the minute before ``at``: replaces what was known of them."""
        self._refill(at)
        self._others, self._others_until = amount, at + _MINUTE_S
        self._level = min(self._level, max(_LEAST_SHARE * self.limit, self.limit - amount))

    def left(self, now: float, amount: float) -> None:
        """The server said that so much was left: believed where the books differ by more than its word is old."""
        self._refill(now)
        if self._level > amount + max(1.0, _STALE_SHARE * self.limit):
            self._level = amount

    def refused(self, now: float) -> None:
        """The server refused a call: nothing is left."""
        self._refill(now)
        self._level = min(self._level, 0.0)

    def wait_s(self, now: float, amount: float, order: Order | None = None) -> float:
        """Seconds until ``amount`` may be spent, after what waits and is more urgent than ``order``; 0: now."""
        self._refill(now)
        if order is not None and self._orders:
            amount += sum(self._ahead[: bisect_left(self._orders, order)])
        missing = min(amount, self.limit) - self._level
        return 0.0 if missing <= _ENOUGH else missing / self._per_s(now)

    def enter(self, order: Order, amount: float) -> None:
        """A call waits for ``amount``."""
        place = bisect_left(self._orders, order)
        self._orders.insert(place, order)
        self._ahead.insert(place, amount)

    def leave(self, order: Order) -> None:
        """It does so no longer."""
        place = bisect_left(self._orders, order)
        if place < len(self._orders) and self._orders[place] == order:
            del self._orders[place], self._ahead[place]
