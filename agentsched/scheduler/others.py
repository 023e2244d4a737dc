"""What other clients have at the endpoints: as somebody told of it, and where nobody did, as may be supposed."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from agentsched.scheduler.events import OthersSeen
from agentsched.scheduler.supposed import IN_FLIGHT, PREFILL, QUEUE_STAKE, ROWS, STAKE, Supposed

__all__ = ["Others"]

Array = NDArray[np.float64]

_FADED = 0.01
"""Below this weight what was told is forgotten."""


class Others:
    """What was told fades when nobody tells it any more. What is supposed of the others takes its place.

    Args:
        index: column of each endpoint, by name.
        clients: how many clients use the endpoints, this one included, as far as that is configured; 1: nothing is
            supposed of others until some have told of themselves.

    Attributes:
        count: how many others there are that something may be supposed of.
    """

    def __init__(self, index: Mapping[str, int], clients: int = 1) -> None:
        self._index = index
        self._configured = self.count = clients - 1
        self._told: Array = np.zeros((ROWS, len(index)))
        self._supposed = Supposed(len(index))
        self._good_until = self._forgotten_at = -math.inf
        self._fades_s = 1.0

    def seen(self, event: OthersSeen, own_in_flight: Array, own_stakes: Array) -> None:
        """Replace what was told. ``own_stakes``, shape (3, n): this client's rows of stakes.

        A stake nobody tells is taken to be what an own call has at stake on average.
        """
        running = float(own_in_flight.sum())
        usual = own_stakes.sum(axis=1) / running if running > 0.0 else np.zeros(3)
        rows = np.zeros_like(self._told)
        for load in event.loads:
            i = self._index.get(load.endpoint)
            if i is None:
                continue
            rows[IN_FLIGHT, i], rows[PREFILL, i] = max(0.0, load.in_flight), max(0.0, load.prefill_tokens)
            rows[QUEUE_STAKE, i] = load.queue_stake_per_s
            if load.stake_per_s is None:
                rows[STAKE:QUEUE_STAKE, i] = usual * rows[IN_FLIGHT, i]
            else:
                mean = load.stake_per_s if load.stake_mean_per_s is None else load.stake_mean_per_s
                rows[STAKE:QUEUE_STAKE, i] = load.stake_per_s, mean, load.stake_per_s * (load.stake_tokens or 0.0)
        self._told = rows
        self._good_until, self._fades_s = event.at + event.good_s, max(1e-3, event.fades_s)
        told = rows.any() or bool(event.clients)  # that nobody has anything is news, too
        self._forgotten_at = self._good_until - self._fades_s * math.log(_FADED) if told else -math.inf
        if event.clients is not None:
            self.count = event.clients or self._configured

    def known(self, now: float) -> bool:
        """Whether anything is believed of others."""
        return self.count > 0 or now < self._forgotten_at

    def trust(self, now: float) -> float:
        """How far what was told is still believed, in [0, 1]."""
        return 0.0 if now >= self._forgotten_at else min(1.0, math.exp((self._good_until - now) / self._fades_s))

    def rows(self, now: float) -> Array:
        """Shape (ROWS, n): what is believed of others now."""
        trust = self.trust(now)
        told = trust * self._told
        return told + (1.0 - trust) * self._supposed.rows if self.count and trust < 1.0 else told

    def in_flight(self, i: int, now: float) -> float:
        """Calls of others that are believed to run at endpoint ``i`` now."""
        return self._in_flight(i, self._supposed.rows[IN_FLIGHT], now)

    def usual_in_flight(self, i: int, now: float) -> float:
        """The same, but on average where nobody tells: a pace that gave them away does not count."""
        return self._in_flight(i, self._supposed.usual_in_flight, now)

    def _in_flight(self, i: int, supposed: Array, now: float) -> float:
        trust = self.trust(now)
        told = trust * self._told.item(IN_FLIGHT, i) if trust else 0.0
        return told + (1.0 - trust) * supposed.item(i) if self.count else told

    def saw_beside(self, i: int, calls: float, weight: float) -> None:
        """A pace gave away that so many calls are decoded at endpoint ``i`` beside the own ones."""
        self._supposed.saw_beside(i, calls, weight)

    def suppose(self, own: Array, seen_age_s: Array, now: float) -> None:
        """Suppose anew of others, from what this client has: as `Supposed.look`."""
        if self.count:
            self._supposed.look(own, self.count, seen_age_s, now)
