"""Running an engine model in real time: its steps performed when they are due, tokens handed to who waits for them."""

from __future__ import annotations

from typing import Protocol

from agentsched import clock
from agentsched.emulator.conductor import Conductor
from agentsched.emulator.pacing import PacingHistogram
from agentsched.engine.request import Emission, Load, Rejection, Request, ServingModel

__all__ = ["Driver", "Sink"]

_FIRST_GUESS_S = 12e-6
"""Seconds that writing one chunk takes, until it has been measured."""


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

    def prepare(self) -> None:
        """Get the next token ready: called when there is time."""

    def end(self, *, failed: bool) -> None:
        """There will be no further token."""


class Driver:
    """An engine model on the event loop's time.

    Args:
        model: the engine; nobody else may drive it.
        conductor: performs the steps in time.
        time_scale: how many times faster than real time the engine runs.
    """

    def __init__(self, model: ServingModel, conductor: Conductor, *, time_scale: float = 1.0) -> None:
        self.pacing = PacingHistogram()
        self._model = model
        self._scale = time_scale
        self._origin = clock.monotonic()
        self._last = 0.0
        self._next_at = 0.0
        self._sinks: dict[str, Sink] = {}
        self._conductor = conductor
        self._announced: tuple[float | None, float] = (None, 0.0)
        self._streams = 0
        self._write_s = _FIRST_GUESS_S

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
        """Perform no further step and end every request as failed."""
        self._conductor.announce(self, None, 0.0)
        sinks, self._sinks = self._sinks, {}
        for sink in sinks.values():
            sink.end(failed=True)

    def _now(self) -> float:
        """Return the engine's time; never before an instant it was already told."""
        self._last = max(self._last, (clock.monotonic() - self._origin) * self._scale)
        return self._last

    def play(self, due_s: float) -> None:
        """Perform the step that is due at this instant (a little early or late, as the conductor has it)."""
        self._announced = (None, 0.0)
        # The engine's own figure, not due_s converted back: rounded down, the step would not have ended yet.
        self._last = max(self._last, self._next_at)
        self._settle()

    def _settle(self) -> None:
        """Deliver what happened by now and announce the next step."""
        for emission in self._model.advance(self._now()):
            self._deliver(emission)
        at = self._model.next_step_at()
        self._next_at = self._last if at is None else at
        due_s = None if at is None else self._origin + at / self._scale
        if (due_s, self._streams * self._write_s) != self._announced:
            self._announced = (due_s, self._streams * self._write_s)
            self._conductor.announce(self, *self._announced)

    def _deliver(self, emission: Emission) -> None:
        sinks = self._sinks
        for request_id, cached in zip(emission.prefilled, emission.cached_tokens, strict=True):
            if (sink := sinks.get(request_id)) is not None:
                sink.cached_tokens = cached
        gaining = [sinks[name] for name in (*emission.decoded, *emission.prefilled) if name in sinks]
        for step in range(1, emission.steps + 1):
            self._hand_out(gaining, self._origin + emission.due_s(step) / self._scale)
        for names, failed in ((emission.finished, False), (emission.failed, True)):
            for name in names:
                if (sink := sinks.pop(name, None)) is not None:
                    sink.end(failed=failed)

    def _hand_out(self, sinks: list[Sink], due_s: float) -> None:
        """Give each sink the token of one step, and note how far from its instant it was written."""
        pacing, monotonic = self.pacing, clock.monotonic
        started_s = monotonic()
        streams = 0
        for sink in sinks:
            sink.token(due_s)
            if sink.paced:
                streams += 1
                pacing.add(monotonic() - due_s)
        self._streams = streams
        if streams:
            self._write_s += 0.1 * ((monotonic() - started_s) / streams - self._write_s)
        # Only now, with every token of the step written, build the bytes of the next one.
        for sink in sinks:
            sink.prepare()
