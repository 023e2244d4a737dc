"""Running an engine model in real time: one timer per endpoint, tokens handed to whoever waits for them."""

from __future__ import annotations

import asyncio
from typing import Protocol

from agentsched import clock
from agentsched.emulator.pacing import PacingHistogram
from agentsched.engine.request import Emission, Load, Rejection, Request, ServingModel

__all__ = ["Driver", "Sink"]


class Sink(Protocol):
    """Who receives a request's tokens. Called on the event loop, must not block.

    Attributes:
        paced: whether its tokens are written at once, so that their lateness is worth counting.
        cached_tokens: set by the driver with the first token.
    """

    paced: bool
    cached_tokens: int

    def token(self, due_s: float) -> None:
        """Take the next token, due at this instant of the monotonic clock."""

    def end(self, *, failed: bool) -> None:
        """There will be no further token."""


class Driver:
    """An engine model on the event loop's time.

    Args:
        model: the engine; nobody else may drive it.
        time_scale: how many times faster than real time the engine runs.
    """

    def __init__(self, model: ServingModel, *, time_scale: float = 1.0) -> None:
        self.pacing = PacingHistogram()
        self._model = model
        self._scale = time_scale
        self._origin = clock.monotonic()
        self._last = 0.0
        self._sinks: dict[str, Sink] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None

    def submit(self, request: Request, sink: Sink) -> Rejection | None:
        """Give a request to the engine; the sink gets its tokens. A returned rejection means that nothing happened."""
        rejection = self._model.submit(request, self._now())
        if rejection is None:
            self._sinks[request.request_id] = sink
        self._settle()
        return rejection

    def abort(self, request_id: str) -> bool:
        """Forget a request: its slot is free when this returns. False if it has ended."""
        self._sinks.pop(request_id, None)
        aborted = self._model.abort(request_id, self._now())
        self._settle()
        return aborted

    def slow_down(self, factor: float, duration_s: float) -> None:
        """Make the engine ``factor`` times slower from now on for so many (real) seconds."""
        now = self._now()
        self._model.slow_down(factor, now, now + duration_s * self._scale)
        self._settle()

    def fail(self, duration_s: float) -> None:
        """Lose every request now and take none for so many (real) seconds."""
        now = self._now()
        self._model.fail(now, now + duration_s * self._scale)
        self._settle()

    def load(self) -> Load:
        """Return what the engine holds now."""
        self._settle()
        return self._model.load()

    def close(self) -> None:
        """Stop the timer and end every request as failed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        sinks, self._sinks = self._sinks, {}
        for sink in sinks.values():
            sink.end(failed=True)

    def _now(self) -> float:
        """Return the engine's time; never before an instant it was already told."""
        self._last = max(self._last, (clock.monotonic() - self._origin) * self._scale)
        return self._last

    def _settle(self) -> None:
        """Deliver what happened by now and set the timer for the next step."""
        for emission in self._model.advance(self._now()):
            self._deliver(emission)
        at = self._model.next_step_at()
        if at == self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        if at is None:
            self._timer = None
        else:
            loop = asyncio.get_running_loop()
            # The loop's clock need not be ours (uvloop, tests): only the delay is taken from ours.
            self._timer = loop.call_at(
                loop.time() + self._origin + at / self._scale - clock.monotonic(), self._tick, at
            )

    def _tick(self, at: float) -> None:
        self._timer = None
        self._last = max(self._last, at)
        self._settle()

    def _deliver(self, emission: Emission) -> None:
        sinks, pacing, monotonic = self._sinks, self.pacing, clock.monotonic
        for request_id, cached in zip(emission.prefilled, emission.cached_tokens, strict=True):
            if (sink := sinks.get(request_id)) is not None:
                sink.cached_tokens = cached
        for step in range(1, emission.steps + 1):
            due_s = self._origin + emission.due_s(step) / self._scale
            for request_id in (*emission.decoded, *emission.prefilled):
                sink = sinks.get(request_id)
                if sink is not None:
                    sink.token(due_s)
                    if sink.paced:
                        pacing.add(monotonic() - due_s)
        for request_id in emission.finished:
            if (sink := sinks.pop(request_id, None)) is not None:
                sink.end(failed=False)
        for request_id in emission.failed:
            if (sink := sinks.pop(request_id, None)) is not None:
                sink.end(failed=True)
