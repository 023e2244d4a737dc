"""Where an engine's tokens go: counted for a whole answer, or written straight to a connection for a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentsched import clock
from agentsched.emulator.wire import Wire

__all__ = ["SlowStreamSink", "StreamSink", "WholeSink"]


class WholeSink:
    """Counts tokens until the answer is complete; ``done`` then tells whether it failed."""

    paced = False

    def prepare(self) -> None:
        """There is nothing to get ready."""

    def __init__(self) -> None:
        self.cached_tokens = 0
        self.count = 0
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def token(self, due_s: float) -> None:
        """Count the token."""
        self.count += 1

    def end(self, *, failed: bool) -> None:
        """Wake who waits."""
        if not self.done.done():
            self.done.set_result(failed)


class StreamSink:
    """Writes each token's event, framed as an HTTP chunk, the moment it exists.

    Args:
        wire: makes the events.
        length: tokens that the answer has.
        stop_after: tokens after which nothing more is written (a fault begins there); None is no stop.
    """

    def __init__(self, wire: Wire, length: int, stop_after: int | None = None) -> None:
        self.paced = True
        self.cached_tokens = 0
        self.count = 0
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._wire = wire
        self._length = length
        self._stop_after = stop_after
        self._next: bytes | None = None
        self._early: list[bytes] = []
        self._write: Callable[[bytes], object] = self._early.append
        if stop_after == 0:
            self.end(failed=False)

    def attach(self, write: Callable[[bytes], object]) -> None:
        """Write to the connection from now on: the response's headers are out."""
        self._write = write
        for data in self._early:
            write(data)
        self._early.clear()

    def token(self, due_s: float) -> None:
        """Write the next token."""
        index = self.count
        if index == self._stop_after:
            self.paced = False
            return
        data, self._next = self._next or self._build(index), None
        self.count = index + 1
        self._write(data)
        if self.count == self._stop_after:
            self.end(failed=False)

    def prepare(self) -> None:
        """Build the next token's bytes, while there is time."""
        if self.count < self._length:
            self._next = self._build(self.count)

    def end(self, *, failed: bool) -> None:
        """Wake who waits."""
        if not self.done.done():
            self.done.set_result(failed)

    def _build(self, index: int) -> bytes:
        opening = self._wire.opening() if index == 0 else b""  # first: events are numbered as they are made
        data = opening + self._wire.token(index)
        return b"%x\r\n%b\r\n" % (len(data), data)


class SlowStreamSink(StreamSink):
    """Writes everything ``factor`` times later than it exists (the fault ``slow``)."""

    def __init__(self, wire: Wire, length: int, factor: float) -> None:
        super().__init__(wire, length)
        self.paced = False
        self._factor = factor
        self._start_s = clock.monotonic()
        self._last_s = self._start_s
        self._last_timer_s = 0.0
        self._timers: set[asyncio.TimerHandle] = set()

    def token(self, due_s: float) -> None:
        """Write the next token when the slow connection would carry it."""
        self._last_s = self._start_s + (due_s - self._start_s) * self._factor
        self._later(lambda: StreamSink.token(self, due_s))

    def end(self, *, failed: bool) -> None:
        """Wake who waits once the last token is written."""
        self._later(lambda: StreamSink.end(self, failed=failed))

    def prepare(self) -> None:
        """The next token's bytes are built when it is written."""

    def cancel(self) -> None:
        """Drop what is not written yet."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _later(self, act: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            act()

        loop = asyncio.get_running_loop()
        wanted_s = loop.time() + self._last_s - clock.monotonic()
        # Timers of the same instant fire in any order; these must keep theirs.
        self._last_timer_s = max(wanted_s, self._last_timer_s + 1e-6)
        timer = loop.call_at(self._last_timer_s, run)
        self._timers.add(timer)
