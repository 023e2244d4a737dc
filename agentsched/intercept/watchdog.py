"""Ends blocking reads at an instant: one daemon thread for the whole process, started when first needed."""

import heapq
import itertools
import threading
from collections.abc import Callable

from agentsched.clock import monotonic
from agentsched.forking import ProcessLock, in_forked_child
from agentsched.workflow.frame import detached

__all__ = ["Alarm", "set_alarm"]


class Alarm:
    """A call that will be made once, from the watchdog's thread, unless it is cancelled first."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: Callable[[], None] | None = act
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """Forget it; when this returns, the call is neither running nor going to be made. Idempotent."""
        with self._lock:
            self._act = None

    def ring(self) -> None:
        """Make the call, at most once."""
        with self._lock:
            act, self._act = self._act, None
            if act is not None:
                act()


class _Watchdog:
    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def add(self, at: float, alarm: Alarm) -> None:
        with self._wake:
            heapq.heappush(self._alarms, (at, next(self._order), alarm))
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="agentsched-watchdog", daemon=True)
                # It outlives the run that needs it first, so it must not belong to that run.
                with detached():
                    self._thread.start()
            self._wake.notify()

    def _watch(self) -> None:
        while True:
            self._next_due().ring()

    def _next_due(self) -> Alarm:
        with self._wake:
            while True:
                wait_s = self._alarms[0][0] - monotonic() if self._alarms else None
                if wait_s is not None and wait_s <= 0:
                    return heapq.heappop(self._alarms)[2]
                self._wake.wait(wait_s)


_watchdog: _Watchdog | None = None
_making = ProcessLock()


def _the_watchdog() -> _Watchdog:
    global _watchdog
    with _making:
        if _watchdog is None:
            _watchdog = _Watchdog()
        return _watchdog


def _start_afresh() -> None:
    # A forked child inherits neither the thread nor the readers it was to wake, but perhaps a lock that is held.
    global _watchdog
    _watchdog = None


in_forked_child(_start_afresh)


def set_alarm(at: float, act: Callable[[], None]) -> Alarm:
    """Have ``act`` called at the instant ``at`` of the monotonic clock; it must be quick and must not raise."""
    alarm = Alarm(act)
    (_watchdog or _the_watchdog()).add(at, alarm)
    return alarm
