"""An event loop whose timers fire on time.

asyncio hands its timeouts to epoll, which counts whole milliseconds and rounds up: every chunk would be up to 1 ms
late, most of what the emulator may be late at all. ``select`` takes microseconds, and an epoll descriptor can itself be
selected on, so waiting with ``select`` on epoll keeps both the scale of the one and the precision of the other.
"""

from __future__ import annotations

import asyncio
import gc
import os
import select
import selectors
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

__all__ = ["precedence", "precise_loop", "quiet_garbage_collection", "run_precisely"]

_T = TypeVar("_T")
_SELECTABLE_FDS = 1024  # what select() can look at


if sys.platform == "linux":

    class _PreciseSelector(selectors.EpollSelector):
        """Epoll with timeouts in microseconds."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                select.select((self.fileno(),), (), (), timeout)
                timeout = 0
            return super().select(timeout)


def precise_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop with precise timers where the system allows it, else an ordinary one."""
    if sys.platform == "linux":
        selector = _PreciseSelector()
        if selector.fileno() < _SELECTABLE_FDS:
            return asyncio.SelectorEventLoop(selector)
        selector.close()
    return asyncio.new_event_loop()


@contextmanager
def quiet_garbage_collection() -> Iterator[None]:
    """Keep the collector from stopping the process for milliseconds: only young objects are collected inside.

    Everything made before is frozen out of its sight, and the thresholds of the older generations are put out of reach.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 1_000, 1_000_000)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@contextmanager
def precedence() -> Iterator[bool]:
    """Be woken before ordinary processes: a pool must keep time while its clients keep all cores busy.

    Yields whether it was granted: it takes a privileged process on Linux. The system keeps a real-time process from
    starving the others (by default it leaves them 5 % of each second).
    """
    granted = False
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
            granted = True
    try:
        yield granted
    finally:
        if granted:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def run_precisely(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end on a loop with precise timers and a quiet garbage collector."""
    with quiet_garbage_collection(), asyncio.Runner(loop_factory=precise_loop) as runner:
        return runner.run(main)
