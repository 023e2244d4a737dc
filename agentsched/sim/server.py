"""One endpoint on virtual time: an engine, its network, and the faults that befall it."""

from collections.abc import Callable
from math import inf
from typing import NamedTuple, Protocol

import numpy as np

from agentsched.core.call import Failure, FailureKind, Usage
from agentsched.endpoints.limits import Limits, limits_of
from agentsched.engine.hosted import HostedApi
from agentsched.engine.request import Emission, Rejection, Request, ServingModel
from agentsched.sim.plan import CallPlan
from agentsched.sim.pool_format import Faults
from agentsched.sim.timeline import Timeline

__all__ = ["Befallen", "Listener", "Server"]

_PATIENCE = 0.25
"""How long telling of tokens waits for an instant at which the engine is looked at anyway, in reporting intervals."""


class Listener(Protocol):
    """Who sent a request hears of it, a network delay later; requests it has cancelled may still be told of."""

    def progressed(self, attempts: list[tuple[str, int]]) -> None:
        """Tokens so far of some attempts."""

    def finished(self, attempt_id: str, usage: Usage) -> None:
        """The answer is whole."""

    def failed(self, attempt_id: str, failure: Failure) -> None:
        """There will be no (whole) answer."""

    def limited(self, endpoint: str, limits: Limits) -> None:
        """The server said that a limit is used up."""


class Befallen(NamedTuple):
    """A fault that came: when, until when, and how many times slower it made everything; None: it was an outage."""

    at: float
    until: float
    factor: float | None


class _Request:
    """One request that the engine holds."""

    __slots__ = ("cached_tokens", "listener", "plan", "streams", "told_tokens")

    def __init__(self, plan: CallPlan, listener: Listener, streams: bool) -> None:
        self.plan, self.listener, self.streams = plan, listener, streams
        self.cached_tokens = 0
        self.told_tokens = 0


class Server:
    """An endpoint as its clients reach it.

    Args:
        name: the endpoint's name.
        model: the engine.
        timeline: virtual time.
        network_s: seconds each way.
        progress_s: clients are told of further tokens this often, seconds.
        block_tokens: tokens per block of the engine's prefix cache; None: it has none.

    Attributes:
        befallen: the faults so far.
    """

    def __init__(
        self,
        name: str,
        model: ServingModel,
        timeline: Timeline,
        *,
        network_s: float,
        progress_s: float,
        block_tokens: int | None,
    ) -> None:
        self.name, self.model = name, model
        self.befallen: list[Befallen] = []
        self._timeline, self._network_s, self._progress_s = timeline, network_s, progress_s
        self._block_tokens = block_tokens
        self._held: dict[str, _Request] = {}
        self._wake_at = inf
        self._flowing = self._ticking = False
        self._due_at = 0.0

    # -- what clients do ---------------------------------------------------------------------------------------------

    def send(self, attempt_id: str, plan: CallPlan, prefix: int, *, streams: bool, listener: Listener) -> None:
        """A client sends a request; its prompt's blocks are numbered from ``prefix`` on."""
        at = self._timeline.now + self._network_s
        self._timeline.at(at, self._arrive, attempt_id, _Request(plan, listener, streams), prefix)

    def withdraw(self, attempt_id: str) -> None:
        """A client closes the connection of a request."""
        self._timeline.at(self._timeline.now + self._network_s, self._abort, attempt_id)

    def _arrive(self, attempt_id: str, held: _Request, prefix: int) -> None:
        now, plan = self._timeline.now, held.plan
        size = self._block_tokens
        request = Request(
            request_id=attempt_id,
            prompt_tokens=plan.input_tokens,
            output_tokens=plan.output_tokens,
            prompt_chain=() if size is None else tuple(range(prefix, prefix + plan.input_tokens // size)),
        )
        rejection = self.model.submit(request, now)
        if rejection is None:
            self._held[attempt_id] = held
            self._tell_limits(held.listener)
        else:
            self._tell(now, held.listener.failed, attempt_id, _refusal(rejection))
        self._look(now)

    def _abort(self, attempt_id: str) -> None:
        if self._held.pop(attempt_id, None) is not None:
            self.model.abort(attempt_id, self._timeline.now)
            self._look(self._timeline.now)

    # -- what the engine does ----------------------------------------------------------------------------------------

    def _wake(self, at: float) -> None:
        if at == self._wake_at:
            self._wake_at = inf
            self._look(at)
            # A wake-up is the end of a step, or the token of a hosted API: a good instant to tell of tokens.
            if self._flowing and at >= self._due_at:
                self._tell_progress(at)

    def _look(self, now: float) -> None:
        """Pass on what the engine did, and come again when it will have done more."""
        for emission in self.model.advance(now):
            self._pass_on(emission)
        at = self.model.next_event_at()
        if at is not None and at < self._wake_at:
            self._wake_at = at
            self._timeline.at(at, self._wake, at)

    def _pass_on(self, emission: Emission) -> None:
        end_s = emission.end_s
        for attempt_id, cached in zip(emission.prefilled, emission.cached_tokens, strict=True):
            held = self._held.get(attempt_id)
            if held is not None and held.told_tokens == 0:
                held.told_tokens, held.cached_tokens = 1, cached
                if held.streams:
                    self._tell(end_s, held.listener.progressed, [(attempt_id, 1)])
                    self._begin_to_flow()
        for attempt_id in emission.finished:
            held = self._held.pop(attempt_id, None)
            if held is not None:
                usage = Usage(held.plan.input_tokens, held.plan.output_tokens, held.cached_tokens)
                self._tell(end_s, held.listener.finished, attempt_id, usage)
        for attempt_id in emission.failed:
            held = self._held.pop(attempt_id, None)
            if held is not None:
                self._tell(end_s, held.listener.failed, attempt_id, _lost(held))

    def _tell(self, at: float, say: Callable[..., None], *what: object) -> None:
        self._timeline.at(max(at, self._timeline.now) + self._network_s, say, *what)

    def _tell_limits(self, listener: Listener) -> None:
        """A hosted API says with its answer what is left of its limits; only a limit that is used up matters."""
        if isinstance(self.model, HostedApi):
            limits = limits_of(self.model.limit.headers(self._timeline.now))
            if limits is not None:
                self._tell(self._timeline.now, listener.limited, self.name, limits)

    # -- progress ----------------------------------------------------------------------------------------------------

    def _begin_to_flow(self) -> None:
        if not self._flowing:
            self._flowing = True
            self._due_at = self._timeline.now + self._progress_s
            if not self._ticking:
                self._keep_ticking()

    def _keep_ticking(self) -> None:
        self._ticking = True
        self._timeline.at(self._due_at + _PATIENCE * self._progress_s, self._tick)

    def _tick(self) -> None:
        """Nobody may have looked at the engine for a while: then tell of tokens when the step in progress ends."""
        now = self._timeline.now
        self._ticking = False
        if self._flowing and now >= self._due_at:
            self._look(now)
            at = None if isinstance(self.model, HostedApi) else self.model.next_step_at()
            if at is not None:
                self._timeline.at(at, self._look_and_tell)
                self._due_at = at + self._progress_s
            else:
                self._tell_progress(now)
        if self._flowing:
            self._keep_ticking()

    def _look_and_tell(self) -> None:
        self._look(self._timeline.now)
        self._tell_progress(self._timeline.now)

    def _tell_progress(self, now: float) -> None:
        """Tell of the tokens that there are by the look that was just taken."""
        self._due_at = now + self._progress_s
        self._flowing = False
        told: dict[Listener, list[tuple[str, int]]] = {}
        for attempt_id, held in self._held.items():
            if held.told_tokens == 0 or not held.streams:
                continue
            self._flowing = True
            tokens = self.model.generated(attempt_id)
            if tokens is not None and tokens > held.told_tokens:
                held.told_tokens = tokens
                told.setdefault(held.listener, []).append((attempt_id, tokens))
        for listener, attempts in told.items():
            self._tell(now, listener.progressed, attempts)

    # -- faults ------------------------------------------------------------------------------------------------------

    def befall(self, faults: Faults, slow_rng: np.random.Generator, down_rng: np.random.Generator) -> None:
        """Let faults happen to it from now on, at instants that depend on nothing but the generators."""
        if faults.slowdown is not None:
            self._await_slowdown(faults, slow_rng)
        if faults.failure is not None:
            self._await_failure(faults, down_rng)

    def plan_fault(self, at: float, until: float, factor: float | None) -> None:
        """Let it be down, or slower by a factor, in this interval of the future."""
        self._timeline.in_background(at, self._begin_fault, until, factor)

    def _begin_fault(self, until: float, factor: float | None) -> None:
        now = self._timeline.now
        self.befallen.append(Befallen(now, until, factor))
        if factor is None:
            self.model.fail(now, until)
        else:
            self.model.slow_down(factor, now, until)
        self._look(now)

    def _await_slowdown(self, faults: Faults, rng: np.random.Generator) -> None:
        assert faults.slowdown is not None
        at = self._timeline.now + float(rng.exponential(faults.slowdown.every))
        self._timeline.in_background(at, self._slow_down, faults, rng)

    def _slow_down(self, faults: Faults, rng: np.random.Generator) -> None:
        assert faults.slowdown is not None
        self._begin_fault(self._timeline.now + faults.slowdown.duration, faults.slowdown.factor)
        self._await_slowdown(faults, rng)

    def _await_failure(self, faults: Faults, rng: np.random.Generator) -> None:
        assert faults.failure is not None
        at = self._timeline.now + float(rng.exponential(faults.failure.every))
        self._timeline.in_background(at, self._fail, faults, rng)

    def _fail(self, faults: Faults, rng: np.random.Generator) -> None:
        assert faults.failure is not None
        self._begin_fault(self._timeline.now + faults.failure.duration, None)
        self._await_failure(faults, rng)

    # -- for tests ---------------------------------------------------------------------------------------------------

    @property
    def empty(self) -> bool:
        """Whether neither the server nor its engine holds anything."""
        load = self.model.load()
        return not self._held and load.running == 0 and load.waiting == 0

    def __repr__(self) -> str:
        return f"Server({self.name!r}, held={len(self._held)}, model={self.model!r})"


def _refusal(rejection: Rejection) -> Failure:
    """What a live client makes of the emulator's answer to the same refusal."""
    if rejection.reason == "context_length":
        return Failure(FailureKind.CLIENT, "HTTP 400", 400)
    if rejection.reason == "rate_limited":
        return Failure(FailureKind.RATE_LIMITED, "HTTP 429", 429, rejection.retry_after_s)
    return Failure(FailureKind.SERVER, "HTTP 503", 503)


def _lost(held: _Request) -> Failure:
    """An engine that fails while it generates: an error in the stream, or instead of the answer."""
    if held.streams:
        return Failure(FailureKind.IN_BAND, "the engine failed while generating", 200)
    return Failure(FailureKind.SERVER, "HTTP 500", 500)
