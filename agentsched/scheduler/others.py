"""What other clients have at the endpoints, as far as somebody told of it; it fades when nobody does any more."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from agentsched.scheduler.events import OthersSeen

__all__ = ["Others"]

Array = NDArray[np.float64]

_FADED = 0.01
"""Below this weight what was told is forgotten."""

_IN_FLIGHT, _STAKE = 0, 2


class Others:
    """Rows: calls in flight, prompt tokens awaiting a first token, stake, mean stake, stake times tokens awaited."""

    def __init__(self, index: Mapping[str, int]) -> None:
        self._index = index
        self._rows: Array = np.zeros((5, len(index)))
        self._good_until = self._forgotten_at = -math.inf
        self._fades_s = 1.0

    def seen(self, event: OthersSeen, own_in_flight: Array, own_stakes: Array) -> None:
        """Replace what was known. ``own_stakes``, shape (3, n): this client's rows of stakes.

        A stake nobody tells is taken to be what an own call has at stake on average.
        """
        running = float(own_in_flight.sum())
        usual = own_stakes.sum(axis=1) / running if running > 0.0 else np.zeros(3)
        rows = np.zeros_like(self._rows)
        for load in event.loads:
            i = self._index.get(load.endpoint)
            if i is None:
                continue
            rows[_IN_FLIGHT, i], rows[1, i] = max(0.0, load.in_flight), max(0.0, load.prefill_tokens)
            if load.stake_per_s is None:
                rows[_STAKE:, i] = usual * rows[_IN_FLIGHT, i]
            else:
                mean = load.stake_per_s if load.stake_mean_per_s is None else load.stake_mean_per_s
                rows[_STAKE:, i] = load.stake_per_s, mean, load.stake_per_s * (load.stake_tokens or 0.0)
        self._rows = rows
        self._good_until, self._fades_s = event.at + event.good_s, max(1e-3, event.fades_s)
        self._forgotten_at = self._good_until - self._fades_s * math.log(_FADED) if rows.any() else -math.inf

    def known(self, now: float) -> bool:
        """Whether anything is still believed of others."""
        return now < self._forgotten_at

    def rows(self, now: float) -> Array:
        """Shape (5, n): what is believed of others now."""
        return self._rows * min(1.0, math.exp((self._good_until - now) / self._fades_s))
