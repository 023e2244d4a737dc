"""Learns what follows a call in its run; lives off the hot path and hands out immutable snapshots."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import FailureKind, ModelCall
from agentsched.core.forecast import QuantileForecast
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.remainder import RunHistory
from agentsched.core.structure import WorkflowStructure
from agentsched.forecast.call_graph import in_order
from agentsched.forecast.outlook import StructureOutlook
from agentsched.forecast.past_calls import PastCalls
from agentsched.forecast.remainder import WHOLE_RUN, EmpiricalRemainders, RemainderKey
from agentsched.forecast.rest_calibration import RestCalibrator
from agentsched.forecast.run_memory import PastRun, RunMemory, evenly

__all__ = ["RemainderLearner"]

Array = NDArray[np.float64]

_NO_GROUPS: Mapping[RemainderKey, QuantileForecast] = MappingProxyType({})

_MEMORY = 256
"""Rests remembered per group."""

_MAX_GROUPS = 4096
"""Groups remembered; beyond it the group that was quiet for longest is forgotten."""

_MAX_ROWS = 65_536
"""Past calls remembered in all; beyond it the workflow that was quiet for longest is forgotten."""

_MAX_STRUCTURES = 512
"""Workflows whose structures are remembered."""

_MAX_PARTS = 8
"""Structures remembered of one workflow, the newest."""

_MAX_OPEN_RUNS = 10_000
_MAX_OPEN_CALLS = 20_000
_MAX_CALLS_OF_A_RUN = 1_000

_COMPARED_CALLS = 32
"""Calls of a run whose forecasts are compared with what came."""

_KEPT_AFTER_DRIFT = 8
"""Runs of a workflow that are still believed once it has changed."""

_STALE = 8
"""A table that lacks one in so many of its workflow's runs is made anew before it is compared."""

_WHOLE = ("ok", "late")
"""Outcomes of runs that came to their own end; others are known to have gone on for at least so long."""


class RemainderLearner:
    """Remembers the calls of a run until the run ends, and of ended runs what followed each call.

    Bounded memory; one thread learns.
    """

    def __init__(self) -> None:
        self._open: dict[str, list[CallEnded]] = {}
        self._open_calls = 0
        self._cut: set[str] = set()
        self._rests = _Rests()
        self._runs: dict[str, RunMemory] = {}
        self._tables: dict[str, PastCalls] = {}
        self._structures: dict[str, dict[WorkflowStructure, StructureOutlook]] = {}
        self._calibrators: dict[str, RestCalibrator] = {}
        self._offsets: dict[str, Array] = {}
        self._changed: set[str] = set()
        self._told = True

    def structure_seen(self, workflow: str, structure: WorkflowStructure) -> None:
        """A framework told what the workflow, or a part of it, is made of."""
        known = self._structures.pop(workflow, {})
        if structure not in known:
            known[structure] = StructureOutlook.of(structure)
            self._told = False
            while len(known) > _MAX_PARTS:
                del known[next(iter(known))]
        self._structures[workflow] = known
        if len(self._structures) > _MAX_STRUCTURES:
            del self._structures[next(iter(self._structures))]

    def call_ended(self, record: CallEnded) -> None:
        """One call of a run is over; one that was left out with its step was none: its run is one of what is left."""
        if record.status == FailureKind.SKIPPED:
            return
        calls = self._open.setdefault(record.call.run_id, [])
        if len(calls) < _MAX_CALLS_OF_A_RUN:
            calls.append(record)
            self._open_calls += 1
        else:
            self._cut.add(record.call.run_id)
        while len(self._open) > _MAX_OPEN_RUNS or self._open_calls > _MAX_OPEN_CALLS:
            self._take(next(iter(self._open)))

    def _take(self, run_id: str) -> tuple[list[CallEnded], bool]:
        """An open run's calls, and whether they are all it made; it is no longer open."""
        calls = self._open.pop(run_id, [])
        self._open_calls -= len(calls)
        known = run_id not in self._cut
        self._cut.discard(run_id)
        return calls, known

    def run_closed(self, record: RunClosed) -> None:
        """A run is over; of one that was cut short, or failed, it is known that it needed at least what it did."""
        calls, complete = self._take(record.run.run_id)
        whole = record.outcome in _WHOLE
        if whole:
            self._rests.add(record, calls)
            self._told = False
        if calls:
            workflow = record.run.workflow
            memory = self._runs.pop(workflow, None) or RunMemory()
            run = PastRun.of(calls, record.ended_at, whole and complete)
            self._compare(workflow, memory, calls, run)
            memory.add(run)
            self._runs[workflow] = memory
            self._changed.add(workflow)
            self._forget()

    def _compare(self, workflow: str, memory: RunMemory, calls: Sequence[CallEnded], run: PastRun) -> None:
        """Compare what was to be forecast after the calls of a run with what came."""
        if not len(memory):
            return
        if workflow not in self._tables or memory.news > len(memory) // _STALE:
            self._tables[workflow] = memory.table(fresh=False)
        known, table = self._known(), self._tables[workflow]
        rows = evenly(len(run.steps), _COMPARED_CALLS)
        places = set(evenly(run.calls, len(run.steps))[rows].tolist())
        asked = [known.futures(*moment) for place, moment in enumerate(_moments(calls)) if place in places]
        calibrator = self._calibrators.setdefault(workflow, RestCalibrator())
        if calibrator.learn(np.stack(asked), run.work[rows], table.per_call, whole=run.whole):
            memory.forget(_KEPT_AFTER_DRIFT)
        offsets = calibrator.offsets()
        if offsets is None:
            self._offsets.pop(workflow, None)
        else:
            self._offsets[workflow] = offsets

    def _forget(self) -> None:
        while sum(memory.rows for memory in self._runs.values()) > _MAX_ROWS and len(self._runs) > 1:
            oldest = next(iter(self._runs))
            del self._runs[oldest]
            self._tables.pop(oldest, None)
            self._calibrators.pop(oldest, None)
            self._offsets.pop(oldest, None)
            self._changed.discard(oldest)

    def snapshot(self) -> EmpiricalRemainders | None:
        """What is believed now; None when nothing was learned since the last snapshot."""
        if self._told and not self._changed:
            return None
        for workflow in self._changed:
            self._tables[workflow] = self._runs[workflow].table()
        self._changed.clear()
        self._told = True
        return self._known(MappingProxyType(self._rests.forecasts()))

    def _known(self, groups: Mapping[RemainderKey, QuantileForecast] = _NO_GROUPS) -> EmpiricalRemainders:
        return EmpiricalRemainders(
            groups=groups,
            workflows=MappingProxyType(dict(self._tables)),
            outlooks=MappingProxyType({name: tuple(parts.values()) for name, parts in self._structures.items()}),
            offsets=MappingProxyType(dict(self._offsets)),
            guess=True,
        )


def _moments(calls: Sequence[CallEnded]) -> Iterator[tuple[ModelCall, RunHistory]]:
    """The calls of a run by arrival, each with the run's history at that time; it changes with the next one."""
    history = RunHistory()
    answers = sorted((record for record in calls if record.status == "ok"), key=lambda record: record.ended_at)
    told = 0
    for record in in_order(calls):
        while told < len(answers) and answers[told].ended_at <= record.arrived_at:
            answer = answers[told]
            history.answered(answer.call.step, answer.input_tokens, answer.output_tokens)
            told += 1
        history.arrived(record.call.step, record.call.tool_s)
        yield record.call, history


class _Rests:
    """Seconds from the ends of calls to the ends of their runs."""

    def __init__(self) -> None:
        self._seen: dict[RemainderKey, deque[float]] = {}
        self._made: dict[RemainderKey, QuantileForecast] = {}
        self._changed: set[RemainderKey] = set()

    def add(self, record: RunClosed, calls: list[CallEnded]) -> None:
        """Take a run that came to its own end."""
        begun = (WHOLE_RUN, record.run.started_at)
        for step, at in (begun, *((ended.call.step, ended.ended_at) for ended in calls)):
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

    def forecasts(self) -> dict[RemainderKey, QuantileForecast]:
        """One forecast per group."""
        for key in self._changed:
            self._made[key] = QuantileForecast.from_samples(np.fromiter(self._seen[key], dtype=np.float64))
        self._changed.clear()
        return dict(self._made)
