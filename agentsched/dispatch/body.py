"""The body of a streamed answer, between the task that reads it upstream and the caller that consumes it.

A stream is filled by dispatch and never refers to its reader; the reader is all that the caller holds. So a reader that
is closed early, or just forgotten, cancels the upstream request. Both kinds of stream hold the upstream back once
`HOLD_BYTES` wait unread: the socket is then not read, and TCP slows the server.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

__all__ = ["HOLD_BYTES", "AsyncReader", "AsyncStream", "Reader", "Stream"]

HOLD_BYTES = 256 * 1024
"""Unread bytes from which on the upstream is no longer read."""


class AsyncStream:
    """Read in the event loop that also fills it."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self.held_bytes = 0
        self.ended = False
        self._closed = False
        self._error: BaseException | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    def push(self, chunk: bytes) -> bool:
        """Add a chunk; answers whether the writer should wait for `drained`."""
        self._chunks.append(chunk)
        self.held_bytes += len(chunk)
        _wake(self._reader)
        return self.held_bytes >= HOLD_BYTES and not self._closed

    async def drained(self) -> None:
        """Wait until enough was read."""
        while self.held_bytes >= HOLD_BYTES and not self._closed:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer

    def end(self, error: BaseException | None = None) -> None:
        """Nothing follows; ``error`` is raised to the reader after what was already pushed."""
        if not self.ended:
            self.ended, self._error = True, error
            _wake(self._reader)

    async def get(self) -> bytes:
        """The next chunk; StopAsyncIteration at the end."""
        while not self._chunks:
            if self.ended or self._closed:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        chunk = self._chunks.popleft()
        self.held_bytes -= len(chunk)
        if self.held_bytes < HOLD_BYTES:
            _wake(self._writer)
        return chunk

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True
        self._chunks.clear()
        self.held_bytes = 0
        _wake(self._writer)


def _wake(future: "asyncio.Future[None] | None") -> None:
    if future is not None and not future.done():
        future.set_result(None)


class AsyncReader:
    """What an async caller holds.

    Args:
        stream: what it reads.
        on_close: called once if it is closed, or forgotten, before the end; callable from any thread, takes no lock.
    """

    __slots__ = ("_closed", "_on_close", "_stream")

    def __init__(self, stream: AsyncStream, on_close: Callable[[], None]) -> None:
        self._stream, self._on_close, self._closed = stream, on_close, False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        return self._stream.get()

    async def aclose(self) -> None:
        """Want no more: cancels the upstream request if it still runs."""
        self._abandon()
        self._stream.close()

    def _abandon(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._stream.ended:
                self._on_close()

    def __del__(self) -> None:
        self._abandon()


class Stream:
    """Read in any thread while an event loop in another one fills it.

    There is no lock to be held: a forgotten reader may be collected, and close this stream, in the middle of a `push`.
    The queue may be filled from anywhere, and each of the two byte counts has one writer only.

    Args:
        loop: the loop that fills it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._pushed_bytes = self._taken_bytes = 0
        self.ended = self._halted = False
        self._closed = False
        self._error: BaseException | None = None
        self._loop = loop
        self._full = False
        self._room = asyncio.Event()

    @property
    def held_bytes(self) -> int:
        """Bytes that wait unread."""
        return 0 if self._closed else self._pushed_bytes - self._taken_bytes

    def push(self, chunk: bytes) -> bool:
        """Add a chunk; answers whether the writer should wait for `drained`."""
        self._pushed_bytes += len(chunk)
        self._queue.put(chunk)
        if self.held_bytes < HOLD_BYTES:
            return False
        self._room.clear()
        self._full = True
        # Looked at again: the reader may have caught up before it could see that it is waited for.
        return self.held_bytes >= HOLD_BYTES

    async def drained(self) -> None:
        """Wait until enough was read."""
        await self._room.wait()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing follows; ``error`` is raised to the reader after what was already pushed."""
        if not self.ended:
            self.ended, self._error = True, error
            self._queue.put(None)

    def halt(self, error: BaseException) -> None:
        """Nothing follows, for the process ends: ``error`` is for the main thread, should it ask. Daemon threads stand
        still, as they would with a socket that the process does not come to read any more."""
        if not self.ended:
            self.ended, self._error, self._halted = True, error, True

    def get(self) -> bytes:
        """The next chunk; StopIteration at the end."""
        chunk = None if self._closed or self._is_over() else self._queue.get()
        if chunk is None:
            self._queue.put(None)  # for whoever asks again
            error, self._error = self._error, None
            if error is not None:
                raise error
            raise StopIteration
        self._taken_bytes += len(chunk)
        if self._full and self.held_bytes < HOLD_BYTES:
            self._make_room()
        return chunk

    def _is_over(self) -> bool:
        return self._halted and self._queue.empty() and threading.current_thread() is threading.main_thread()

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True
        self._queue.put(None)
        self._make_room()

    def _make_room(self) -> None:
        self._full = False
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._room.set)


class Reader:
    """What a caller without an event loop holds.

    Args:
        stream: what it reads.
        on_close: called once if it is closed, or forgotten, before the end; callable from any thread, takes no lock.
    """

    __slots__ = ("_closed", "_on_close", "_stream")

    def __init__(self, stream: Stream, on_close: Callable[[], None]) -> None:
        self._stream, self._on_close, self._closed = stream, on_close, False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._stream.get()

    def close(self) -> None:
        """Want no more: cancels the upstream request if it still runs."""
        self._abandon()
        self._stream.close()

    def _abandon(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._stream.ended:
                self._on_close()

    def __del__(self) -> None:
        self._abandon()
