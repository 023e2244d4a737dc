"""What goes into an instance and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from agentsched.core.value import value

__all__ = ["Emission", "Load", "Rejection", "RejectionReason", "Request", "ServingModel", "Span"]

RejectionReason = Literal["context_length", "unavailable", "rate_limited", "queue_full"]


@value()
class Request:
    """One generation as the instance sees it: sizes, urgency and cacheable blocks, no text.

    Attributes:
        request_id: unique among the requests that the instance holds.
        prompt_tokens: length of the prompt, at least 1.
        output_tokens: tokens that will be generated, at least 1 (the instance does not tell them to anyone before).
        priority: urgency under the priority policy; which end is more urgent is the instance's setting.
        prompt_chain: hashes of the prompt's full blocks, each covering everything before it (see ``block_chain``).
        output_chain: hashes of the further blocks that prompt plus output will fill.
        ready_tokens: leading prompt tokens whose cache comes with the request, from an instance that read them.
    """

    request_id: str
    prompt_tokens: int
    output_tokens: int
    priority: int = 0
    prompt_chain: tuple[int, ...] = ()
    output_chain: tuple[int, ...] = ()
    ready_tokens: int = 0

    def __post_init__(self) -> None:
        if self.prompt_tokens < 1 or self.output_tokens < 1:
            raise ValueError(
                f"request {self.request_id!r}: prompt_tokens and output_tokens must be at least 1, "
                f"got {self.prompt_tokens} and {self.output_tokens}"
            )


@value()
class Rejection:
    """Why a request was not taken.

    Attributes:
        reason: the kind of refusal.
        detail: a sentence for the caller.
        retry_after_s: seconds after which it may work; None when it never will.
    """

    reason: RejectionReason
    detail: str
    retry_after_s: float | None = None


@value()
class Span:
    """A run of steps with one batch, each ``growth_s`` longer than the one before (the KV cache grows).

    Attributes:
        start_s: instant the first step began.
        first_step_s: seconds of the first step.
        growth_s: seconds that each step takes longer than its predecessor.
    """

    start_s: float
    first_step_s: float
    growth_s: float

    def end_of(self, step: int) -> float:
        """Return the instant at which the given step (counted from 1; 0 is the start) ends."""
        return self.start_s + step * self.first_step_s + self.growth_s * (step * (step - 1) * 0.5)

    def steps_by(self, now: float, limit: int) -> int:
        """Return how many of the first ``limit`` steps have ended at ``now``."""
        if now >= self.end_of(limit):
            return limit
        elapsed = now - self.start_s
        if elapsed < self.first_step_s:
            guess = 0
        elif self.growth_s <= 0.0:
            guess = int(elapsed / self.first_step_s)
        else:
            linear = self.first_step_s - 0.5 * self.growth_s
            guess = int(2.0 * elapsed / (linear + (linear * linear + 2.0 * self.growth_s * elapsed) ** 0.5))
        # The closed form can be off by one in the last bit; `end_of` decides, so that skipping and stepping agree.
        while guess > 0 and self.end_of(guess) > now:
            guess -= 1
        while guess < limit and self.end_of(guess + 1) <= now:
            guess += 1
        return guess

    def steps_begun_before(self, instant: float, limit: int) -> int:
        """Return how many of the first ``limit`` steps begin before the instant."""
        ended = self.steps_by(instant, limit)
        return min(limit, ended if self.end_of(ended) == instant else ended + 1)


@value()
class Emission:
    """What one or more consecutive steps with the same batch produced.

    Every request in ``decoded`` gained one token at each of ``due_s(1) .. due_s(steps)``; every one in ``prefilled``
    gained exactly one, its first since it was (re-)admitted, at ``due_s(1)`` (then ``steps`` is 1).

    Attributes:
        span: the timing of the steps.
        skipped: steps of the span that an earlier emission reported.
        steps: steps reported here; 0 when only ``failed`` is told.
        decoded: requests that gained a token in every step; empty if the consumer asked for milestones only.
        prefilled: requests whose prompt was finished by the step.
        cached_tokens: for each of ``prefilled``, its prompt tokens found in the prefix cache at first admission.
        finished: requests that got their last token at ``end_s``.
        preempted: requests thrown back to the queue before the step; they continue later.
        failed: requests lost to a failure of the instance at ``end_s``.
    """

    span: Span
    skipped: int
    steps: int
    decoded: tuple[str, ...] = ()
    prefilled: tuple[str, ...] = ()
    cached_tokens: tuple[int, ...] = ()
    finished: tuple[str, ...] = ()
    preempted: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    def due_s(self, step: int) -> float:
        """Return the instant at which the tokens of the given step (1 to ``steps``) exist."""
        return self.span.end_of(self.skipped + step)

    @property
    def end_s(self) -> float:
        """The instant of the last step."""
        return self.span.end_of(self.skipped + self.steps)


@dataclass(frozen=True, slots=True)
class Load:
    """A look at what an instance holds, as its own ``/metrics`` would tell it.

    Attributes:
        running: requests that hold a slot.
        waiting: requests in the queue.
        kv_used_tokens: key/value tokens in use by running requests.
        kv_tokens: key/value tokens there are; 0 when unknown.
        cached_tokens: tokens in the prefix cache.
        prefix_queried_tokens: prompt tokens looked up in the prefix cache since the start.
        prefix_hit_tokens: those found there.
        prompt_tokens: prompt tokens prefilled or found since the start.
        output_tokens: tokens generated since the start.
        preemptions: requests thrown back to the queue since the start.
    """

    running: int
    waiting: int
    kv_used_tokens: int = 0
    kv_tokens: int = 0
    cached_tokens: int = 0
    prefix_queried_tokens: int = 0
    prefix_hit_tokens: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    preemptions: int = 0


class ServingModel(Protocol):
    """Anything that turns requests into tokens over time; driven by a simulator or by a live server.

    Calls must not go back in time. Between them the driver sleeps (live) or jumps (simulated) to ``next_step_at`` or
    ``next_event_at`` and collects what happened with ``advance``.
    """

    def submit(self, request: Request, now: float) -> Rejection | None:
        """Take a request at ``now``; a returned rejection means that it was not taken."""

    def abort(self, request_id: str, now: float) -> bool:
        """Forget a request and free what it holds at once; False if it is not there (any more)."""

    def next_step_at(self) -> float | None:
        """Return the instant of the next token of any request; None when idle."""

    def next_event_at(self) -> float | None:
        """Return the instant of the next change worth a look (first token, finish, failure); None when idle."""

    def advance(self, now: float) -> list[Emission]:
        """Return everything that happened up to ``now`` and was not reported yet, in order."""

    def generated(self, request_id: str) -> int | None:
        """Return the tokens generated so far, as of the last call; None for an unknown request."""

    def slow_down(self, factor: float, start_s: float, until_s: float) -> None:
        """Multiply the seconds of everything that starts in the interval by ``factor``."""

    def fail(self, start_s: float, until_s: float) -> None:
        """Lose every request at ``start_s`` and take none before ``until_s``."""

    def load(self) -> Load:
        """Return what the model holds, as of the last call."""
