"""The scope of a run: its deadline, the tighter scopes inside it, and what it has spent."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Protocol

from agentsched.clock import monotonic
from agentsched.core.decision import Decision
from agentsched.core.forecast import QuantileForecast
from agentsched.core.records import Recordable
from agentsched.core.slo import SLO, Budget, Deadline
from agentsched.errors import DeadlineExceeded
from agentsched.workflow.frame import current_frame
from agentsched.workflow.inner import InnerScope, earliest, inner_end, tightest_scope
from agentsched.workflow.steps import current_step

__all__ = [
    "Run",
    "RunKeeper",
    "abandoned_run",
    "current_run",
    "deadline_error",
    "effective_deadline",
    "present",
]

MAX_DECISIONS = 1000
"""How many decisions a run remembers; a run with more calls forgets its first ones."""

LEFTOVER_S = 30.0
"""How long what a run left behind is refused model calls if the run ended early, seconds. A thread that is still there
after that is a worker which the run happened to start, and which others may have use for."""

_NO_STEP = "(unnamed)"
_GRAIN_S = 1e-3
"""Timers may fire this much early (clock resolution): seconds."""

default_clock: Callable[[], float] = monotonic
"""The clock of runs that are given none; tests put a virtual one here."""


def present() -> float:
    """The present instant on `default_clock`, which new runs are on."""
    return default_clock()


class RunKeeper(Protocol):
    """What a run tells about itself: implemented by ``agentsched.runtime.Runtime``."""

    def start_run(self, run: "Run") -> None:
        """The run begins; called once, before any of its calls."""

    def end_run(self, run: "Run", outcome: str) -> None:
        """The run is over; called once. If it was cancelled, so are the calls that are still open."""

    def emit(self, record: Recordable) -> None:
        """Pass a record to the log; neither blocks nor raises."""


class Run:
    """One execution of a workflow.

    Attributes:
        run_id: 16 hex digits, unique.
        workflow: the workflow's name.
        slo: what was asked for.
        started_at: instant of its start.
        deadline: instant by which it should end, None if it has none: its SLO's, or that of what surrounds it if
            that comes first.
        enforced: whether the deadline cuts; not so if it is its own and its SLO says ``on_late="ignore"``.
        parent: the run inside which it was started, in this process.
        remote_parent_id: the run inside which it was started, in another process.
        trace_id: the trace it belongs to, 32 hex digits; empty until one is needed.
        runtime: who is told of it; None: nothing is configured, the run is only bounded in time.
        forecaster: tells the seconds the run still needs; set by the runtime.
        finished: whether it is over.
        ended_at: instant of its end once it is over, else None.
        outcome: ``ok``, ``late``, ``deadline``, ``error`` or ``cancelled`` once it is over, else None.
        error: its first deadline error, kept because frameworks wrap what they catch.
        decisions: where its last calls were sent and why, oldest first; appended by the runtime.
    """

    __slots__ = (
        "__weakref__",
        "_begun",
        "_best",
        "_busy",
        "_calls",
        "_calls_at_error",
        "_cost_usd",
        "_holds",
        "_last_step",
        "_lock",
        "_on_release",
        "_open",
        "_skipped",
        "_spent_s",
        "_visits",
        "clock",
        "deadline",
        "decisions",
        "ended_at",
        "enforced",
        "error",
        "finished",
        "forecaster",
        "outcome",
        "parent",
        "remote_parent_id",
        "run_id",
        "runtime",
        "slo",
        "started_at",
        "trace_id",
        "workflow",
    )

    def __init__(
        self,
        workflow: str,
        slo: SLO,
        *,
        parent: "Run | None" = None,
        outer_at: float | None = None,
        remote_parent_id: str | None = None,
        trace_id: str = "",
        runtime: RunKeeper | None = None,
        clock: Callable[[], float] | None = None,
        started_at: float | None = None,
    ) -> None:
        """Start a run.

        Args:
            workflow: its name.
            slo: what is asked for.
            parent: the run around it.
            outer_at: instant at which what surrounds it ends, None if that is unbounded.
            remote_parent_id: the run around it in another process.
            trace_id: the trace it belongs to.
            runtime: who is told of it.
            clock: the clock that its instants are on.
            started_at: the instant of its start; None: now.
        """
        self.run_id = _new_run_id()
        self.workflow, self.slo, self.parent = workflow, slo, parent
        self.remote_parent_id, self.runtime = remote_parent_id, runtime
        self.trace_id: str = trace_id or (parent.trace_id if parent else "")
        self.clock = clock or default_clock
        self.started_at = self.clock() if started_at is None else started_at
        self.deadline, self.enforced = self._bounds(outer_at)
        self.forecaster: Callable[[Run], QuantileForecast | None] | None = None
        self.finished = False
        self.outcome: str | None = None
        self.ended_at: float | None = None
        self.error: DeadlineExceeded | None = None
        self.decisions: deque[Decision] = deque(maxlen=MAX_DECISIONS)
        # Reentrant: an answer that was forgotten is closed by the garbage collector, which may run anywhere.
        self._lock = threading.RLock()
        self._calls = self._calls_at_error = self._holds = self._visits = 0
        self._skipped: list[str] = []
        self._begun: dict[str, float] = {}
        self._last_step: str | None = None
        self._spent_s: dict[str, float] = {}
        self._open: dict[tuple[str, int], str] = {}
        self._busy: dict[str, tuple[int, float]] = {}
        self._cost_usd = 0.0
        self._best: tuple[object] | None = None
        self._on_release: Callable[[], None] | None = None

    def _bounds(self, outer_at: float | None) -> tuple[Deadline | None, bool]:
        ignored = self.slo.on_late == "ignore"
        if outer_at is not None and (self.due_at is None or ignored or outer_at < self.due_at):
            return Deadline(outer_at), True
        return (None, False) if self.due_at is None else (Deadline(self.due_at), not ignored)

    @property
    def due_at(self) -> float | None:
        """Instant that the run's own SLO names, whatever surrounds it."""
        return None if self.slo.deadline_s is None else self.started_at + self.slo.deadline_s

    @property
    def limit_at(self) -> float | None:
        """Instant at which the run is cut, or None."""
        return self.deadline.at if self.deadline is not None and self.enforced else None

    @property
    def deadline_s(self) -> float | None:
        """Seconds the run was given, from its start."""
        if self.deadline is None or self.deadline.at == self.due_at:
            return self.slo.deadline_s
        return self.deadline.at - self.started_at

    def elapsed(self) -> float:
        """Seconds since the run started."""
        return self.clock() - self.started_at

    def remaining(self) -> float | None:
        """Seconds until the deadline, or until the end of a tighter ``deadline`` scope around the caller.

        None if there is neither; negative once it has passed.
        """
        end = earliest(None if self.deadline is None else self.deadline.at, inner_end(self))
        return None if end is None else end - self.clock()

    def budget(self) -> Budget:
        """What is left: seconds, and USD of the tightest cap among this run and those around it."""
        caps = [run.slo.max_cost_usd - run._cost_usd for run in self.lineage() if run.slo.max_cost_usd is not None]
        return Budget(time_s=self.remaining(), cost_usd=min(caps, default=None))

    @property
    def step(self) -> str | None:
        """The step that the caller of this property is in, else the last one reached; None if nobody named one."""
        return current_step(self) or self._last_step

    @property
    def p_meet(self) -> float | None:
        """Probability of meeting the deadline as of the last decision; None before one, and without a deadline."""
        return self.decisions[-1].p_meet if self.decisions else None

    def forecast(self) -> QuantileForecast | None:
        """Forecast of the seconds the run still needs; None if nothing is known."""
        return self.forecaster(self) if self.forecaster is not None else None

    def lineage(self) -> "Iterator[Run]":
        """This run, then the one around it, and so on outwards."""
        run: Run | None = self
        while run is not None:
            yield run
            run = run.parent

    # What the run does: calls, steps, spending.

    @property
    def calls(self) -> int:
        """How many model calls the run has begun."""
        return self._calls

    def next_call_index(self) -> int:
        """Number of the model call that begins now, from 0; from any thread."""
        with self._lock:
            index = self._calls
            self._calls += 1
        return index

    def next_visit(self) -> int:
        """Number of the visit of an optional step that begins now, from 0; from any thread."""
        with self._lock:
            number = self._visits
            self._visits += 1
        return number

    def leave_out(self, step: str) -> None:
        """Note that an optional step was left out; from any thread."""
        self._skipped.append(step)

    @property
    def skipped(self) -> tuple[str, ...]:
        """The optional steps that were left out so far, each as often as it was, in order."""
        return tuple(self._skipped)

    def begin_step(self, step: str, now: float) -> None:
        """Note that ``step`` has been reached: time reserved for it is no longer kept from the other steps."""
        self._begun.setdefault(step, now)
        self._last_step = step

    @property
    def begun(self) -> Mapping[str, float]:
        """Instant at which each step was first reached, in that order."""
        return MappingProxyType(self._begun)

    def open_call(self, number: int, step: str | None, since: float) -> None:
        """Note that model call ``number`` runs since that instant: its time is spent as it passes; from any thread."""
        name = step or _NO_STEP
        for run in self.lineage():
            with run._lock:
                run._open[self.run_id, number] = name
                calls, busy_since = run._busy.get(name, (0, since))
                run._busy[name] = (calls + 1, busy_since)
            name = run.workflow

    def close_call(self, number: int) -> None:
        """Note that the call is over; only the first time counts, from any thread."""
        now = self.clock()
        for run in self.lineage():
            with run._lock:
                name = run._open.pop((self.run_id, number), None)
                if name is None:
                    continue
                calls, since = run._busy.pop(name)
                if calls > 1:
                    run._busy[name] = (calls - 1, since)
                else:
                    run._spent_s[name] = run._spent_s.get(name, 0.0) + max(0.0, now - since)

    def charge(self, cost_usd: float) -> None:
        """Book the USD of a model call on the run and on those around it; from any thread."""
        for run in self.lineage():
            with run._lock:
                run._cost_usd += cost_usd

    @property
    def spent_s(self) -> tuple[tuple[str, float], ...]:
        """Seconds in which model calls ran, per step (per workflow for runs inside this one), longest first.

        Time in which several calls of a step ran side by side counts once. Calls that are still running count with what
        they have taken so far: a deadline error tells of the very call that it ends.
        """
        now = self.clock()
        with self._lock:
            spent, busy = dict(self._spent_s), dict(self._busy)
        for name, (_, since) in busy.items():
            spent[name] = spent.get(name, 0.0) + max(0.0, now - since)
        return tuple(sorted(spent.items(), key=lambda item: -item[1]))

    @property
    def cost_usd(self) -> float:
        """USD spent on model calls, those of runs inside this one included."""
        return self._cost_usd

    # How the run ends.

    def reserved_s(self, step: str | None) -> float:
        """Seconds kept back for steps other than ``step`` that have not been reached yet."""
        return sum(time for name, time in self.slo.reserve_s.items() if name != step and name not in self._begun)

    def remember_error(self, now: float, given_up: str = "") -> DeadlineExceeded:
        """The run's deadline error: made at the first time, the same one afterwards.

        ``given_up``: why the scheduler gave the run up before its time was spent.
        """
        if self.error is None:
            self._calls_at_error = self._calls
            self.error = DeadlineExceeded(
                run_id=self.run_id,
                workflow=self.workflow,
                step=self.step,
                deadline_s=self.deadline_s,
                elapsed_s=now - self.started_at,
                spent_s=self.spent_s,
                given_up=given_up,
            )
        return self.error

    @property
    def went_on(self) -> bool:
        """Whether the run still had time after its deadline error (one caused by a reserve) and made more calls."""
        cut = self.limit_at is not None and self.clock() >= self.limit_at - _GRAIN_S
        return self.error is not None and not cut and self._calls > self._calls_at_error

    @property
    def ended_early(self) -> bool:
        """Whether it ended because its time was spent or nobody wanted its result any more."""
        return self.outcome in ("deadline", "cancelled")

    def keep_best(self, value: object) -> None:
        """Note the best result so far: what the run returns if its deadline cuts it and it may end in part."""
        self._best = (value,)

    @property
    def best(self) -> tuple[object] | None:
        """The best result so far, in a tuple; None if none was named."""
        return self._best

    def is_late(self) -> bool:
        """Whether the instant that the SLO names, or the one at which the run is cut, has passed."""
        now = self.clock()
        return any(at is not None and now > at for at in (self.due_at, self.limit_at))

    def finish(self, outcome: str) -> None:
        """End the run and tell the runtime; only the first time counts, from any thread."""
        with self._lock:
            if self.finished:
                return
            self.finished, self.outcome, self.ended_at = True, outcome, self.clock()
            self._on_release = None
        if self.runtime is not None:
            self.runtime.end_run(self, outcome)

    def hold(self) -> None:
        """Keep the run open for an answer that is still being read, although its function may return before."""
        with self._lock:
            self._holds += 1

    def release(self) -> None:
        """Undo one `hold`; the last one ends a run whose function has returned."""
        with self._lock:
            self._holds -= 1
            on_release = self._on_release if self._holds == 0 else None
        if on_release is not None:
            on_release()

    def finish_when_released(self, finish: Callable[[], None]) -> None:
        """Call ``finish`` once nothing holds the run, which may be now."""
        with self._lock:
            if self._holds > 0:
                self._on_release = finish
                return
        finish()

    def __repr__(self) -> str:
        state = self.outcome if self.finished else "running"
        limit = "no deadline" if self.deadline_s is None else f"{self.elapsed():.2f} of {self.deadline_s:.2f} s"
        return f"<Run {self.run_id} {self.workflow!r} {state}, {limit}, {self._calls} calls>"


def _new_run_id() -> str:
    """16 random hex digits without "429": error texts hold them, and frameworks repeat a call whose error says that."""
    run_id = os.urandom(8).hex()
    while "429" in run_id:
        run_id = os.urandom(8).hex()
    return run_id


def current_run() -> Run | None:
    """The run the executing code belongs to: the innermost that is not over."""
    run = current_frame().run
    while isinstance(run, Run):
        if not run.finished:
            return run
        run = run.parent
    return None


def abandoned_run() -> Run | None:
    """The run that ended early, not long ago, and left the executing code behind: a thread or task that goes on.

    It must not make model calls any more: their time is spent, and nobody waits for their answers.
    """
    run = current_frame().run
    if not isinstance(run, Run) or current_run() is not None:
        return None
    for each in run.lineage():
        if each.ended_early and each.ended_at is not None and each.clock() - each.ended_at < LEFTOVER_S:
            return each
    return None


def effective_deadline(run: Run, step: str | None, now: float) -> float | None:
    """Instant by which a model call of ``step`` must be answered, or None if it is unbounded.

    The run's limit less what its SLO reserves for other steps not yet reached, or the end of a tighter ``deadline``
    scope around the caller: a scope inside one step owes nothing to the later ones.

    Args:
        run: the caller's run.
        step: the step that the call belongs to, if known; it counts as reached from ``now`` on.
        now: the instant of the call.
    """
    if step is not None:
        run.begin_step(step, now)
    return earliest(_limit_of_step(run, step), inner_end(run))


def _limit_of_step(run: Run, step: str | None) -> float | None:
    return None if run.limit_at is None else run.limit_at - run.reserved_s(step)


def deadline_error(run: Run, now: float) -> DeadlineExceeded:
    """The error for a caller whose time is spent.

    It is that of the scope that ended first: the run or a ``deadline`` scope inside it. Every scope around the caller
    whose time is spent as well remembers an error of its own, to raise it whatever a framework makes of this one.
    """
    inner = tightest_scope(run)
    limit_at = _limit_of_step(run, run.step)
    cause = inner if inner is not None and (limit_at is None or inner.deadline.at < limit_at) else run
    for scope in _scopes_around(run):
        if scope.deadline is not None and now >= scope.deadline.at - _GRAIN_S:
            scope.remember_error(now)
    return cause.remember_error(now)


def _scopes_around(run: Run) -> Iterator[Run | InnerScope]:
    inner = current_frame().inner
    while isinstance(inner, InnerScope):
        yield inner
        inner = inner.outer
    yield from (outer for outer in run.lineage() if outer.enforced)
