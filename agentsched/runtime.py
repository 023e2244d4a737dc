"""The composition root: settings become a scheduler, a dispatcher, a log and a learner, once per process and pool."""

import atexit
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from agentsched import clock
from agentsched.core.call import Observation, RunInfo
from agentsched.core.decision import Decision
from agentsched.core.endpoint import Pool
from agentsched.core.forecast import QuantileForecast
from agentsched.core.records import CallEnded, Feedback, Note, Recordable, RunClosed, StructureTold
from agentsched.core.structure import WorkflowStructure
from agentsched.dispatch.dispatcher import Dispatcher
from agentsched.dispatch.learning import BackgroundLearner
from agentsched.dispatch.neighbours import Neighbours
from agentsched.dispatch.recorder import EventRecorder
from agentsched.dispatch.remembering import Memory
from agentsched.dispatch.training import can_train
from agentsched.errors import ConfigError
from agentsched.forecast.calibration import Drift
from agentsched.forecast.length import EmpiricalLengths, Scope
from agentsched.forecast.quality import EmpiricalQualities
from agentsched.forecast.relearning import Relearned
from agentsched.forecast.remainder import WHOLE_RUN, EmpiricalRemainders
from agentsched.forking import in_forked_child
from agentsched.policy.table import make_policy
from agentsched.scheduler.events import ForecastsReplaced, RunEnded, RunStarted
from agentsched.scheduler.scheduler import Scheduler
from agentsched.settings import CONFIG_VARIABLE, DEFAULT_FILE, Settings, from_environment, load_settings
from agentsched.settings.learned_path import learned_path
from agentsched.state.profiles import ProfileFile
from agentsched.state.stores import open_store
from agentsched.telemetry.decision_log import DecisionLog
from agentsched.threads import start_apart
from agentsched.workflow.scope import Run

__all__ = ["PoolSource", "Runtime", "configure", "fresh_scheduler", "runtime_for", "shutdown"]


_logger = logging.getLogger("agentsched")


def fresh_scheduler(settings: Settings) -> Scheduler:
    """The scheduler that these settings describe, knowing nothing yet: what a runtime starts with, and a replay."""
    policy = make_policy(settings.policy.name, settings.policy.options)
    remainders = EmpiricalRemainders(guess=True)
    return Scheduler(settings.pool, policy, EmpiricalLengths(), remainders, settings.rules, settings.state.clients)


_STRUCTURES = 16
"""Structures that are kept of one workflow: a program that makes a new graph for every run would fill the memory."""


class Runtime:
    """Everything one process needs for one pool; implements what a `Run` tells its keeper.

    Attributes:
        settings: what it was made from.
        structures: how each workflow is built, by name, as far as frameworks have told.
        dispatcher: performs its calls.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.structures: dict[str, tuple[WorkflowStructure, ...]] = {}
        self._runs: WeakValueDictionary[str, Run] = WeakValueDictionary()
        self._last_ended: WeakKeyDictionary[Run, tuple[str, float]] = WeakKeyDictionary()
        self._log = _decision_log(settings)
        self._retired = False
        self._begin()

    def _begin(self) -> None:
        settings, self._closing = self.settings, False
        path = settings.log.record_events
        self._recorder = None if path is None else EventRecorder(path)
        take = None if self._recorder is None else self._recorder.take
        self.dispatcher = Dispatcher(fresh_scheduler(settings), self.emit, take)
        models = {endpoint.name: endpoint.model for endpoint in settings.pool.endpoints}
        self._learner = BackgroundLearner(
            self._learned,
            self._coverage_lost,
            self._relearned,
            self._make_memory(),
            models,
            self._train(),
            self._trained,
        )
        self._neighbours = self._make_neighbours()

    def _make_memory(self) -> Memory | None:
        path = learned_path(self.settings)
        if path is None:
            return None

        # A file that nobody asked for may well be impossible, in a container without a home, say.
        level = logging.INFO if self.settings.state.profiles is None else logging.WARNING

        def announce(text: str) -> None:
            _logger.log(level, text)
            self.emit(Note(clock.monotonic(), "profiles", text))

        return Memory(ProfileFile(path, announce), announce, self.dispatcher, self.settings.pool.endpoints)

    def _train(self) -> tuple[str, float] | None:
        """What is to be trained, and for how long at a time."""
        learning = self.settings.learning
        if learning.train == "off":
            return None
        if not can_train():
            self._trained("nothing is trained: learning.train needs torch (pip install 'agentsched[torch]')")
            return None
        return learning.train, learning.budget_s

    def _make_neighbours(self) -> Neighbours | None:
        state = self.settings.state
        if state.backend == "memory":
            return None
        opened = partial(open_store, state.backend, state.url)
        opened()  # what cannot be opened at all is told here and now; nothing is contacted

        def announce(text: str) -> None:
            self.emit(Note(clock.monotonic(), "state", text))

        return Neighbours(self.dispatcher, self.settings.pool.endpoints, opened, state.interval_s, announce)

    def begin_anew(self) -> None:
        """In a forked child: no thread, loop, lock or connection of the parent may be used.

        The recording of events stays the parent's: two processes cannot write one replayable file.
        """
        self.settings = replace(self.settings, log=replace(self.settings.log, record_events=None))
        if self._neighbours is not None:
            self._neighbours.abandon()
        self.dispatcher.abandon()
        self._begin()

    # -- what a run tells --------------------------------------------------------------------------------------------

    def start_run(self, run: Run) -> None:
        """A run begins."""
        self._learner.begin()
        if self._neighbours is not None:
            self._neighbours.join()
        self._runs[run.run_id] = run
        run.forecaster = self._rest_of
        slo = run.slo
        self.dispatcher.post(
            RunStarted(
                RunInfo(
                    run_id=run.run_id,
                    workflow=run.workflow,
                    started_at=run.started_at,
                    deadline_at=run.limit_at,
                    deadline_s=run.deadline_s,
                    parent_run_id=run.parent.run_id if run.parent is not None else run.remote_parent_id,
                    tenant=slo.tenant,
                    percentile=slo.percentile,
                    max_cost_usd=slo.max_cost_usd,
                    min_quality=slo.min_quality,
                    priority=slo.priority,
                    on_late=slo.on_late,
                )
            )
        )

    def end_run(self, run: Run, outcome: str) -> None:
        """A run is over."""
        self.dispatcher.post(RunEnded(run.run_id, outcome))
        if self._retired:
            self._close_when_idle()

    def emit(self, record: Recordable) -> None:
        """Pass a record to the run it belongs to, the learner and the log."""
        if isinstance(record, StructureTold):
            self._keep_structure(record)
            return
        if isinstance(record, Decision):
            run = self._runs.get(record.run_id)
            if run is not None:
                run.decisions.append(record)
        elif isinstance(record, CallEnded):
            run = self._runs.get(record.call.run_id)
            if run is not None:
                self._last_ended[run] = (record.call.step, record.ended_at)
                run.close_call(record.call.call_index)
                run.charge(record.cost_usd)
        if isinstance(record, (Observation, CallEnded, RunClosed, Feedback)):
            self._learner.take(record)
        if self._log is not None:
            self._log.emit(record)
        if self._retired:  # feedback, say, on a run of before
            self._close_when_idle()

    def _keep_structure(self, told: StructureTold) -> None:
        """The structures of a workflow, the newest last."""
        known = self.structures.get(told.workflow, ())
        if told.structure not in known:
            self.structures[told.workflow] = (*known, told.structure)[-_STRUCTURES:]
            self._learner.take(told)

    def _learned(
        self, lengths: EmpiricalLengths, remainders: EmpiricalRemainders, qualities: EmpiricalQualities
    ) -> None:
        self.dispatcher.post(ForecastsReplaced(lengths, remainders, qualities))

    def _coverage_lost(self, drift: Drift[Scope]) -> None:
        workflow, step, model = drift.group
        text = f"output lengths of step {step!r} of workflow {workflow!r} by {model!r} have changed: {drift}"
        self.emit(Note(clock.monotonic(), workflow, f"{text}; forecasts widened, older answers forgotten"))

    def _relearned(self, result: Relearned) -> None:
        self.emit(Note(clock.monotonic(), result.workflow, f"output lengths of workflow {result.workflow!r}: {result}"))

    def _trained(self, text: str) -> None:
        self.emit(Note(clock.monotonic(), "training", f"trained forecasts of output lengths: {text}"))

    def _rest_of(self, run: Run) -> QuantileForecast | None:
        """Seconds that ``run`` still needs, from how such runs went on after the call that ended last in it."""
        step, since = self._last_ended.get(run, (WHOLE_RUN, run.started_at))
        known = self._learner.remainders.rest_s(run.workflow, step)
        if known is None:
            return None
        waited = run.clock() - since
        return known.above(waited).shift(-waited)

    def fastest(self, model: str) -> tuple[float, float]:
        """Seconds to the first token when idle, and per token as things are now, of that endpoint which writes fastest
        among those that may answer for ``model``; there is one at least."""
        rows = list(self.settings.pool.serving(model))

        def read(scheduler: Scheduler, now: float) -> tuple[float, float]:
            table = scheduler.ledger.table
            pace = table.pace(now)[rows]
            best = int(pace.argmin())
            return float(table.rows.ttft_idle_s[rows[best]]), float(pace[best])

        return self.dispatcher.look(read)

    # -- life --------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Wait until what was emitted so far is learned and written."""
        self._learner.flush()
        if self._log is not None:
            self._log.flush()
        if self._recorder is not None:
            self._recorder.flush()

    def retire(self) -> None:
        """Another one takes its place: closed now if no run is open, else once the last one is over."""
        self._retired = True
        if not self._in_use():
            self.close()

    def _in_use(self) -> bool:
        """Whether a run is open, or a call that outlives its run."""
        runs = (ref() for ref in self._runs.valuerefs())
        return self.dispatcher.open_calls > 0 or any(run is not None and not run.finished for run in runs)

    def _close_when_idle(self) -> None:
        """In a thread of its own: whoever ends the last run, perhaps an event loop, is not to wait for it."""
        if self._closing or self._in_use():
            return
        self._closing = True
        thread = threading.Thread(target=self._close_aside, name="agentsched-close", daemon=True)
        try:
            start_apart(thread)
        except RuntimeError:  # no thread can be started: the process is ending, or at its limit
            self._closing = False

    def _close_aside(self) -> None:
        self._closing = False  # what comes from now on may start threads that this does not end
        self.close()

    def close(self, *, at_exit: bool = False) -> None:
        """Stop the threads; calls made afterwards start them anew where they are needed."""
        if self._neighbours is not None:
            self._neighbours.leave()
        self.dispatcher.close(at_exit=at_exit)  # whose last records are for the learner and the log
        self._learner.close()
        if self._log is not None:
            self._log.close()
        if self._recorder is not None:
            self._recorder.close()


def _decision_log(settings: Settings) -> DecisionLog | None:
    log = settings.log
    if log.path is None:
        return None
    return DecisionLog(log.path, max_bytes=log.max_bytes, backups=log.backups, prompts=log.prompts)


# -- the process's runtimes ------------------------------------------------------------------------------------------

_lock = threading.Lock()
_default: Runtime | None = None
_asked_environment = False
_by_pool: dict[object, tuple[object, Runtime]] = {}
"""By the identity of what names the pool, which is held so that nothing else takes its identity, or by its path."""
_replaced: WeakSet[Runtime] = WeakSet()
"""Defaults of before; runs may still be open in them."""

PoolSource = Pool | Settings | Mapping[str, object] | str | os.PathLike[str] | None
"""What names a pool: itself, complete settings, the path of a file, or such a file's content as a mapping."""


def configure(source: PoolSource) -> Runtime:
    """Make the process's default runtime from a file, a pool or settings; the one before ends with its last run.

    Raises:
        ConfigError: the source cannot be used; nothing is changed then.
    """
    global _default, _asked_environment
    settings = _settings(source)
    if settings is None:
        raise ConfigError("nothing to configure from", field="AGENTSCHED_CONFIG", allowed="the path of a pool.yaml")
    with _lock:
        old, _default = _default, Runtime(settings)
        _asked_environment = True
        made = _default
        if old is not None:
            _replaced.add(old)
    if old is not None:
        old.retire()
    return made


def _settings(source: PoolSource) -> Settings | None:
    if source is None:
        return from_environment()
    return load_settings(source if isinstance(source, (Pool, Settings, Mapping)) else _path(source))


def _path(source: object) -> str:
    if not isinstance(source, (str, os.PathLike)):
        allowed = "a Pool, Settings, the path of a configuration file, or the content of one as a mapping"
        raise ConfigError("names no pool", field="pool", given=type(source), allowed=allowed)
    return os.fspath(source)


def runtime_for(pool: PoolSource = None) -> Runtime | None:
    """The runtime of this pool, made at its first use; of the configured or the environment's one if None is given.

    None when nothing is configured: runs are then bounded in time and their calls pass through.

    Raises:
        ConfigError: the pool, or the file that AGENTSCHED_CONFIG names, cannot be used.
    """
    if pool is None:
        return _default if _default is not None or _asked_environment else _from_environment()
    key = id(pool) if isinstance(pool, (Pool, Settings, Mapping)) else _path(pool)
    with _lock:
        known = _by_pool.get(key)
        if known is None:
            settings = _settings(pool)
            assert settings is not None
            known = _by_pool[key] = (pool, Runtime(settings))
        return known[1]


def _from_environment() -> Runtime | None:
    global _default, _asked_environment
    with _lock:
        if _default is None and not _asked_environment:
            settings = from_environment()
            if settings is None and DEFAULT_FILE.exists():
                _logger.warning(
                    "%s lies here but nothing names it: calls are bounded in time, not scheduled "
                    "(set %s, or call agentsched.configure)",
                    DEFAULT_FILE,
                    CONFIG_VARIABLE,
                )
            _default = None if settings is None else Runtime(settings)
            _asked_environment = True
        return _default


def shutdown(*, at_exit: bool = False) -> None:
    """Close every runtime of this process and forget them; the next use makes new ones."""
    global _default, _asked_environment
    with _lock:
        runtimes = _all_runtimes()
        _replaced.clear()
        _by_pool.clear()
        _default, _asked_environment = None, False
    for runtime in runtimes:
        runtime.close(at_exit=at_exit)


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for runtime in _all_runtimes():
        runtime.begin_anew()


def _all_runtimes() -> list[Runtime]:
    named = [runtime for _, runtime in _by_pool.values()]
    return [*_replaced, *named, *([_default] if _default is not None else [])]


in_forked_child(_after_fork)
atexit.register(shutdown, at_exit=True)
