"""A hosted API: latency drawn at random, limits on requests and tokens, no batch to be seen."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf, log

import numpy as np

from agentsched.engine.interruptions import Outages, Slowdowns
from agentsched.engine.profile import HostedProfile
from agentsched.engine.ratelimit import RateLimit
from agentsched.engine.request import Emission, Load, Rejection, Request, Span

__all__ = ["HostedApi"]


class _Stream:
    """One call: a first token at ``span.start_s``, then one per step of the span."""

    __slots__ = ("generated", "number", "request", "span")

    def __init__(self, request: Request, number: int, span: Span) -> None:
        self.request = request
        self.number = number
        self.span = span
        self.generated = 0

    def due_s(self, token: int) -> float:
        return self.span.end_of(token - 1)


class HostedApi:
    """A hosted API (implements `ServingModel`).

    Time to first token is lognormal, now and then with an exponential stall in front; time per output token is
    lognormal per call. A slowdown multiplies both for the calls that start in it.

    Args:
        profile: its distributions and limits.
        rng: the source of its chance.
        limit: its rate limit; None takes the profile's.
        detail: report every token; without it only first tokens, finishes and failures.
    """

    def __init__(
        self,
        profile: HostedProfile,
        rng: np.random.Generator,
        *,
        limit: RateLimit | None = None,
        detail: bool = True,
    ) -> None:
        self.profile = profile
        self.limit = limit or RateLimit(profile.requests_per_minute, profile.tokens_per_minute)
        self._rng = rng
        self._detail = detail
        self._streams: dict[str, _Stream] = {}
        self._due: list[tuple[float, int, _Stream]] = []
        self._slowdowns = Slowdowns()
        self._outages = Outages()
        self._down_until = -inf
        self._pending: list[Emission] = []
        self._now = -inf
        self._count = 0
        self._prompt_tokens = self._output_tokens = 0

    def submit(self, request: Request, now: float) -> Rejection | None:
        """Take a request at ``now``, or refuse it (429 in HTTP terms) when a limit is spent.

        Raises:
            ValueError: the id is in use, or ``now`` lies in the past.
        """
        self._settle(now)
        if request.request_id in self._streams:
            raise ValueError(f"request id {request.request_id!r} is in use")
        refusal = self._refusal(request, now)
        if refusal is not None:
            return refusal
        self._count += 1
        self._prompt_tokens += request.prompt_tokens
        stream = _Stream(request, self._count, self._draw(request, now))
        self._streams[request.request_id] = stream
        self._schedule(stream)
        return None

    def abort(self, request_id: str, now: float) -> bool:
        """Forget a request; False if it is not there (any more)."""
        self._settle(now)
        return self._streams.pop(request_id, None) is not None

    def next_step_at(self) -> float | None:
        """Return the instant of the next token (with ``detail``, else of the next milestone); None when idle."""
        while self._due and self._due[0][2] is not self._streams.get(self._due[0][2].request.request_id):
            heappop(self._due)
        soonest = min(self._due[0][0] if self._due else inf, self._outages.next_start_s if self._streams else inf)
        return soonest if soonest < inf else None

    def next_event_at(self) -> float | None:
        """Return the instant of the next token or milestone, as `next_step_at`."""
        return self.next_step_at()

    def advance(self, now: float) -> list[Emission]:
        """Return everything that happened up to ``now`` and was not reported yet, in order.

        Raises:
            ValueError: ``now`` lies in the past.
        """
        self._settle(now)
        emissions, self._pending = self._pending, []
        return emissions

    def generated(self, request_id: str) -> int | None:
        """Return the output tokens generated so far, as of the last call; None for an unknown request."""
        stream = self._streams.get(request_id)
        if stream is None:
            return None
        if self._now < stream.due_s(1):
            return 0
        return 1 + stream.span.steps_by(self._now, stream.request.output_tokens - 1)

    def slow_down(self, factor: float, start_s: float, until_s: float) -> None:
        """Multiply the latency of calls that start in the interval.

        Raises:
            ValueError: the factor is not positive or the interval is empty.
        """
        self._slowdowns.add(factor, start_s, until_s)

    def fail(self, start_s: float, until_s: float) -> None:
        """Lose every call at ``start_s`` and take none before ``until_s``.

        Raises:
            ValueError: the interval is empty.
        """
        self._outages.add(start_s, until_s)

    def load(self) -> Load:
        """Return what is in flight, as of the last call."""
        return Load(
            running=len(self._streams),
            waiting=0,
            prompt_tokens=self._prompt_tokens,
            output_tokens=self._output_tokens,
        )

    def __repr__(self) -> str:
        return f"HostedApi({self.profile.name!r}, running={len(self._streams)})"

    def _refusal(self, request: Request, now: float) -> Rejection | None:
        if now < self._down_until:
            return Rejection("unavailable", "the service is down", self._down_until - now)
        total = request.prompt_tokens + request.output_tokens
        if total > self.profile.max_context_tokens:
            detail = f"prompt and output need {total} tokens, the limit is {self.profile.max_context_tokens}"
            return Rejection("context_length", detail)
        wait_s = self.limit.take(now, total)
        return Rejection("rate_limited", "rate limit reached", wait_s) if wait_s > 0 else None

    def _draw(self, request: Request, now: float) -> Span:
        profile, rng = self.profile, self._rng
        ttft_s = float(rng.lognormal(log(profile.ttft_median_s), profile.ttft_sigma))
        if rng.random() < profile.stall_probability:
            ttft_s += float(rng.exponential(profile.stall_mean_s))
        if profile.prefill_tokens_per_s is not None:
            ttft_s += request.prompt_tokens / profile.prefill_tokens_per_s
        tpot_s = float(rng.lognormal(log(profile.tpot_median_s), profile.tpot_sigma))
        factor = self._slowdowns.factor_at(now)
        return Span(now + factor * ttft_s, factor * tpot_s, 0.0)

    def _schedule(self, stream: _Stream) -> None:
        last = stream.request.output_tokens
        token = stream.generated + 1 if self._detail or stream.generated == 0 else last
        heappush(self._due, (stream.due_s(token), stream.number, stream))

    def _settle(self, now: float) -> None:
        if now < self._now:
            raise ValueError(f"time went back: {now} after {self._now}")
        while True:
            due = self._due[0][0] if self._due else inf
            outage = self._outages.next_start_s
            if outage <= now and outage < due:
                self._begin_outage(outage)
            elif due <= now:
                self._emit(heappop(self._due)[2])
            else:
                break
        self._now = now

    def _emit(self, stream: _Stream) -> None:
        request_id = stream.request.request_id
        if self._streams.get(request_id) is not stream:  # aborted
            return
        target = stream.generated + 1 if self._detail or stream.generated == 0 else stream.request.output_tokens
        steps = target - stream.generated
        first = stream.generated == 0
        stream.generated = target
        self._output_tokens += steps
        done = (request_id,) if target == stream.request.output_tokens else ()
        if done:
            del self._streams[request_id]
        else:
            self._schedule(stream)
        if first:
            span = Span(stream.span.start_s, 0.0, 0.0)
            self._pending.append(Emission(span, 0, 1, (), (request_id,), (0,), done))
        else:
            decoded = (request_id,) if self._detail else ()
            self._pending.append(Emission(stream.span, target - 1 - steps, steps, decoded, finished=done))

    def _begin_outage(self, at: float) -> None:
        self._down_until = max(self._down_until, self._outages.begin())
        lost = tuple(self._streams)
        self._streams.clear()
        self._due.clear()
        if lost:
            self._pending.append(Emission(Span(at, 0.0, 0.0), 0, 0, failed=lost))
