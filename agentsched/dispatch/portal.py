"""An event loop in a thread of its own, for callers that have none. It never runs user code."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import nullcontext
from typing import Any, TypeVar

from agentsched import clock
from agentsched.dispatch.green import GreenLoop, threads_are_green
from agentsched.dispatch.lane import Lane
from agentsched.threads import start_apart

__all__ = ["Portal"]

T = TypeVar("T")

_CLOSE_WAIT_S = 2.0


class Portal:
    """Started by its first use; a daemon, so that it never keeps a process alive."""

    def __init__(self) -> None:
        self.lane: Lane | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """The portal's running loop.

        Raises:
            RuntimeError: no thread can be started for it.
        """
        if self._loop is None or self._loop.is_closed():
            loop = GreenLoop() if threads_are_green() else asyncio.new_event_loop()
            loop.time = clock.monotonic  # type: ignore[method-assign]  # its timers run while tests stop the time
            thread = threading.Thread(target=_run, args=(loop,), name="agentsched-portal", daemon=True)
            try:
                start_apart(thread)
            except RuntimeError:  # no thread can be started: the process is ending, or at its limit
                loop.close()
                raise
            self._loop, self._thread = loop, thread
        return self._loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop()).result()

    def close(self) -> None:
        """Close the connections and end the thread; idempotent."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or loop.is_closed():
            return
        if self.lane is not None:
            self.lane.closed = True
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join(_CLOSE_WAIT_S)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        with loop.entered() if isinstance(loop, GreenLoop) else nullcontext():
            loop.run_forever()
            loop.run_until_complete(_end_tasks())
            loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
