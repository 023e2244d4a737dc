"""What this client knows of every endpoint: one row each, kept as arrays so that a decision reads them at once."""

import heapq
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from agentsched.core.decision import EndpointStates
from agentsched.core.endpoint import Endpoint, Profile
from agentsched.core.load import EndpointLoad
from agentsched.core.rules import BreakerRules
from agentsched.forecast.endpoint_latency import LatencyFactors, aged
from agentsched.forecast.latency import KNOWN_SPREAD, PACE_MEMORY_S
from agentsched.scheduler.cold_start import mean_profile, peers, untold
from agentsched.scheduler.coverage import Coverage
from agentsched.scheduler.events import OthersSeen
from agentsched.scheduler.others import Others
from agentsched.scheduler.rate_bucket import Order, RateBucket, Spend

__all__ = ["EndpointTable"]

Array = NDArray[np.float64]

_TPOT_TAU_S = 1.0
"""Time constant of the token-pace average, seconds (DESIGN.md section 10)."""

_EXCESS_DECAY_S = 5.0
"""How fast an observed excess of TTFT over its prediction is forgotten, seconds."""

_SLOW_COUNT = 40.0
"""Calls over which the slow corrections of a profile (pace, idle TTFT) average; the profile itself counts as one."""

_MISFIT_COUNT = 16.0
"""Answers over which the misfit of predictions averages."""

_MOST_MISFIT = 2.0
"""Log-factors beyond this count as this: one stall says little about the next call."""

_SPEED_HALF_LIFE_S = 21_600.0
"""What was learned of a speed and is not confirmed fades toward the profile with this half-life, seconds."""

_AGE_EVERY_S = 60.0

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


_STAKE_TAU_S = 20.0
"""Time constant of the mean stakes, seconds (DESIGN.md section 10)."""

_LEAST_STAKE = 1e-12

_SEEN_AT, _EXCESS, _READY, _ERRORS, _STAKE, _STAKE_TOKENS, _QUEUE_STAKE = 4, 5, 10, 14, 15, 17, 18
"""Rows that are not shown as they are kept: positions among the fields of EndpointStates."""


class EndpointTable:
    """Ledger rows of a pool's endpoints. Pure state: every method that needs the time is given it."""

    def __init__(self, endpoints: Sequence[Endpoint], breaker: BreakerRules) -> None:
        self.endpoints = tuple(endpoints)
        self.index = {endpoint.name: i for i, endpoint in enumerate(self.endpoints)}
        self._breaker = breaker
        count = len(self.endpoints)

        def row(value: float = 0.0) -> Array:
            return np.full(count, value)

        def column(*values: float) -> Array:
            return np.array(values, dtype=np.float64)

        profiles = [endpoint.profile for endpoint in self.endpoints]
        self._prior_alone_s = [p.tpot_s for p in profiles]
        self._prior_per_batch_s = [p.tpot_per_batch_s for p in profiles]
        self._prior_ttft_s = [max(1e-3, p.ttft_s) for p in profiles]
        self._age_at = -math.inf
        self._seen = np.stack(  # in the order of the fields of EndpointStates, so that one look gathers them all
            [
                row(),
                row(),
                column(*self._prior_alone_s),
                row(1.0),
                row(-np.inf),
                row(),
                column(*self._prior_alone_s),
                column(*self._prior_per_batch_s),
                column(*(p.prefill_tokens_per_s for p in profiles)),
                column(*(p.ttft_s for p in profiles)),
                row(),
                column(*(e.price.input * 1e-6 for e in self.endpoints)),
                column(*(e.price.output * 1e-6 for e in self.endpoints)),
                column(*(e.quality for e in self.endpoints)),
                row(),
                row(),
                row(),
                row(),
                row(),
                column(*(e.max_concurrency or np.inf for e in self.endpoints)),
                column(*(60.0 / e.rpm if e.rpm else 0.0 for e in self.endpoints)),
                column(*(60.0 / e.tpm if e.tpm else 0.0 for e in self.endpoints)),
            ]
        )
        self.in_flight, self.prefill_tokens, self.tpot_s, self.tpot_in_flight, self.seen_at = self._seen[:5]
        self.excess_ttft_s, self.tpot_alone_s, self.tpot_per_batch_s = self._seen[5:8]
        self.prefill_tokens_per_s, self.ttft_idle_s, self.error_rate = self._seen[8], self._seen[9], self._seen[14]
        self.stake_per_s, self.stake_mean_per_s, self._stake_tokens = self._seen[15:18]  # the last: stake * tokens
        self.queue_stake_per_s, self._queue_stake_mean_per_s = self._seen[18], row()
        self._stakes_at = -math.inf
        self.others, self.coverage = Others(self.index), Coverage()
        self.pace_scale, self.pace_count, self.ttft_count = [1.0] * count, [1.0] * count, [1.0] * count
        self.heard, self.misfit = [0] * count, [KNOWN_SPREAD**2] * count
        self._factors = [LatencyFactors() for _ in self.endpoints]
        self.excess_at, self._failed_at = row(), row(-np.inf)
        self.slots = self._seen[19]
        self.service_s, self.waiting = row(1.0), row()
        self.limits_in_row, self.failures_in_row = [0] * count, [0] * count
        self.cooldown_s, self.probing = [breaker.cooldown_s] * count, [False] * count
        self.blocked_until, self.open_until, self.told_until = row(-np.inf), row(-np.inf), row(-np.inf)
        self.request_buckets = [None if e.rpm is None else RateBucket(e.rpm) for e in self.endpoints]
        self.token_buckets = [None if e.tpm is None else RateBucket(e.tpm) for e in self.endpoints]
        self._limited = [i for i, e in enumerate(self.endpoints) if e.rpm is not None or e.tpm is not None]
        self._bounded = any(e.max_concurrency is not None for e in self.endpoints)
        self._closed_until = self._errors_until = -math.inf
        self._unseen_prefill: list[tuple[float, int, float, int]] = []
        self._emptied = [0] * count
        self._strangers = untold(self.endpoints)
        self._take_strangers_for_others()

    def states(self, indices: NDArray[np.intp], ready_in_s: Array, now: float) -> EndpointStates:
        """The rows ``indices`` as a policy sees them."""
        self._drop_finished_prefill(now)
        if now >= self._age_at:
            self._age(now)
        seen = self._seen.take(indices, axis=1)
        seen[_SEEN_AT] = now - seen[_SEEN_AT]
        seen[_EXCESS] *= np.exp((self.excess_at[indices] - now) / _EXCESS_DECAY_S)
        seen[_READY] = ready_in_s
        if now < self._errors_until:
            seen[_ERRORS] *= np.maximum(0.0, 1.0 - (now - self._failed_at[indices]) / _ERROR_MEMORY_S)
        else:
            seen[_ERRORS] = 0.0
        in_flight_all, prefill_all = seen[0], seen[1]
        if self.others.known(now):
            others = self.others.rows(now).take(indices, axis=1)
            in_flight_all, prefill_all = in_flight_all + others[0], prefill_all + others[1]
            seen[_STAKE : _STAKE_TOKENS + 1] += others[2:]
            seen[_EXCESS] = np.maximum(seen[_EXCESS], self._behind_others_s(indices, in_flight_all))
        seen[_STAKE_TOKENS] /= np.maximum(seen[_STAKE], _LEAST_STAKE)
        seen[_QUEUE_STAKE] = np.maximum(seen[_QUEUE_STAKE], self._queue_stake_mean_per_s[indices])
        return EndpointStates(*(*seen, in_flight_all, prefill_all))

    def _behind_others_s(self, indices: NDArray[np.intp], in_flight_all: Array) -> Array:
        """Expected seconds until a server whose slots others have taken too has one for one more call.

        It is priced, not waited for here: nothing tells this client when the slot of another one becomes free.
        """
        slots = self.slots[indices]
        beyond = np.maximum(0.0, in_flight_all + 1.0 - slots)
        behind: Array = beyond * self.service_s[indices] / slots
        return behind

    def pace(self, now: float) -> Array:
        """Believed seconds per output token of the calls that run at each endpoint, shape (endpoints,)."""
        own, count = self.in_flight, self.in_flight
        if self.others.known(now):
            count = own + self.others.rows(now)[0]
        profile = self.tpot_alone_s + self.tpot_per_batch_s * count
        seen = np.maximum(0.8 * self.tpot_alone_s, self.tpot_s + self.tpot_per_batch_s * (own - self.tpot_in_flight))
        result: Array = profile + np.exp((self.seen_at - now) / PACE_MEMORY_S) * (seen - profile)
        return result

    # -- stakes ------------------------------------------------------------------------------------------------------

    def add_stake(self, i: int, per_s: float, per_s_tokens: float) -> None:
        """A call with this loss per second (and that times its tokens) starts or, both negative, ends."""
        self.stake_per_s[i] = max(0.0, self.stake_per_s[i] + per_s)
        self._stake_tokens[i] = max(0.0, self._stake_tokens[i] + per_s_tokens)

    def add_queue_stake(self, i: int, per_s: float) -> None:
        """A call with this loss per second begins or, if negative, ceases to wait for a place."""
        self.queue_stake_per_s[i] = max(0.0, self.queue_stake_per_s[i] + per_s)

    def refresh_stakes(self, endpoint: NDArray[np.intp], per_s: Array, per_s_tokens: Array, now: float) -> None:
        """All running calls' losses, worked out anew; the means move on by the time since the last time."""
        step = 0.0 if self._stakes_at == -math.inf else -math.expm1((self._stakes_at - now) / _STAKE_TAU_S)
        self._stakes_at = now
        self.stake_mean_per_s += step * (self.stake_per_s - self.stake_mean_per_s)
        self._queue_stake_mean_per_s += step * (self.queue_stake_per_s - self._queue_stake_mean_per_s)
        count = len(self.endpoints)
        self.stake_per_s[:] = np.bincount(endpoint, per_s, count)
        self._stake_tokens[:] = np.bincount(endpoint, per_s_tokens, count)

    def loads(self) -> tuple[EndpointLoad, ...]:
        """What this client has at each endpoint: what it tells other clients."""
        rows = zip(
            self.endpoints,
            self.in_flight.tolist(),
            self.prefill_tokens.tolist(),
            self.stake_per_s.tolist(),
            self.stake_mean_per_s.tolist(),
            self._stake_tokens.tolist(),
            strict=True,
        )
        return tuple(
            EndpointLoad(endpoint.name, n, prefill, stake, mean, tokens / max(stake, _LEAST_STAKE))
            for endpoint, n, prefill, stake, mean, tokens in rows
        )

    def others_seen(self, event: OthersSeen) -> None:
        """Somebody told what other clients have."""
        self.others.seen(event, self.in_flight, self._seen[_STAKE : _STAKE_TOKENS + 1])

    def told(self, i: int, *, closed_until: float, requests: float, tokens: float, at: float) -> None:
        """Others said, at ``at``, until when to leave the endpoint alone and what they spent there: replaces both."""
        self.told_until[i] = closed_until
        self._closed_until = max(self._closed_until, closed_until)
        for bucket, amount in ((self.request_buckets[i], requests), (self.token_buckets[i], tokens)):
            if bucket is not None:
                bucket.others_spent(at, amount)

    def learned_pace(self, i: int, alone_s: float, count: float) -> None:
        """Others learned, from ``count`` answers, the time per output token of a call that is alone."""
        self._scale_pace(i, alone_s / self._prior_alone_s[i])
        self.pace_count[i] = 1.0 + count

    def learned_ttft(self, i: int, idle_s: float, count: float) -> None:
        """Others learned, from ``count`` answers, the time to first token when idle."""
        self.ttft_idle_s[i], self.ttft_count[i] = idle_s, 1.0 + count

    # -- readiness ---------------------------------------------------------------------------------------------------

    def closed_s(
        self, indices: NDArray[np.intp], tokens: float, now: float, order: Order | None = None
    ) -> Array | None:
        """Seconds until limits and breaker of each row let one more call of ``tokens`` tokens pass. None: all do.

        Calls that wait there already and are more urgent than ``order`` go first.
        """
        if now >= self._closed_until and not self._limited:
            return None
        until = np.maximum(self.blocked_until[indices], self.open_until[indices])
        until = np.maximum(until, self.told_until[indices])
        closed: Array = np.maximum(0.0, until - now)
        if self._limited:
            for k, i in enumerate(indices):
                closed[k] = max(closed[k], self._limit_wait_s(int(i), tokens, now, order))
        return closed

    def queue_s(self, indices: NDArray[np.intp]) -> Array | None:
        """Expected seconds until each row has a free slot, from how long its answers take. None: all slots are free."""
        if not self._bounded:
            return None
        queue = (1.0 + self.waiting[indices]) * self.service_s[indices] / self.slots[indices]
        full = self.in_flight[indices] >= self.slots[indices]
        result: Array = np.where(full, np.maximum(queue, _SHORTEST_QUEUE_S), 0.0)
        return result

    def spent(self, i: int, now: float) -> tuple[float, float]:
        """Requests and tokens of this client in the last 60 s, as far as they are limited."""
        requests, tokens = self.request_buckets[i], self.token_buckets[i]
        return 0.0 if requests is None else requests.used(now), 0.0 if tokens is None else tokens.used(now)

    def full(self, i: int) -> bool:
        """Whether every slot is taken."""
        return bool(self.in_flight[i] >= self.slots[i])

    def _limit_wait_s(self, i: int, tokens: float, now: float, order: Order | None) -> float:
        requests, total = self.request_buckets[i], self.token_buckets[i]
        return max(
            0.0 if requests is None else requests.wait_s(now, 1.0, order),
            0.0 if total is None else total.wait_s(now, tokens, order),
        )

    def enter_queue(self, i: int, order: Order, tokens: float, stake_per_s: float) -> None:
        """A call of so many tokens waits for the endpoint, and loses this much per second by it."""
        self.waiting[i] += 1.0
        self.add_queue_stake(i, stake_per_s)
        for bucket, amount in ((self.request_buckets[i], 1.0), (self.token_buckets[i], tokens)):
            if bucket is not None:
                bucket.enter(order, amount)

    def leave_queue(self, i: int, order: Order, stake_per_s: float) -> None:
        """It does so no longer."""
        self.waiting[i] -= 1.0
        self.add_queue_stake(i, -stake_per_s)
        for bucket in (self.request_buckets[i], self.token_buckets[i]):
            if bucket is not None:
                bucket.leave(order)

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

    # -- attempts ----------------------------------------------------------------------------------------------------

    def begin(self, i: int, input_tokens: float, tokens: float, now: float) -> Spend | None:
        """An attempt starts: it takes a slot, a request and its expected tokens; returns the tokens to be corrected."""
        self.in_flight[i] += 1.0
        self.prefill_tokens[i] += input_tokens
        requests, total = self.request_buckets[i], self.token_buckets[i]
        if requests is not None:
            requests.spend(now, 1.0)
        if self.failures_in_row[i] >= self._breaker.failures:
            self.probing[i] = True
            self._open(i, now)
        return None if total is None else total.spend(now, tokens)

    def expect_prefill_done(self, i: int, input_tokens: float, at: float) -> None:
        """For an answer whose first token will not be seen: take its prompt as read at ``at``."""
        heapq.heappush(self._unseen_prefill, (at, i, input_tokens, self._emptied[i]))

    def _drop_finished_prefill(self, now: float) -> None:
        unseen = self._unseen_prefill
        while unseen and unseen[0][0] <= now:
            _, i, tokens, emptied = heapq.heappop(unseen)
            if emptied == self._emptied[i]:
                self.prefill_done(i, tokens)

    def prefill_done(self, i: int, input_tokens: float) -> None:
        """A first token came, or the attempt ended without one."""
        self.prefill_tokens[i] = max(0.0, self.prefill_tokens[i] - input_tokens)

    def end(self, i: int, spend: Spend | None, tokens: float | None) -> None:
        """An attempt ended: its slot is free; its tokens are corrected to ``tokens`` where they are known."""
        self.in_flight[i] = max(0.0, self.in_flight[i] - 1.0)
        bucket = self.token_buckets[i]
        if bucket is not None and spend is not None and tokens is not None:
            bucket.correct(spend, tokens)
        if self.in_flight[i] == 0.0:
            self.prefill_tokens[i] = 0.0
            self._emptied[i] += 1

    # -- learning ----------------------------------------------------------------------------------------------------

    def saw_first_token(self, i: int, ttft_s: float, unloaded_s: float, crowd: float, now: float) -> None:
        """TTFT seen: the excess over ``unloaded_s`` (idle base + own prefill) is load; without a crowd it is base."""
        self.heard[i] += 1
        excess = ttft_s - unloaded_s
        held = self.excess_ttft_s[i] * math.exp((self.excess_at[i] - now) / _EXCESS_DECAY_S)
        self.excess_ttft_s[i] = max(0.0, 0.5 * held + 0.5 * excess)
        self.excess_at[i] = now
        self.seen_at[i] = now
        if crowd <= 2.0:
            self.ttft_count[i] = min(self.ttft_count[i] + 1.0, _SLOW_COUNT)
            self.ttft_idle_s[i] = max(1e-3, self.ttft_idle_s[i] + excess / self.ttft_count[i])

    def excess_s(self, i: int, now: float) -> float:
        """What first tokens there take beyond what the profile explains, seconds, as last seen and decayed to now."""
        return float(self.excess_ttft_s[i]) * math.exp((float(self.excess_at[i]) - now) / _EXCESS_DECAY_S)

    def saw_pace(self, i: int, tokens: float, seconds: float, now: float) -> None:
        """``tokens`` came in ``seconds`` on one stream: the pace of everybody there, averaged over about a second."""
        if tokens <= 0.0 or seconds <= 0.0:
            return
        pace, joined = seconds / tokens, max(1.0, self.in_flight.item(i))
        believed = math.exp((self.seen_at.item(i) - now) / _TPOT_TAU_S)
        weight = max(1.0 - believed, min(1.0, seconds / _TPOT_TAU_S) / joined)
        self.tpot_s[i] += weight * (pace - self.tpot_s[i])
        self.tpot_in_flight[i] += weight * (joined - self.tpot_in_flight[i])
        self.seen_at[i] = now
        expected = self._prior_alone_s[i] + self._prior_per_batch_s[i] * joined
        self.pace_count[i] = min(self.pace_count[i] + 1.0, _SLOW_COUNT)
        ratio = min(50.0, max(0.02, pace / expected))
        self._scale_pace(i, self.pace_scale[i] * (ratio / self.pace_scale[i]) ** (1.0 / self.pace_count[i]))

    def _scale_pace(self, i: int, scale: float) -> None:
        self.pace_scale[i] = scale
        self.tpot_alone_s[i] = self._prior_alone_s[i] * scale
        self.tpot_per_batch_s[i] = self._prior_per_batch_s[i] * scale

    def saw_misfit(self, i: int, factor: float) -> None:
        """An answer took ``factor`` times what was predicted for its length: how far to trust the next prediction."""
        self._factors[i].saw(factor)
        off = min(_MOST_MISFIT, abs(math.log(factor)))
        self.misfit[i] += (off * off - self.misfit[i]) / _MISFIT_COUNT

    def spread(self, i: int) -> float:
        """Log-standard-deviation of latencies around their predictions at row ``i``, for known lengths."""
        return math.sqrt(self.misfit[i])

    def factors(self, i: int) -> Array:
        """Quantiles of actual over predicted times at row ``i``, for known lengths, ascending, shape (QUANTILES,)."""
        return self._factors[i].quantiles()

    def _age(self, now: float) -> None:
        """Let the learned speeds of endpoints that gave no token lately fade toward their profiles."""
        since_s, self._age_at = now - self._age_at + _AGE_EVERY_S, now + _AGE_EVERY_S
        if since_s == math.inf:
            return
        for i in range(len(self.endpoints)):
            unseen_s = min(since_s, now - self.seen_at.item(i))
            if self.heard[i] and unseen_s >= _AGE_EVERY_S:
                self._scale_pace(i, aged(self.pace_scale[i], 1.0, unseen_s, _SPEED_HALF_LIFE_S))
                self.pace_count[i] = aged(self.pace_count[i], 1.0, unseen_s, _SPEED_HALF_LIFE_S)
                self.ttft_idle_s[i] = aged(
                    self.ttft_idle_s.item(i), self._prior_ttft_s[i], unseen_s, _SPEED_HALF_LIFE_S
                )
                self.ttft_count[i] = aged(self.ttft_count[i], 1.0, unseen_s, _SPEED_HALF_LIFE_S)

    def saw_service(self, i: int, seconds: float) -> None:
        """An answer took ``seconds``: what a waiting call may expect of a full endpoint."""
        self.service_s[i] += 0.1 * (seconds - self.service_s[i])
        if self._strangers:
            self._take_strangers_for_others()

    def _take_strangers_for_others(self) -> None:
        """Who was neither described nor heard of is believed to be as fast as the rest of the pool."""
        self._strangers = [i for i in self._strangers if not self.heard[i] and self.pace_count[i] <= 1.0]
        known = [i for i in range(len(self.endpoints)) if i not in self._strangers]
        for i in self._strangers if known else ():
            alike = mean_profile([self._profile(k) for k in peers(self.endpoints, i, known)])
            self._prior_alone_s[i], self._prior_per_batch_s[i] = alike.tpot_s, alike.tpot_per_batch_s
            self.tpot_s[i], self._prior_ttft_s[i] = alike.tpot_s, max(1e-3, alike.ttft_s)
            self._scale_pace(i, 1.0)
            self.prefill_tokens_per_s[i], self.ttft_idle_s[i] = alike.prefill_tokens_per_s, alike.ttft_s

    def _profile(self, i: int) -> Profile:
        """What is believed of row ``i`` when it is idle."""
        figures = (self.ttft_idle_s, self.tpot_alone_s, self.tpot_per_batch_s, self.prefill_tokens_per_s)
        return Profile(*(figure.item(i) for figure in figures))

    # -- health ------------------------------------------------------------------------------------------------------

    def errors(self, i: int, now: float) -> float:
        """The recent share of failed attempts, in [0, 1]."""
        fade = max(0.0, 1.0 - (now - float(self._failed_at[i])) / _ERROR_MEMORY_S)
        return float(self.error_rate[i]) * fade

    def succeeded(self, i: int) -> bool:
        """An attempt came to a good end; answers whether this closed an open breaker."""
        was_open = self.failures_in_row[i] >= self._breaker.failures
        self.error_rate[i] -= self.error_rate[i] / _ERROR_COUNT
        self.failures_in_row[i] = self.limits_in_row[i] = 0
        self.cooldown_s[i] = self._breaker.cooldown_s
        self.open_until[i] = -np.inf
        self.probing[i] = False
        return was_open

    def failed(self, i: int, now: float) -> bool:
        """An attempt failed through the endpoint's fault; answers whether this opened the breaker (anew)."""
        rate = self.errors(i, now)
        self.error_rate[i] = rate + (1.0 - rate) / _ERROR_COUNT
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
