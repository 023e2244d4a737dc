"""Learns what follows a call in its run; lives off the hot path and hands out immutable snapshots."""

from collections import deque
from types import MappingProxyType

import numpy as np

from agentsched.core.forecast import QuantileForecast
from agentsched.core.records import CallEnded, RunClosed
from agentsched.forecast.remainder import WHOLE_RUN, EmpiricalRemainders, RemainderKey

__all__ = ["RemainderLearner"]

_MEMORY = 256
"""Rests remembered per group."""

_MAX_GROUPS = 4096
"""Groups remembered; beyond it the group that was quiet for longest is forgotten."""

_MAX_OPEN_RUNS = 10_000
_MAX_CALLS_OF_A_RUN = 1_000


class RemainderLearner:
    """Remembers when the calls of a run ended until the run does. Bounded memory; one thread learns."""

    def __init__(self) -> None:
        self._open: dict[str, list[tuple[str, float]]] = {}
        self._seen: dict[RemainderKey, deque[float]] = {}
        self._made: dict[RemainderKey, QuantileForecast] = {}
        self._changed: set[RemainderKey] = set()

    def call_ended(self, record: CallEnded) -> None:
        """One call of a run is over."""
        calls = self._open.setdefault(record.call.run_id, [])
        if len(calls) < _MAX_CALLS_OF_A_RUN:
            calls.append((record.call.step, record.ended_at))
        if len(self._open) > _MAX_OPEN_RUNS:
            del self._open[next(iter(self._open))]

    def run_closed(self, record: RunClosed) -> None:
        """A run is over; one that was cut short, or failed, says nothing about how long the rest takes."""
        calls = self._open.pop(record.run.run_id, ())
        if record.outcome not in ("ok", "late"):
            return
        for step, at in ((WHOLE_RUN, record.run.started_at), *calls):
            key = (record.run.workflow, step)
            rests = self._seen.pop(key, None)
            if rests is None:
                rests = deque(maxlen=_MEMORY)
            rests.append(max(0.0, record.ended_at - at))
            self._seen[key] = rests
            self._changed.add(key)
        while len(self._seen) > _MAX_GROUPS:
            oldest = next(iter(self._seen))
            del self._seen[oldest]
            self._made.pop(oldest, None)
            self._changed.discard(oldest)

    def snapshot(self) -> EmpiricalRemainders | None:
        """What is believed now; None when nothing was learned since the last snapshot."""
        if not self._changed:
            return None
        for key in self._changed:
            self._made[key] = QuantileForecast.from_samples(np.fromiter(self._seen[key], dtype=np.float64))
        self._changed.clear()
        return EmpiricalRemainders(MappingProxyType(dict(self._made)))
