"""The only module that reads a clock.

Everything else receives ``now`` as an argument, so that the simulator and the tests can supply their own time.
"""

import time
from collections.abc import Callable

__all__ = ["cpu", "monotonic", "thread_cpu", "wall"]


def monotonic(_read: Callable[[], float] = time.monotonic) -> float:
    """Seconds on this process's monotonic clock: what deadlines are measured on; it never leaves the process.

    The clock that was there when this was loaded, whatever takes its name later: tests stop ``time.monotonic``
    (freezegun does) while calls go on, which then would end before they began.
    """
    return _read()


def wall() -> float:
    """Seconds since the Unix epoch: what logs are stamped with, never what a deadline is compared with."""
    return time.time()


def cpu() -> float:
    """Seconds of CPU time, user and system, that this process has used: what the overhead bench measures."""
    return time.process_time()


def thread_cpu() -> float:
    """Seconds of CPU time, user and system, that the calling thread has used."""
    return time.thread_time()
