"""Cancelling an asyncio task at an instant."""

import asyncio
from collections.abc import Callable

__all__ = ["Cutoff"]


class Cutoff:
    """Cancels the current task at an instant, and tells its own cancellation from everybody else's.

    Unlike ``asyncio.timeout_at`` it leaves the error to its owner, so that a ``TimeoutError`` of the user's code is
    never mistaken for the deadline. Without a running asyncio loop (another event loop drives the coroutine) it does
    nothing: such code stops at its next model call, like synchronous code.
    """

    __slots__ = ("_cancelling", "_fired", "_handle", "_on_fire", "_task")

    def __init__(self, delay_s: float | None, on_fire: Callable[[], object]) -> None:
        """Arm it.

        Args:
            delay_s: seconds from now, None for never; zero or less cancels at the next chance.
            on_fire: called at that instant, right before the task is cancelled.
        """
        self._fired = False
        self._handle: asyncio.TimerHandle | asyncio.Handle | None = None
        self._on_fire = on_fire
        if delay_s is None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        task = asyncio.current_task()
        if task is None:
            return
        self._task, self._cancelling = task, task.cancelling()
        self._handle = loop.call_later(delay_s, self._fire) if delay_s > 0 else loop.call_soon(self._fire)

    def _fire(self) -> None:
        self._fired = True
        self._on_fire()
        self._task.cancel()

    def disarm(self, error: BaseException | None) -> bool:
        """End the watch; to be called once, with what the watched code raised.

        Returns:
            Whether ``error`` is the cancellation made here, and nobody else asked for one as well.
        """
        if self._handle is not None:
            self._handle.cancel()
        if not self._fired:
            return False
        return self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError)
