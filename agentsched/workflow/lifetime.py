"""From the start of a scope to its end: what is in force inside, and what is raised when its time is spent."""

import asyncio
import concurrent.futures
import inspect
import logging
import weakref
from contextvars import Token
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import NoReturn, TypeAlias, TypeVar, cast

from agentsched.errors import DeadlineExceeded
from agentsched.workflow.cutoff import Cutoff
from agentsched.workflow.drivers import async_generator_driver, drive_coroutine, drive_generator
from agentsched.workflow.frame import Frame, FrameChange, current_frame, enter_frame, leave_frame
from agentsched.workflow.inner import InnerScope
from agentsched.workflow.scope import Run, deadline_error

__all__ = ["InnerLifetime", "RunLifetime", "raise_alone"]

logger = logging.getLogger("agentsched")

T = TypeVar("T")
LazyBody: TypeAlias = (
    "CoroutineType[object, object, object] | GeneratorType[object, object, object] | AsyncGeneratorType[object, object]"
)

_PLAIN_DATA = (type(None), str, bytes, int, float)
"""Results that cannot have an unread answer behind them."""


def raise_alone(error: BaseException) -> NoReturn:
    """Raise an error without cause and without context: frameworks read those, and try again."""
    try:
        raise error from None
    finally:
        error.__context__ = None


class RunLifetime:
    """The life of one run, whatever kind of function is its body."""

    __slots__ = ("_frame", "_token", "run")

    def __init__(self, run: Run, step: str | None = None) -> None:
        """Prepare the frame of ``run``, in ``step`` if that is known already."""
        self.run = run
        before = current_frame()
        hints = before.hints.for_another_run()
        self._frame = Frame(run=run, inner=before.inner, step=step, hints=hints, optional=before.optional)
        self._token: Token[Frame]

    def resume(self) -> None:
        """See `drivers.Lifetime`."""
        self._token = enter_frame(self._frame)

    def suspend(self) -> None:
        """See `drivers.Lifetime`."""
        self._frame = leave_frame(self._token)

    def cutoff(self) -> Cutoff:
        """See `drivers.Lifetime`."""
        limit_at = self.run.limit_at
        return Cutoff(None if limit_at is None else limit_at - self.run.clock(), self._cut)

    def _cut(self) -> None:
        now = self.run.clock()
        self.run.remember_error(now)
        deadline_error(self.run, now)

    def done(self) -> None:
        """See `drivers.Lifetime`; an answer that the body has left behind unread may still be wanted."""
        self.run.finish_when_released(self._finish)

    def _finish(self) -> None:
        self.run.finish("late" if self.run.is_late() else "ok")

    def keep(self, value: T) -> T:
        """See `drivers.Lifetime`."""
        driver = self._driver_of(value)
        if driver is not None:
            return cast(T, driver)
        if isinstance(value, (asyncio.Future, concurrent.futures.Future)):
            value.add_done_callback(self._future_done)
        elif isinstance(value, _PLAIN_DATA):
            self._finish()
        else:
            self.done()
        return value

    def _driver_of(self, value: object) -> "LazyBody | None":
        """What stands for a coroutine or generator that has been returned, so that the run lives on in it."""
        driver: LazyBody
        if inspect.iscoroutine(value):
            driver = cast("CoroutineType[object, object, object]", drive_coroutine(self, value))
        elif inspect.isgenerator(value):
            driver = cast("GeneratorType[object, object, object]", drive_generator(self, value))
        elif inspect.isasyncgen(value):
            make = async_generator_driver(lambda: value, lambda: self)
            driver = cast("AsyncGeneratorType[object, object]", make())
        else:
            return None
        driver.__name__, driver.__qualname__ = value.__name__, value.__qualname__
        # A driver that nobody ever starts executes nothing that could end the run.
        weakref.finalize(driver, self._abandon, cast(LazyBody, value)).atexit = False
        return driver

    def _abandon(self, body: LazyBody) -> None:
        if not inspect.isasyncgen(body):
            body.close()
        self.run.finish("cancelled")

    def _future_done(self, future: asyncio.Future[object] | concurrent.futures.Future[object]) -> None:
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is None:
            self.done()
        else:
            self._end(error, cut=False)

    def fail(self, error: BaseException, *, cut: bool = False, yielded: bool = False) -> tuple[object] | None:
        """See `drivers.Lifetime`; a run that may end in part ends with the best result so far, if there is one."""
        late = self._end(error, cut=cut)
        if late is None:
            return None
        if self.run.slo.on_late == "partial":
            if self.run.best is not None:
                return self.run.best
            if yielded:
                return (None,)
        raise_alone(late)

    def _end(self, error: BaseException, *, cut: bool) -> DeadlineExceeded | None:
        late = self._late_error(error, cut=cut)
        self.run.finish("deadline" if late is not None else _outcome_of(error, self.run))
        if late is not None and late is not error:
            logger.info("run %s ended at its deadline, hiding this error", self.run.run_id, exc_info=error)
        return late

    def _late_error(self, error: BaseException, *, cut: bool) -> DeadlineExceeded | None:
        run = self.run
        if cut:
            return run.error
        if not isinstance(error, Exception):
            return None  # a cancellation by someone else, an interrupt: never to be swallowed
        if run.error is None:
            return error if isinstance(error, DeadlineExceeded) and error.run_id == run.run_id else None
        return None if run.went_on and not _tells_of(error, run) else run.error


class InnerLifetime:
    """The life of a ``deadline`` scope inside a run."""

    __slots__ = ("_change", "_scope")

    def __init__(self, scope: InnerScope) -> None:
        self._scope = scope
        self._change: FrameChange

    def resume(self) -> None:
        """See `drivers.Lifetime`."""
        self._change = FrameChange("inner", self._scope)

    def suspend(self) -> None:
        """See `drivers.Lifetime`."""
        self._change.undo()

    def cutoff(self) -> Cutoff:
        """See `drivers.Lifetime`."""
        return Cutoff(self._scope.deadline.at - self._scope.run.clock(), self._cut)

    def _cut(self) -> None:
        run = self._scope.run
        self._scope.remember_error(run.clock())
        deadline_error(run, run.clock())

    def done(self) -> None:
        """See `drivers.Lifetime`; nothing has to be told to anyone."""

    def fail(self, error: BaseException, *, cut: bool = False, yielded: bool = False) -> None:
        """See `drivers.Lifetime`; a block has no result that it could give in part."""
        late = self._scope.error
        if late is None or not (cut or isinstance(error, Exception)):
            return
        if late is not error:
            logger.info("a deadline scope of run %s ended, hiding this error", self._scope.run.run_id, exc_info=error)
        raise_alone(late)


def _outcome_of(error: BaseException, run: Run) -> str:
    if isinstance(error, DeadlineExceeded):
        return "deadline"
    if isinstance(error, (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)):
        return "cancelled" if run.error is None else "deadline"
    return "error"


def _tells_of(error: BaseException, run: Run) -> bool:
    """Whether an error is, wraps or quotes a deadline error of ``run``."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, DeadlineExceeded) or run.run_id in _text_of(each):
            return True
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
    return False


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - it is the user's own, and its text must not take its place
        return ""
