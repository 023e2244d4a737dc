"""Take the current run along into threads and executors, where context variables do not go by themselves.

Tasks of asyncio get the context variables of their starter, and with them the run; of these only the start is noted,
from which `lineage` knows what their calls go on from.
"""

import asyncio
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import Context
from types import MethodType
from typing import Any, ParamSpec, TypeVar

from agentsched.workflow.cutoff import Cutoff
from agentsched.workflow.frame import Frame, change_frame, current_frame, enter_frame, leave_frame
from agentsched.workflow.lineage import Strand, lineage_of
from agentsched.workflow.replacing import ReplacedMethod
from agentsched.workflow.scope import Run, abandoned_run, current_run
from agentsched.workflow.steps import current_step
from agentsched.workflow.thread_pools import ThreadPools
from agentsched.workflow.wrapping import wrap_function

__all__ = ["Carried", "capture", "carry", "install", "uninstall"]

P = ParamSpec("P")
R = TypeVar("R")

OWN_THREADS = "agentsched-"
"""Threads and executors whose name starts like this are agentsched's own: no run is theirs."""

_POOL_CLASSES = ("concurrent.", "anyio.")
_POOL_BODIES = ("concurrent.futures.", "anyio.from_thread", "multiprocessing.pool")
"""Modules whose threads serve whoever comes (workers, portals): they outlive the run that happens to start them, and
each job that is handed to them brings its own context. Not ``asyncio.run`` or ``anyio.run`` in a thread: that is a
user's work."""


_OTHER_INTERPRETERS = "concurrent.futures.interpreter"
"""Jobs of these executors (Python 3.14) are pickled: no run goes there, as none goes into another process."""

_CALLING_BACK = ("asyncio.", "concurrent.futures.", "anyio.")
"""Modules whose own callbacks only wake somebody up."""


class Carried:
    """The place of some code in its run, ready to be taken up in another context."""

    __slots__ = ("_frame",)

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def as_part_of(self, strand: object | None) -> "Carried":
        """The same place, taken up by code of that strand of the run."""
        return Carried(self._frame._replace(strand=strand, asked=None))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Execute a block in that place; any number of threads may do so at the same time."""
        token = enter_frame(self._frame)
        try:
            yield
        finally:
            leave_frame(token)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in that place."""
        token = enter_frame(self._frame)
        try:
            return fn(*args, **kwargs)
        finally:
            leave_frame(token)

    def work(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a job in that place, and note that it is over."""
        try:
            return self.call(fn, *args, **kwargs)
        finally:
            strand = self._frame.strand
            if isinstance(strand, Strand):
                strand.finish()

    def lifetime(self) -> "_CarriedLifetime":
        """A visit to that place that may be interrupted, by a generator for example."""
        return _CarriedLifetime(self._frame)


def capture(target: Iterable[object] = (), *, job: bool = False) -> Carried | None:
    """The caller's place in its run, or None outside any run.

    What a run left behind stays there: a thread that it starts is left behind as well.

    Args:
        target: what will be executed there, and what that will be given: whoever executes something in a copied context
            brings that along, and finds the place in it as well.
        job: whether it is for a job of an executor.
    """
    run = current_run() or abandoned_run()
    if run is None:
        return None
    strand = lineage_of(run).start(run.clock(), job=job)
    for context in _contexts_in(target):
        _take_up(context, run, strand)
    return Carried(current_frame()._replace(inherited_step=current_step(run), strand=strand, asked=None))


def _contexts_in(target: Iterable[object]) -> Iterator[Context]:
    for each in target:
        if isinstance(each, functools.partial):
            yield from _contexts_in((each.func, *each.args[:1]))
        elif isinstance(context := getattr(each, "__self__", None), Context):
            yield context


def carry(fn: Callable[P, R]) -> Callable[P, R]:
    """Bind a function to the current run, wherever it is called.

    See ``agentsched.carry``.
    """
    carried = capture()
    return fn if carried is None else wrap_function(fn, lambda *_, **__: carried.lifetime())


class _CarriedLifetime:
    """A visit to a run's frame that neither begins nor ends the run; see `drivers.Lifetime`."""

    __slots__ = ("_frame", "_token")

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def resume(self) -> None:
        self._token = enter_frame(self._frame)

    def suspend(self) -> None:
        self._frame = leave_frame(self._token)

    def cutoff(self) -> Cutoff:
        return Cutoff(None, lambda: None)

    def done(self) -> None:
        """The run goes on."""

    def keep(self, value: R) -> R:
        return value

    def fail(self, error: BaseException, *, cut: bool = False, yielded: bool = False) -> None:
        """The error is for the run's own scope to judge."""


def _start_around(patch: ReplacedMethod, original: Callable[[threading.Thread], None]) -> object:
    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        carried = capture(_target_of(self)) if patch.on and not _is_pool_thread(self) else None
        if carried is None:
            return original(self)
        return _start_carried(self, carried, original)

    return start


def _start_carried(thread: threading.Thread, carried: Carried, start: Callable[[threading.Thread], None]) -> None:
    run, own = thread.run, vars(thread).get("run")

    def put_back() -> None:
        if own is None:
            del thread.run
        else:
            thread.run = own  # type: ignore[method-assign]

    def carried_run(_: threading.Thread) -> None:
        put_back()
        carried.call(run)

    # Any subclass may override run: this reaches them all. A method as any other, for Sentry takes it apart.
    thread.run = MethodType(carried_run, thread)  # type: ignore[method-assign]
    try:
        start(thread)
    except BaseException:
        put_back()
        raise


def _submit_around(patch: ReplacedMethod, original: Callable[..., Future[R]]) -> object:
    @functools.wraps(original)
    def submit(self: ThreadPoolExecutor, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        carried = capture((fn, *args[:1]), job=True) if patch.on and not _is_pool_job(self, fn) else None
        if carried is None:
            return original(self, fn, *args, **kwargs)
        return original(self, functools.partial(carried.work, fn), *args, **kwargs)

    return submit


def _as_job(fn: Callable[P, R]) -> Callable[P, R]:
    """Bind a job of a pool to the place of whoever hands it in."""
    carried = capture((fn,), job=True)
    return fn if carried is None else functools.partial(carried.work, fn)


def _callback_around(
    patch: ReplacedMethod, original: Callable[[Future[R], Callable[[Future[R]], object]], None]
) -> object:
    """A future's callback goes on in the line of execution that added it, whoever calls it."""

    @functools.wraps(original)
    def add_done_callback(self: Future[R], fn: Callable[[Future[R]], object]) -> None:
        run = current_run() if patch.on else None
        if run is None or _module_of(fn).startswith(_CALLING_BACK):
            return original(self, fn)
        place = Carried(current_frame()._replace(inherited_step=current_step(run), asked=None))

        def call_back(future: Future[R]) -> None:
            place.call(fn, future)

        return original(self, call_back)

    return add_done_callback


def _create_task_around(patch: ReplacedMethod, original: Callable[..., asyncio.Task[R]]) -> object:
    @functools.wraps(original)
    def create_task(
        self: asyncio.AbstractEventLoop, coro: Any, *, context: Context | None = None, **options: Any
    ) -> asyncio.Task[R]:
        run = current_run() if patch.on and current_frame().run is not None else None
        if run is not None:
            strand = lineage_of(run).start(run.clock())
            if context is None:
                # The task copies the context that it is made in: not every task factory can be given one.
                with Carried(current_frame()._replace(strand=strand, asked=None)).applied():
                    return original(self, coro, **options)
            _take_up(context, run, strand)
        if context is not None:
            options["context"] = context
        return original(self, coro, **options)

    return create_task


def _take_up(context: Context, run: Run, strand: Strand) -> None:
    # Whoever gives a context that is in use goes on in it: that is no new strand.
    with suppress(RuntimeError):
        context.run(_enter_strand, run, strand)


def _enter_strand(run: Run, strand: Strand) -> None:
    """Go on in the strand, if this context is in the run at all."""
    if current_run() is run:
        change_frame(current_frame()._replace(strand=strand, asked=None))


def _is_pool_thread(thread: threading.Thread) -> bool:
    return (
        thread.name.startswith(OWN_THREADS)
        or type(thread).__module__.startswith(_POOL_CLASSES)
        or _module_of(getattr(thread, "_target", None)).startswith(_POOL_BODIES)
    )


def _target_of(thread: threading.Thread) -> tuple[object, ...]:
    return getattr(thread, "_target", None), *getattr(thread, "_args", ())[:1]


def _is_pool_job(executor: ThreadPoolExecutor, fn: Callable[..., object]) -> bool:
    prefix: str = getattr(executor, "_thread_name_prefix", "")
    elsewhere = type(executor).__module__ == _OTHER_INTERPRETERS
    return elsewhere or prefix.startswith(OWN_THREADS) or _module_of(fn).startswith(_POOL_BODIES)


def _module_of(fn: object) -> str:
    return getattr(fn, "__module__", None) or ""


_patches = (
    ReplacedMethod(threading.Thread, "start", _start_around),
    ReplacedMethod(ThreadPoolExecutor, "submit", _submit_around),
    ReplacedMethod(Future, "add_done_callback", _callback_around),
    ReplacedMethod(asyncio.BaseEventLoop, "create_task", _create_task_around),
    # From Python 3.12 on there are tasks that begin at once, which LangGraph for one makes without asking the loop.
    *(ReplacedMethod(asyncio, name, _create_task_around) for name in ("eager_task_factory",) if hasattr(asyncio, name)),
)
_timers = ReplacedMethod(threading.Timer, "start", _start_around)
"""OpenTelemetry gives timers a ``start`` of their own, which goes by the one of threads that there was before."""

_thread_pools = ThreadPools(_as_job)
_lock = threading.Lock()


def install() -> None:
    """Let threads that are started, work that is submitted to thread pools, and callbacks that are added to their
    futures inside a run belong to that run, and tasks that are started inside it be strands of it.

    ``ThreadPoolExecutor.map`` and ``loop.run_in_executor`` go through ``submit`` and are reached with it. Idempotent.
    """
    if all(patch.installed for patch in _patches):
        return
    with _lock:
        for patch in _patches:
            patch.install()
        if "start" in vars(threading.Timer):
            _timers.install()
        _thread_pools.install()


def uninstall() -> None:
    """Undo `install`: the replaced methods are the original objects again. Idempotent."""
    with _lock:
        for patch in _patches:
            patch.uninstall()
        _timers.uninstall()
        _thread_pools.uninstall()
