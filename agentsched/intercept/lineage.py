"""Which earlier answers a call could have used, as far as an observer of the calls alone can tell.

A run keeps its *open* answers: those that no answered call has used. A new call takes the one its own line of execution
asked for last (contexts are inherited: a task knows what its starter asked) if that is still open, else all open ones.
So in plan -> three parallel researches -> write, each research has plan for a parent and write has the three; two
branches with several calls each do not take each other's. An answer that nobody used stays open, and the next call of
its starter takes it: parents may be too many, rarely too few.
"""

import threading
from contextvars import ContextVar
from weakref import WeakKeyDictionary

from agentsched.workflow.scope import Run

__all__ = ["Lineage", "lineage_of"]

_last_asked: ContextVar[str | None] = ContextVar("agentsched_last_asked", default=None)


class Lineage:
    """The answered calls of one run; from any thread."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._open: dict[str, float] = {}
        self._lock = threading.Lock()

    def begin(self, call_id: str, now: float) -> tuple[tuple[str, ...], float]:
        """Note that the call starts.

        Returns:
            Its parents' ids, and the seconds since the last of them ended (since the run's start if there is none).
        """
        mine = _last_asked.get()
        _last_asked.set(call_id)
        with self._lock:
            parents = (mine,) if mine is not None and mine in self._open else tuple(self._open)
            since = max((self._open[parent] for parent in parents), default=self._started_at)
        return parents, max(0.0, now - since)

    def end(self, call_id: str, parents: tuple[str, ...], now: float) -> None:
        """Note that the call has been answered: its parents' answers are used, its own is open."""
        with self._lock:
            for parent in parents:
                self._open.pop(parent, None)
            self._open[call_id] = now


_lock = threading.Lock()
_lineages: WeakKeyDictionary[Run, Lineage] = WeakKeyDictionary()


def lineage_of(run: Run) -> Lineage:
    """The lineage of ``run``, made at its first call."""
    with _lock:
        found = _lineages.get(run)
        if found is None:
            found = _lineages[run] = Lineage(run.started_at)
        return found
