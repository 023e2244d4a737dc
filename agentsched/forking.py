"""What must be renewed in a forked child: locks, threads and connections do not survive a fork."""

import os
import threading
from collections.abc import Callable

__all__ = ["ProcessLock", "around_forks", "in_forked_child"]


class ProcessLock:
    """A lock for starting threads, of each process its own, made where it is first needed.

    Not before: servers fork their workers from a program that is loaded, and then have gevent replace what threads
    and locks are. A lock of before is the whole process's, and it would be held while another greenlet runs.
    """

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    def __enter__(self) -> None:
        pid = os.getpid()
        lock = self._locks.get(pid) or self._locks.setdefault(pid, threading.Lock())
        lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._locks[os.getpid()].release()


def in_forked_child(renew: Callable[[], None]) -> None:
    """Have ``renew`` called in every child that this process forks; nothing to do on platforms without fork."""
    around_forks(lambda: None, lambda: None, renew)


def around_forks(before: Callable[[], object], in_parent: Callable[[], object], in_child: Callable[[], object]) -> None:
    """Have these called before this process forks, and afterwards in the parent and in the child."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)
