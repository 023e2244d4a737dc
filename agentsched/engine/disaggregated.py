"""A pair of instances, one that reads prompts and one that decodes, seen as one endpoint.

This is prefill/decode disaggregation as in DistServe (Zhong et al. 2024) and Splitwise (Patel et al. 2024). The prefill
instance reads the prompt and makes the first token. The key/value cache then travels to the decode instance over a link
of its own (a fixed latency, and tokens per second; transfers do not disturb one another), and the rest of the answer is
decoded there in batches that no prompt interrupts. The step that makes the second token also computes the first token's
own cache entry, which the transfer does not hold. Not modelled: the memory that a finished prompt keeps on the prefill
instance until its transfer is over, and prefills held back because the decoder is full.
"""

from __future__ import annotations

from dataclasses import replace
from heapq import heappop, heappush

from agentsched.engine.instance import Instance, Scheduling
from agentsched.engine.profile import DisaggregatedProfile
from agentsched.engine.request import Emission, Load, Rejection, Request, Span

__all__ = ["DisaggregatedPair"]


class DisaggregatedPair:
    """A prefill instance and a decode instance behind one address (implements `ServingModel`).

    Args:
        profile: both halves and the link between them.
        scheduling: the order of both waiting queues.
        max_waiting: requests that the prefill instance may hold beyond its slots; None is unbounded.
        detail: as for `Instance`.
    """

    def __init__(
        self,
        profile: DisaggregatedProfile,
        *,
        scheduling: Scheduling = "lower_first",
        max_waiting: int | None = None,
        detail: bool = True,
    ) -> None:
        self.profile = profile
        self.prefill = Instance(profile.prefill, scheduling=scheduling, max_waiting=max_waiting, detail=detail)
        # The request has passed the front end already.
        self.decode = Instance(replace(profile.decode, frontend_s=0.0), scheduling=scheduling, detail=detail)
        self._requests: dict[str, Request] = {}
        self._moving: list[tuple[float, int, str]] = []
        self._moves = 0
        self._on_the_way: set[str] = set()
        self._pending: list[Emission] = []

    # What a driver calls ---------------------------------------------------------------------------------------------

    def submit(self, request: Request, now: float) -> Rejection | None:
        """Take a request at ``now``.

        Raises:
            ValueError: the id is in use, or ``now`` lies in the past.
        """
        self._settle(now)
        if request.request_id in self._requests:
            raise ValueError(f"request id {request.request_id!r} is in use")
        total, limit = request.prompt_tokens + request.output_tokens, self.profile.context_limit_tokens
        if total > limit:
            return Rejection("context_length", f"prompt and output need {total} tokens, the limit is {limit}")
        refusal = self.prefill.submit(replace(request, output_tokens=1, output_chain=()), now)
        if refusal is None:
            self._requests[request.request_id] = request
        return refusal

    def abort(self, request_id: str, now: float) -> bool:
        """Forget a request, wherever it is; a cache on its way is thrown away."""
        self._settle(now)
        if self._requests.pop(request_id, None) is None:
            return False
        self._on_the_way.discard(request_id)
        return self.prefill.abort(request_id, now) or self.decode.abort(request_id, now) or True

    def next_step_at(self) -> float | None:
        """Return the instant of the next token of any request, or of a transfer's end before it; None when idle."""
        return self._soonest(self.prefill.next_step_at(), self.decode.next_step_at())

    def next_event_at(self) -> float | None:
        """Return the instant of the next change of either half; None when idle."""
        return self._soonest(self.prefill.next_event_at(), self.decode.next_event_at())

    def advance(self, now: float) -> list[Emission]:
        """Return everything that happened up to ``now`` and was not reported yet, in order.

        Raises:
            ValueError: ``now`` lies in the past.
        """
        self._settle(now)
        emissions, self._pending = self._pending, []
        emissions.sort(key=lambda emission: emission.end_s)
        return emissions

    def generated(self, request_id: str) -> int | None:
        """Return the output tokens generated so far, as of the last call; None for an unknown request."""
        if request_id not in self._requests:
            return None
        if request_id in self._on_the_way:
            return 1
        reading = self.prefill.generated(request_id)
        return reading if reading is not None else 1 + (self.decode.generated(request_id) or 0)

    def slow_down(self, factor: float, start_s: float, until_s: float) -> None:
        """Make every step of both halves that starts in the interval last ``factor`` times as long."""
        self.prefill.slow_down(factor, start_s, until_s)
        self.decode.slow_down(factor, start_s, until_s)

    def fail(self, start_s: float, until_s: float) -> None:
        """Lose both halves, and every cache that arrives in between; take no request before ``until_s``."""
        self.prefill.fail(start_s, until_s)
        self.decode.fail(start_s, until_s)

    def load(self) -> Load:
        """Return what both halves hold; a request whose cache is on its way counts as waiting."""
        first, second = self.prefill.load(), self.decode.load()
        return Load(
            running=first.running + second.running,
            waiting=first.waiting + second.waiting + len(self._on_the_way),
            kv_used_tokens=first.kv_used_tokens + second.kv_used_tokens,
            kv_tokens=first.kv_tokens + second.kv_tokens,
            cached_tokens=first.cached_tokens + second.cached_tokens,
            prefix_queried_tokens=first.prefix_queried_tokens,
            prefix_hit_tokens=first.prefix_hit_tokens,
            prompt_tokens=first.prompt_tokens,
            output_tokens=first.output_tokens + second.output_tokens,
            preemptions=first.preemptions + second.preemptions,
        )

    def check_invariants(self) -> None:
        """Check both halves.

        Raises:
            InvariantViolated: see `Instance.check_invariants`.
        """
        self.prefill.check_invariants()
        self.decode.check_invariants()

    def __repr__(self) -> str:
        return f"DisaggregatedPair({self.prefill!r}, {self.decode!r}, moving={len(self._on_the_way)})"

    # From one half to the other --------------------------------------------------------------------------------------

    def _soonest(self, *instants: float | None) -> float | None:
        moving = [self._moving[0][0]] if self._moving else []
        return min((at for at in (*instants, *moving) if at is not None), default=None)

    def _settle(self, now: float) -> None:
        """Let everything happen up to ``now``; nothing goes back from the decoder, so the prefill goes first."""
        for emission in self.prefill.advance(now):
            self._prompts_read(emission)
        while self._moving and self._moving[0][0] <= now:
            at, _, request_id = heappop(self._moving)
            if request_id in self._on_the_way:
                self._collect(at)
                self._arrive(request_id, at)
        self._collect(now)

    def _prompts_read(self, emission: Emission) -> None:
        """Pass on what the prefill instance did, and send off the caches of what is to be decoded."""
        done = []
        for request_id in emission.finished:
            request = self._requests[request_id]
            if request.output_tokens == 1:
                done.append(request_id)
                del self._requests[request_id]
                continue
            self._moves += 1
            self._on_the_way.add(request_id)
            heappush(
                self._moving, (emission.end_s + self.profile.transfer_s(request.prompt_tokens), self._moves, request_id)
            )
        self._lost(emission.failed)
        if len(done) < len(emission.finished):
            emission = replace(emission, finished=tuple(done))
        self._pending.append(emission)

    def _arrive(self, request_id: str, at: float) -> None:
        """A cache has arrived: its request joins the decoder as one whose prompt is known but for the first token."""
        self._on_the_way.discard(request_id)
        request = self._requests[request_id]
        refusal = self.decode.submit(
            Request(
                request_id,
                prompt_tokens=request.prompt_tokens + 1,
                output_tokens=request.output_tokens - 1,
                priority=request.priority,
                ready_tokens=request.prompt_tokens,
            ),
            at,
        )
        if refusal is not None:
            self._lost((request_id,))
            self._pending.append(Emission(Span(at, 0.0, 0.0), 0, 0, failed=(request_id,)))

    def _collect(self, now: float) -> None:
        for emission in self.decode.advance(now):
            for request_id in emission.finished:
                del self._requests[request_id]
            self._lost(emission.failed)
            if emission.prefilled:  # to whoever reads the answer these are further tokens
                emission = replace(
                    emission, decoded=(*emission.decoded, *emission.prefilled), prefilled=(), cached_tokens=()
                )
            self._pending.append(emission)

    def _lost(self, request_ids: tuple[str, ...]) -> None:
        for request_id in request_ids:
            del self._requests[request_id]
