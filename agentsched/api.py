"""The public functions: open a scope, look at it, say something about it, take it along."""

import functools
import importlib
import inspect
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

from agentsched.core.duration import Duration, parse_duration
from agentsched.core.endpoint import Pool
from agentsched.core.records import Feedback
from agentsched.core.slo import SLO
from agentsched.errors import ConfigError
from agentsched.workflow import carry as carrying
from agentsched.workflow import wire
from agentsched.workflow.drivers import Lifetime
from agentsched.workflow.frame import FrameChange, current_frame
from agentsched.workflow.hints import merged_hints
from agentsched.workflow.inner import InnerScope
from agentsched.workflow.lifetime import InnerLifetime, RunLifetime, raise_alone
from agentsched.workflow.optional import OptionalLifetime, OptionalStep
from agentsched.workflow.scope import (
    Run,
    RunKeeper,
    current_run,
    deadline_error,
    effective_deadline,
    present,
)
from agentsched.workflow.steps import checked_name, name_step
from agentsched.workflow.wrapping import Block, wrap_function

if TYPE_CHECKING:
    from agentsched.runtime import Runtime
    from agentsched.settings import Settings

__all__ = [
    "attach",
    "best_so_far",
    "carry",
    "check",
    "configure",
    "current",
    "deadline",
    "feedback",
    "hint",
    "instrument",
    "optional",
    "propagate",
    "propagate_env",
    "step",
    "uninstrument",
    "workflow",
]

logger = logging.getLogger("agentsched")

P = ParamSpec("P")
R = TypeVar("R")

PoolSource: TypeAlias = "Pool | Settings | Mapping[str, object] | str | os.PathLike[str]"
"""A pool, complete settings, the path of a configuration file, or the content of one as a mapping."""


class _RuntimeModule(Protocol):
    def runtime_for(self, pool: "PoolSource | None" = None) -> "Runtime | None": ...
    def configure(self, source: PoolSource) -> "Runtime": ...


class _InterceptModule(Protocol):
    def instrument(self) -> None: ...
    def uninstrument(self) -> None: ...


def _runtime() -> _RuntimeModule:
    # Loaded at the first run: a program that only decorates pays for no HTTP client and no scheduler.
    return cast(_RuntimeModule, importlib.import_module("agentsched.runtime"))


def _intercept() -> _InterceptModule:
    return cast(_InterceptModule, importlib.import_module("agentsched.intercept"))


@overload
def workflow(slo: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def workflow(
    slo: SLO | Duration | None = None, *, name: str | None = None, pool: "PoolSource | None" = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def workflow(
    slo: SLO | Duration | Callable[P, R] | None = None,
    *,
    name: str | None = None,
    pool: "PoolSource | None" = None,
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Make each call of a function one run: its model calls share one deadline and are scheduled together.

    Functions, coroutine functions, generator functions and async generator functions keep their kind, name and
    signature. The run of a generator lasts until it is exhausted or closed; its consumer, between two items, is not
    part of it. A coroutine or generator that a plain function returns belongs to the run as well. A workflow called
    inside another is a run inside that run: the earlier deadline holds, and its money is that one's money. Where it has
    no SLO of its own it takes percentile, quality, priority and tenant from there.

    At the deadline, coroutines and async generators are cancelled and raise `DeadlineExceeded`; synchronous code
    raises it at its next model call or at `check`. Whatever error a framework makes of it inside, it leaves the
    function as `DeadlineExceeded`, without cause or context. A function that returns after its deadline has returned:
    its value is handed out and the run counts as late. A thread or task that goes on after the run was cut, or
    cancelled, is refused further model calls.

    Args:
        slo: the target, or just its deadline, e.g. ``"20s"``; None: no bound of its own.
        name: the workflow's name, under which its calls are learned; None: the function's.
        pool: where its calls may go: a `Pool`, the path of a configuration file, or what else `configure` takes; None:
            that of the run around it, else what `configure` or ``AGENTSCHED_CONFIG`` says. Without any, calls are
            bounded in time only.

    Returns:
        The decorated function; with no function given yet, the decorator.

    Raises:
        ConfigError: the SLO or the name cannot be used, or what is decorated is no function. At the call of the
            function: the pool cannot be used.

    Example:
        >>> import agentsched as ags
        >>> @ags.workflow(slo=ags.SLO(deadline="20s"))
        ... def answer(question: str) -> str:
        ...     return question.upper()
        >>> answer("why?")
        'WHY?'
    """
    if callable(slo) or isinstance(slo, (staticmethod, classmethod)):
        return _decorated(slo, None, name, pool)
    target = slo if isinstance(slo, SLO) or slo is None else SLO(deadline=slo)
    return functools.partial(_decorated, slo=target, name=name, pool=pool)


def _decorated(fn: Callable[P, R], slo: SLO | None, name: str | None, pool: "PoolSource | None") -> Callable[P, R]:
    if isinstance(fn, (staticmethod, classmethod)):
        return cast(Callable[P, R], type(fn)(_decorated(fn.__func__, slo, name, pool)))
    if inspect.isclass(fn) or not callable(fn):
        raise ConfigError("not a function", field="workflow", given=fn, allowed="a function of any kind")
    title = checked_name(name, "workflow.name") if name else _name_of(fn)
    return wrap_function(fn, lambda *_, **__: _begin_run(title, slo, pool=pool))


def _name_of(fn: Callable[..., object]) -> str:
    """``Agent.run`` for a method, ``answer`` for a function, wherever it was defined."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    name: str = getattr(fn, "__qualname__", type(fn).__qualname__)
    return name.rpartition("<locals>.")[2]


def deadline(duration: Duration) -> Block:
    """Bound a block of code: ``with ags.deadline("5s"):`` or ``async with ags.deadline("5s"):``.

    Inside a run it is a tighter bound for part of it (of nested ones the earliest holds); outside, the block is a
    run of its own, named "deadline". ``async with`` cancels the block at its end; under ``with``, code stops at its
    next model call or at `check`. Either raises `DeadlineExceeded` out of the block.

    Args:
        duration: seconds, a timedelta, or text such as ``"5s"``.

    Raises:
        ConfigError: the duration cannot be used.
    """
    seconds = parse_duration(duration, field="deadline")
    return Block(lambda: _begin_deadline(seconds))


def _begin_deadline(seconds: float) -> Lifetime:
    run = current_run()
    return _begin_run("deadline", SLO(deadline=seconds)) if run is None else InnerLifetime(InnerScope(run, seconds))


def attach(headers: wire.Headers | None = None) -> Block:
    """Go on with a run that another process has begun: ``with ags.attach(request.headers):``.

    The block is a run that ends when the sender's time is up, counted from now; the seconds, the run's id, its
    workflow, step, priority and tenant are read from the W3C ``baggage`` header and the trace from ``traceparent``.
    Without such entries the block is no run. What cannot be read is left out with one warning. The sender is
    believed: take these headers from callers you trust.

    Args:
        headers: of the incoming request, as a mapping or as pairs; None: what `propagate_env` has put into this
            process's environment, which the first runs of a process take into account by themselves as well.

    Returns:
        A context manager, for ``with`` and for ``async with``, which also cancels the block when the time is up.
    """
    arrived_at = present()
    arrival = wire.environment_arrival(arrived_at) if headers is None else wire.read_headers(headers)
    if arrival is None:
        return Block(lambda: None)
    return Block(lambda: _begin_run(arrival.workflow or "attached", None, arrival=arrival, arrived_at=arrived_at))


def _begin_run(
    name: str,
    slo: SLO | None,
    *,
    pool: "PoolSource | None" = None,
    arrival: wire.Arrival | None = None,
    arrived_at: float | None = None,
) -> RunLifetime:
    """Open a run in the caller's place: inside the run that is current there, and within what ``arrival`` says."""
    now = present()  # before anything is loaded: the first run of a process pays for that out of its own time
    instrument()
    parent = current_run()
    if parent is None and arrival is None:
        arrival, arrived_at = wire.environment_arrival(now), now
    ends = [None if parent is None else effective_deadline(parent, parent.step, now)]
    if arrival is not None and arrival.remaining_s is not None:
        ends.append((now if arrived_at is None else arrived_at) + arrival.remaining_s)
    run = Run(
        name,
        slo or _inherited_slo(parent, arrival),
        parent=parent,
        outer_at=min((at for at in ends if at is not None), default=None),
        remote_parent_id=arrival.run_id if arrival else None,
        trace_id=arrival.trace_id if arrival else "",
        runtime=parent.runtime if parent is not None and pool is None else _runtime().runtime_for(pool),
        started_at=now,
    )
    _remember(run)
    if run.runtime is not None:
        run.runtime.start_run(run)
    return RunLifetime(run, step=arrival.step if arrival else None)


def _inherited_slo(parent: Run | None, arrival: wire.Arrival | None) -> SLO:
    """The SLO of a run that was given none: that of whoever asked for it, but for deadline and money, which hold
    from outside anyway."""
    slo = SLO() if parent is None else parent.slo
    return SLO(
        percentile=slo.percentile,
        min_quality=slo.min_quality,
        priority=slo.priority if arrival is None or arrival.priority is None else arrival.priority,
        tenant=slo.tenant if arrival is None or arrival.tenant is None else arrival.tenant,
    )


def current() -> Run | None:
    """The run that the caller belongs to, the innermost if nested; None outside any run."""
    return current_run()


def check() -> None:
    """Stop here if the time is spent; for synchronous code between its model calls.

    Raises:
        DeadlineExceeded: the run's time, the step's (what is reserved for other steps is not its own) or that of a
            ``deadline`` block has passed. Outside a run it never raises.
    """
    run = current_run()
    if run is None:
        return
    now = run.clock()
    at = effective_deadline(run, run.step, now)
    if at is not None and now >= at:
        raise_alone(deadline_error(run, now))


def best_so_far(value: object) -> None:
    """Name what the run should return if its time is up now; the newest value named counts.

    With ``SLO(on_late="partial")`` the workflow function then returns it at the deadline instead of raising; whatever
    else ``on_late`` says, and outside a run, it changes nothing. A generator has handed out its best already: it just
    ends, and a generator function returns this value.

    Args:
        value: what the workflow function would return, e.g. the draft, or a framework's state, as it stands.
    """
    run = current_run()
    if run is not None:
        run.keep_best(value)


@overload
def step(name: str, *, optional: Literal[False] = False) -> FrameChange: ...


@overload
def step(name: str, *, optional: Literal[True]) -> OptionalStep: ...


def step(name: str, *, optional: bool = False) -> FrameChange | OptionalStep:
    """Name the step that the following model calls belong to: ``with ags.step("plan"):`` or just ``ags.step("plan")``.

    Steps key what is learned, and what an SLO reserves time for. As a plain call it holds for the rest of the current
    context: to the end of the workflow function, or to the next `step`. A name given here wins over the one that a
    framework adapter sees.

    Args:
        name: the step's name.
        optional: whether the block may be left at its first model call, before anything is sent, if the run would
            likely be late with it and in time without (``docs/rectify.md``). It takes a ``with`` or ``async with``
            block, which then ends there, whatever a framework makes of the `StepSkipped` that its calls raise;
            ``skipped`` of the block tells. See also `optional`.

    Raises:
        ConfigError: the name is empty or no text.
    """
    if optional:
        return OptionalStep(name)
    entered = name_step(name)
    run = current_run()
    if run is not None:
        run.begin_step(name, run.clock())
    return entered


@overload
def optional(fn: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def optional(*, default: object = None, name: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def optional(
    fn: Callable[P, R] | None = None, /, *, default: object = None, name: str | None = None
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Make each call of a function an optional step: it returns ``default`` where the step is left out.

    That is decided at its first model call, before anything is sent: see `step`. Functions, coroutine functions,
    generator functions (which end there) and async generator functions keep their kind. A function that catches the
    `StepSkipped` of its calls returns ``default`` as well. The node of a graph is such a function: one that returns
    None, or an empty update, leaves the state as it is.

    Args:
        fn: the function, where nothing else is said.
        default: what is returned instead; a plain function of the arguments is called with them.
        name: the step's name; None: the function's.

    Raises:
        ConfigError: what is decorated is no function, or the name is empty or no text.

    Example:
        >>> import agentsched as ags
        >>> @ags.optional(default=lambda draft: draft)
        ... def improved(draft: str) -> str:
        ...     return draft.title()
        >>> improved("why not")
        'Why Not'
    """
    if fn is not None:
        return _made_optional(fn, None, None)
    return functools.partial(_made_optional, default=default, name=name)


def _made_optional(fn: Callable[P, R], default: object, name: str | None) -> Callable[P, R]:
    if isinstance(fn, (staticmethod, classmethod)):
        return cast(Callable[P, R], type(fn)(_made_optional(fn.__func__, default, name)))
    if inspect.isclass(fn) or not callable(fn):
        raise ConfigError("not a function", field="optional", given=fn, allowed="a function of any kind")
    title = checked_name(_name_of(fn) if name is None else name)

    def start(*args: P.args, **kwargs: P.kwargs) -> OptionalLifetime:
        return OptionalLifetime(title, lambda: default(*args, **kwargs) if callable(default) else default)

    return wrap_function(fn, start)


def hint(
    *, expected_calls: float | None = None, output_tokens: int | None = None, repeatable: bool | None = None
) -> FrameChange:
    """Say what is known of the model calls to come; for a ``with`` block, or for the rest of the current context.

    Args:
        expected_calls: calls that this run will still make one after the other, the next one included.
        output_tokens: length of each answer.
        repeatable: False: a call must not be sent a second time once it may have had an effect.

    Raises:
        ConfigError: a value cannot be used.
    """
    run = current_run()
    hints = merged_hints(
        current_frame().hints,
        expected_calls=expected_calls,
        output_tokens=output_tokens,
        repeatable=repeatable,
        calls_so_far=0 if run is None else run.calls,
    )
    return FrameChange("hints", hints)


def carry(fn: Callable[P, R]) -> Callable[P, R]:
    """Bind a function to the current run, for a thread or callback that would otherwise be outside it.

    Threads that are started inside a run, and work that is handed to executors, a ``multiprocessing.pool.ThreadPool``
    or an event loop there, belong to it without this. It is needed for threads that existed before and take work from
    a queue of their own, and for greenlets.

    Args:
        fn: a function, coroutine function, generator function or async generator function.

    Returns:
        A function of the same kind that runs where this call was made: same run, step and bounds; ``fn`` itself
        outside a run. It may be called any number of times, in parallel as well. Once the run has ended it is
        outside again; but if the run was cut at its deadline, or cancelled, what goes on of it gets no more model
        calls for a while (30 s).
    """
    return carrying.carry(fn)


def propagate(headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """A copy of ``headers`` that tells the receiver what is left of the current run, for `attach` over there.

    Adds to W3C ``baggage`` the seconds that remain here and the run's id, workflow, step, priority and tenant, keeps
    the entries of others, and adds a ``traceparent`` if there is none. Outside a run nothing is added.
    """
    return wire.propagated_headers(current_run(), headers)


def propagate_env(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """A copy of ``env`` (None: of this process's environment) for a subprocess that is to stay inside the current run.

    The runs of a program started with it are bounded by what is left here, counted from its import of agentsched.
    """
    return wire.propagated_env(current_run(), env)


_recent: OrderedDict[str, RunKeeper | None] = OrderedDict()
MAX_RECENT = 4096
"""How many runs are remembered, so that feedback on them reaches the log they were written to."""


def _remember(run: Run) -> None:
    _recent[run.run_id] = run.runtime
    if len(_recent) > MAX_RECENT:
        _recent.popitem(last=False)


def feedback(run: Run | str, score: float) -> None:
    """Say how good the result of a run was; it is written to the log beside the run.

    Args:
        run: the run or its id.
        score: from 0, useless, to 1, perfect.

    Raises:
        ConfigError: the score is out of range, or ``run`` is neither a run nor an id.
    """
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
        raise ConfigError("not a score", field="feedback.score", given=score, allowed="a number from 0 to 1")
    run_id = run.run_id if isinstance(run, Run) else run
    if not isinstance(run_id, str) or not run_id:
        raise ConfigError("not a run", field="feedback.run", given=run, allowed="a Run or its run_id")
    runtime = _recent.get(run_id) or _runtime().runtime_for(None)
    if runtime is None:
        logger.info("nothing is configured that would keep the feedback on run %s", run_id)
        return
    runtime.emit(Feedback(run_id=run_id, score=float(score), at=present()))


def configure(source: PoolSource) -> "Runtime":
    """Set the pool that workflows use unless they name their own; replaces what was configured before.

    Runs that are open go on with what they began with.

    Args:
        source: a `Pool`, `agentsched.settings.Settings`, the path of a configuration file, or the content of such a
            file as a mapping.

    Returns:
        The runtime of that pool.

    Raises:
        ConfigError: the source cannot be used; it names the file, line and field.
    """
    return _runtime().configure(source)


def instrument() -> None:
    """Catch model calls, and carry runs into threads, from now on; every run does this at its start. Idempotent.

    Outside runs nothing changes.
    """
    _intercept().instrument()
    carrying.install()


def uninstrument() -> None:
    """Undo `instrument` without a trace, until the next run starts or `instrument` is called. Idempotent."""
    _intercept().uninstrument()
    carrying.uninstall()
