"""Servers whose event loop is in a thread of its own, so that tests may run loops, threads and processes of theirs."""

import asyncio
import threading
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Self

__all__ = ["Served"]


class Served(ABC):
    """A context manager: the server is up inside it."""

    _loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self._started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name=type(self).__name__, daemon=True
        )

    @abstractmethod
    def _up(self) -> AbstractAsyncContextManager[None]:
        """The server, in the thread's event loop."""

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._up():
            self._started.set()
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
