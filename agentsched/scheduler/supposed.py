"""What other clients may be supposed to have where nobody tells: what this one has, times their number.

That much holds on average, as clients of one service are alike. Of the moment the pace of own tokens tells more: a
server decodes in a + b * batch seconds, so the pace gives away the batch, and with it how many calls there are not
one's own. What each of them has at stake is taken from own calls.
"""

import math

import numpy as np
from numpy.typing import NDArray

from agentsched.forecast.latency import PACE_MEMORY_S

__all__ = ["IN_FLIGHT", "PREFILL", "QUEUE_STAKE", "ROWS", "STAKE", "Supposed"]

Array = NDArray[np.float64]

ROWS, IN_FLIGHT, PREFILL, STAKE, QUEUE_STAKE = 6, 0, 1, 2, 5
"""Rows of what clients have: calls in flight, prompt tokens awaiting a first token, stake, mean stake, stake times
tokens awaited, stake of the calls that wait for a place."""

_MEAN_TAU_S = 120.0
"""Time constant of the means of what this client has, seconds: at any instant it has little at each endpoint."""

_POOLED_CALLS = 0.5
"""What calls have at stake is taken from own ones at the same endpoint, with so many of the whole pool added: which
endpoints serve those that have little to lose is what clients agree on without a word."""

_LEAST_CALLS = 1e-9


class Supposed:
    """Keeps the means of what this client has, and the batches that paces gave away.

    Args:
        count: endpoints.

    Attributes:
        rows: shape (ROWS, count): what all other clients together are supposed to have now.
        usual_in_flight: shape (count,): the calls that they are supposed to have there on average.
    """

    def __init__(self, count: int) -> None:
        self.rows: Array = np.zeros((ROWS, count))
        self.usual_in_flight: Array = np.zeros(count)
        self._mean: Array = np.zeros((ROWS, count))
        self._seen_beside: Array = np.zeros(count)
        self._since = self._at = -math.inf

    def saw_beside(self, i: int, calls: float, weight: float) -> None:
        """A pace gave away that so many calls are decoded beside the own ones; ``weight``: how much newer that is."""
        self._seen_beside[i] += weight * (calls - self._seen_beside[i])

    def look(self, own: Array, clients: int, seen_age_s: Array, now: float) -> None:
        """Suppose anew.

        Args:
            own: shape (ROWS, count), what this client has now.
            clients: how many others there are.
            seen_age_s: shape (count,), seconds since a pace was last seen; inf: paces tell nothing there.
            now: the instant.
        """
        if self._at == -math.inf:
            self._since = self._at = now
        took_s, age_s, self._at = now - self._at, now - self._since, now
        step = 1.0 if age_s <= 0.0 else max(took_s / age_s, -math.expm1(-took_s / _MEAN_TAU_S))
        self._mean += min(1.0, step) * (own - self._mean)
        mean, running = self._mean, self._mean[IN_FLIGHT]
        usual = mean.sum(axis=1) / max(_LEAST_CALLS, float(running.sum()))
        self.usual_in_flight = clients * running
        fresh = np.exp(seen_age_s / -PACE_MEMORY_S)
        beside = fresh * np.maximum(0.0, self._seen_beside) + (1.0 - fresh) * self.usual_in_flight
        rows: Array = (mean + _POOLED_CALLS * usual[:, None]) * (beside / (running + _POOLED_CALLS))
        rows[IN_FLIGHT], rows[QUEUE_STAKE] = beside, clients * mean[QUEUE_STAKE]
        self.rows = rows
