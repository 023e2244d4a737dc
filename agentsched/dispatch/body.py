"""The body of a streamed answer, between the task that reads it upstream and the caller that consumes it.

Both kinds hold back the upstream once `HOLD_BYTES` wait unread: the socket is then not read, and TCP slows the server.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["HOLD_BYTES", "AsyncStream", "Stream"]

HOLD_BYTES = 256 * 1024
"""Unread bytes from which on the upstream is no longer read."""


class AsyncStream:
    """Consumed in the event loop that also fills it.

    Args:
        on_close: called once if the caller closes, or forgets, the stream before its end; safe to call from any thread.
    """

    def __init__(self, on_close: Callable[[], None]) -> None:
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._error: BaseException | None = None
        self._on_close = on_close
        self._closed = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    # -- filled by dispatch ------------------------------------------------------------------------------------------

    def push(self, chunk: bytes) -> bool:
        """Add a chunk; answers whether the writer should wait for `drained`."""
        self._chunks.append(chunk)
        self._held += len(chunk)
        _wake(self._reader)
        return self._held >= HOLD_BYTES and not self._closed

    async def drained(self) -> None:
        """Wait until the caller has read enough."""
        while self._held >= HOLD_BYTES and not self._closed:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer

    def end(self, error: BaseException | None = None) -> None:
        """Nothing follows; ``error`` is raised to the caller after what was already pushed."""
        if not self._ended:
            self._ended, self._error = True, error
            _wake(self._reader)

    # -- consumed by the caller --------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self._ended or self._closed:
                self._closed = True
                error, self._error = self._error, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        chunk = self._chunks.popleft()
        self._held -= len(chunk)
        if self._held < HOLD_BYTES:
            _wake(self._writer)
        return chunk

    async def aclose(self) -> None:
        """Want no more: cancels the upstream request if it still runs."""
        self._close()
        _wake(self._writer)

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._ended:
                self._on_close()

    def __del__(self) -> None:
        self._close()


def _wake(future: "asyncio.Future[None] | None") -> None:
    if future is not None and not future.done():
        future.set_result(None)


class Stream:
    """Consumed in any thread while an event loop in another one fills it.

    Args:
        loop: the loop that fills it.
        on_close: called once if the caller closes, or forgets, the stream before its end; safe to call from any thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_close: Callable[[], None]) -> None:
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None
        self._on_close = on_close
        self._loop = loop
        self._changed = threading.Condition(threading.Lock())
        self._room = asyncio.Event()

    # -- filled by dispatch, in its loop -----------------------------------------------------------------------------

    def push(self, chunk: bytes) -> bool:
        """Add a chunk; answers whether the writer should wait for `drained`."""
        with self._changed:
            self._chunks.append(chunk)
            self._held += len(chunk)
            full = self._held >= HOLD_BYTES and not self._closed
            if full:
                self._room.clear()
            self._changed.notify()
        return full

    async def drained(self) -> None:
        """Wait until the caller has read enough."""
        await self._room.wait()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing follows; ``error`` is raised to the caller after what was already pushed."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
                self._changed.notify()

    # -- consumed by the caller --------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._changed:
            while not self._chunks:
                if self._ended or self._closed:
                    self._closed = True
                    error, self._error = self._error, None
                    if error is not None:
                        raise error
                    raise StopIteration
                self._changed.wait()
            chunk = self._chunks.popleft()
            was_full = self._held >= HOLD_BYTES
            self._held -= len(chunk)
            roomy = was_full and self._held < HOLD_BYTES
        if roomy:
            self._make_room()
        return chunk

    def close(self) -> None:
        """Want no more: cancels the upstream request if it still runs."""
        if not self._closed:
            self._closed = True
            if not self._ended:
                self._on_close()
                self._make_room()

    def _make_room(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._room.set)

    def __del__(self) -> None:
        self.close()
