"""What keeps calls out of an endpoint: its slots and rate limits, the rests it asked for, and the breaker."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from agentsched.core.endpoint import Endpoint
from agentsched.core.rules import BreakerRules
from agentsched.scheduler.endpoint_rows import EndpointRows, figures
from agentsched.scheduler.rate_bucket import Order, RateBucket, Spend

__all__ = ["EndpointGates"]

Array = NDArray[np.float64]

_ERROR_COUNT = 8.0
"""Attempts over which the error rate averages."""

_ERROR_MEMORY_S = 60.0
"""An error rate fades to nothing in this time if no attempt fails, seconds: who is avoided could never show better."""

_FIRST_REST_S = 1.0
"""Rest after a 429 that does not say for how long, seconds; doubled at each further one."""

_LONGEST_REST_S = 30.0
"""Longest such rest, seconds."""

_MOST_DOUBLINGS = 16

_SHORTEST_QUEUE_S = 1e-3
"""A full endpoint is never expected to be free at once, seconds."""


class EndpointGates:
    """Opens and shuts the gates of a pool's endpoints.

    Args:
        endpoints: the pool, with its slots and limits.
        rows: its rows: slots taken, error rates.
        breaker: when an endpoint that fails is left alone.
    """

    def __init__(self, endpoints: Sequence[Endpoint], rows: EndpointRows, breaker: BreakerRules) -> None:
        self._rows, self._breaker = rows, breaker
        count = len(endpoints)

        def row(value: float) -> Array:
            return np.full(count, value)

        self.service_s, self.waiting = row(1.0), row(0.0)
        self.limits_in_row, self.failures_in_row = [0] * count, [0] * count
        self.cooldown_s, self.probing = [breaker.cooldown_s] * count, [False] * count
        self.blocked_until, self.open_until, self.told_until = row(-np.inf), row(-np.inf), row(-np.inf)
        self.request_buckets = [None if e.rpm is None else RateBucket(e.rpm) for e in endpoints]
        self.token_buckets = [None if e.tpm is None else RateBucket(e.tpm) for e in endpoints]
        self._in_flight, self._slots = figures(rows.in_flight), figures(rows.slots)
        self._error_rate, self._service_s = figures(rows.error_rate), figures(self.service_s)
        self._failed_at = row(-np.inf)
        self._limited = dict.fromkeys(i for i, e in enumerate(endpoints) if e.rpm is not None or e.tpm is not None)
        self._full = 0  # how many endpoints have no free slot
        self._closed_until = self._errors_until = -math.inf

    # -- may a call pass? ----------------------------------------------------------------------------------------------

    def closed_s(
        self, indices: NDArray[np.intp], tokens: float, now: float, order: Order | None = None, *, hearsay: bool = True
    ) -> Array | None:
        """Seconds until limits and breaker of each row let one more call of ``tokens`` tokens pass. None: all do.

        Calls that wait there already and are more urgent than ``order`` go first. ``hearsay``: whether what other
        clients said of rests and breakers counts.
        """
        if now < self._closed_until:
            until = np.maximum(self.blocked_until[indices], self.open_until[indices])
            if hearsay:
                until = np.maximum(until, self.told_until[indices])
            closed: Array = np.maximum(0.0, until - now)
        elif self._limited:
            closed = np.zeros(indices.size)
        else:
            return None
        if self._limited:
            for k, i in enumerate(indices.tolist()):
                if i in self._limited and (wait_s := self._limit_wait_s(i, tokens, now, order)) > closed[k]:
                    closed[k] = wait_s
        return closed

    def queue_s(self, indices: NDArray[np.intp]) -> Array | None:
        """Expected seconds until each row has a free slot, from how long its answers take. None: all slots are free."""
        if self._full == 0:
            return None
        full = self._rows.in_flight[indices] >= self._rows.slots[indices]
        if not np.count_nonzero(full):
            return None
        queue = (1.0 + self.waiting[indices]) * self.service_s[indices] / self._rows.slots[indices]
        result: Array = np.where(full, np.maximum(queue, _SHORTEST_QUEUE_S), 0.0)
        return result

    def spent(self, i: int, now: float) -> tuple[float, float]:
        """Requests and tokens of this client in the last 60 s, as far as they are limited."""
        requests, tokens = self.request_buckets[i], self.token_buckets[i]
        return 0.0 if requests is None else requests.used(now), 0.0 if tokens is None else tokens.used(now)

    def full(self, i: int) -> bool:
        """Whether every slot is taken."""
        return self._in_flight[i] >= self._slots[i]

    def _limit_wait_s(self, i: int, tokens: float, now: float, order: Order | None) -> float:
        requests, total = self.request_buckets[i], self.token_buckets[i]
        return max(
            0.0 if requests is None else requests.wait_s(now, 1.0, order),
            0.0 if total is None else total.wait_s(now, tokens, order),
        )

    def on_trial(self, candidates: Iterable[int], now: float) -> int | None:
        """The first of these rows whose breaker is open and that a call tries at the moment; None: there is none."""
        for i in candidates:
            alive = self._rows.in_flight[i] > 0  # a trial that was cancelled said nothing, and is over
            if self.probing[i] and alive and self.blocked_until[i] <= now < self.open_until[i]:
                return i
        return None

    # -- waiting, spending ---------------------------------------------------------------------------------------------

    def enter_queue(self, i: int, order: Order, tokens: float) -> None:
        """A call of so many tokens waits for the endpoint."""
        self.waiting[i] += 1.0
        for bucket, amount in ((self.request_buckets[i], 1.0), (self.token_buckets[i], tokens)):
            if bucket is not None:
                bucket.enter(order, amount)

    def leave_queue(self, i: int, order: Order) -> None:
        """It does so no longer."""
        self.waiting[i] -= 1.0
        for bucket in (self.request_buckets[i], self.token_buckets[i]):
            if bucket is not None:
                bucket.leave(order)

    def begin(self, i: int, tokens: float, now: float) -> Spend | None:
        """An attempt starts: it takes a slot, a request and its expected tokens; returns the tokens to be corrected."""
        self._in_flight[i] += 1.0
        self._full += self._in_flight[i] == self._slots[i]
        requests, total = self.request_buckets[i], self.token_buckets[i]
        if requests is not None:
            requests.spend(now, 1.0)
        if self.failures_in_row[i] >= self._breaker.failures:
            self.probing[i] = True
            self._open(i, now)
        return None if total is None else total.spend(now, tokens)

    def end(self, i: int, spend: Spend | None, tokens: float | None) -> None:
        """An attempt ended: its slot is free; its tokens are corrected to ``tokens`` where they are known."""
        self._full -= self._in_flight[i] == self._slots[i]
        self._in_flight[i] -= 1.0
        bucket = self.token_buckets[i]
        if bucket is not None and spend is not None and tokens is not None:
            bucket.correct(spend, tokens)

    def told(self, i: int, *, closed_until: float, requests: float, tokens: float, at: float) -> None:
        """Others said, at ``at``, until when to leave the endpoint alone and what they spent there: replaces both."""
        self.told_until[i] = closed_until
        self._closed_until = max(self._closed_until, closed_until)
        for bucket, amount in ((self.request_buckets[i], requests), (self.token_buckets[i], tokens)):
            if bucket is not None:
                bucket.others_spent(at, amount)

    def others_spend_alike(self, clients: int, now: float) -> None:
        """Suppose that each of so many other clients spent as much of every limit as this one did."""
        for i in self._limited:
            for bucket in (self.request_buckets[i], self.token_buckets[i]):
                if bucket is not None:
                    bucket.others_spent(now, clients * bucket.used(now))

    def told_limits(self, i: int, limits: Iterable[tuple[float | None, float | None]], now: float) -> None:
        """A server told what is left of requests and of tokens, and the seconds until each limit is whole again.

        Where the limit is configured its bucket takes that as its level: the next unit comes long before the limit is
        whole. Where it is not, an endpoint with nothing left is left in peace until then.
        """
        for bucket, (remaining, reset_s) in zip((self.request_buckets[i], self.token_buckets[i]), limits, strict=True):
            if remaining is None:
                continue
            if bucket is not None:
                bucket.left(now, remaining)
            elif remaining <= 0 and reset_s is not None:
                self.rest(i, reset_s, now)

    def saw_service(self, i: int, seconds: float) -> None:
        """An answer took ``seconds``: what a waiting call may expect of a full endpoint."""
        self._service_s[i] += 0.1 * (seconds - self._service_s[i])

    # -- health --------------------------------------------------------------------------------------------------------

    def errors(self, i: int, now: float) -> float:
        """The recent share of failed attempts, in [0, 1]."""
        fade = max(0.0, 1.0 - (now - float(self._failed_at[i])) / _ERROR_MEMORY_S)
        return self._error_rate[i] * fade

    def errors_all(self, indices: NDArray[np.intp], now: float) -> Array | None:
        """What `errors` is for each of the rows ``indices``, shape (indices,). None: none failed lately."""
        if now >= self._errors_until:
            return None
        fade = np.maximum(0.0, 1.0 - (now - self._failed_at[indices]) / _ERROR_MEMORY_S)
        rates: Array = self._rows.error_rate[indices] * fade
        return rates

    def succeeded(self, i: int) -> bool:
        """An attempt came to a good end; answers whether this closed an open breaker."""
        was_open = self.failures_in_row[i] >= self._breaker.failures
        self._error_rate[i] -= self._error_rate[i] / _ERROR_COUNT
        self.failures_in_row[i] = self.limits_in_row[i] = 0
        self.cooldown_s[i] = self._breaker.cooldown_s
        self.open_until[i] = -np.inf
        self.probing[i] = False
        return was_open

    def failed(self, i: int, now: float) -> bool:
        """An attempt failed through the endpoint's fault; answers whether this opened the breaker (anew)."""
        rate = self.errors(i, now)
        self._error_rate[i] = rate + (1.0 - rate) / _ERROR_COUNT
        self._failed_at[i] = now
        self._errors_until = now + _ERROR_MEMORY_S
        was_open = self.failures_in_row[i] >= self._breaker.failures
        self.failures_in_row[i] += 1
        if self.failures_in_row[i] < self._breaker.failures:
            return False
        probed, self.probing[i] = self.probing[i], False
        if probed:
            self.cooldown_s[i] = min(2.0 * self.cooldown_s[i], self._breaker.max_cooldown_s)
        self._open(i, now)
        return probed or not was_open

    def _open(self, i: int, now: float) -> None:
        self.open_until[i] = until = now + self.cooldown_s[i]
        self._closed_until = max(self._closed_until, until)

    def limited(self, i: int, retry_after_s: float | None, now: float) -> None:
        """A 429: the endpoint is left in peace for as long as it asked, or for ever longer if it does not say.

        Answers that come while it already rests belong to the same burst and make the rest no longer.
        """
        for bucket in (self.request_buckets[i], self.token_buckets[i]):
            if bucket is not None:
                bucket.refused(now)
        resting = bool(now < self.blocked_until[i])
        if retry_after_s is None:
            doublings = min(self.limits_in_row[i], _MOST_DOUBLINGS)
            retry_after_s = 0.0 if resting else min(_LONGEST_REST_S, _FIRST_REST_S * 2.0**doublings)
        if not resting:
            self.limits_in_row[i] += 1
        self.rest(i, retry_after_s, now)

    def rest(self, i: int, seconds: float, now: float) -> None:
        """Nothing is sent to the endpoint for this long."""
        self.blocked_until[i] = until = max(self.blocked_until[i], now + max(0.0, seconds))
        self._closed_until = max(self._closed_until, until)
