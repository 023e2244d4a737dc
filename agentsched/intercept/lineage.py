"""Which earlier answers a call could have used, as far as an observer of the calls alone can tell.

A run keeps its *open* answers: those that no answered call has used. A new call has for parents

1. what its own line of execution asked for last, if that answer is open (contexts are inherited: a task knows what its
   starter asked);
2. else, while other calls are running, what the last of these has: it is one more branch of the same fan-out;
3. else all open answers: it is a join.

So in plan -> three parallel researches -> write, each research has plan for a parent, however late it starts, and write
has the three; two branches with several calls each do not take each other's. Where nothing tells branches from joins
(a fan-out that runs one branch at a time), parents are a guess.
"""

import threading
from contextvars import ContextVar
from typing import NamedTuple
from weakref import WeakKeyDictionary

from agentsched.workflow.scope import Run

__all__ = ["Lineage", "lineage_of"]

_last_asked: ContextVar[str | None] = ContextVar("agentsched_last_asked", default=None)


class Lineage:
    """The calls of one run; from any thread."""

    def __init__(self, started_at: float) -> None:
        self._open: dict[str, float] = {}
        self._running: dict[str, _Origin] = {}
        self._start = _Origin((), started_at)
        self._lock = threading.Lock()

    def begin(self, call_id: str, now: float) -> tuple[tuple[str, ...], float]:
        """Note that the call starts.

        Returns:
            Its parents' ids, and the seconds since the last of them ended (since the run's start if there is none).
        """
        mine = _last_asked.get()
        _last_asked.set(call_id)
        with self._lock:
            origin = self._running[call_id] = self._origin(mine)
        return origin.parents, max(0.0, now - origin.ended_at)

    def _origin(self, mine: str | None) -> "_Origin":
        if mine is not None and mine in self._open:
            return _Origin((mine,), self._open[mine])
        if self._running:
            return next(reversed(self._running.values()))
        if self._open:
            return _Origin(tuple(self._open), max(self._open.values()))
        return self._start

    def end(self, call_id: str, now: float, *, answered: bool) -> None:
        """Note that the call is over; if it was answered, its parents' answers are used, and its own is open."""
        with self._lock:
            origin = self._running.pop(call_id, None)
            if origin is None or not answered:
                return
            for parent in origin.parents:
                self._open.pop(parent, None)
            self._open[call_id] = now


class _Origin(NamedTuple):
    """The answers a call starts from, and the instant at which the last of them was there."""

    parents: tuple[str, ...]
    ended_at: float


_lineages: WeakKeyDictionary[Run, Lineage] = WeakKeyDictionary()


def lineage_of(run: Run) -> Lineage:
    """The lineage of ``run``, made at its first call."""
    found = _lineages.get(run)
    # setdefault settles a race of two threads; a lock of the module's could be held at a fork.
    return _lineages.setdefault(run, Lineage(run.started_at)) if found is None else found
