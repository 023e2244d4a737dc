"""Work that is done while its result is read: it belongs to the run that made it, also after that has returned."""

import inspect
import weakref
from collections.abc import AsyncGenerator, Generator
from typing import Any, TypeVar

from agentsched.workflow.cutoff import Cutoff
from agentsched.workflow.drivers import async_generator_driver, drive_generator
from agentsched.workflow.frame import Frame, current_frame, enter_frame, leave_frame
from agentsched.workflow.lifetime import raise_alone
from agentsched.workflow.scope import Run, current_run, deadline_error

__all__ = ["held_generator"]

T = TypeVar("T")


def held_generator(items: T) -> T:
    """A generator that does the work of ``items`` in the caller's run, wherever it is read.

    The run is kept open until it is exhausted, closed or forgotten. Once the run's time is spent it raises the run's
    `DeadlineExceeded`, whatever a framework makes of that.

    Args:
        items: a generator or an async generator that has not been started; anything else is handed back as it is, and
            so is everything outside a run.
    """
    run = current_run()
    if run is None:
        return items
    held: Generator[Any, Any, Any] | AsyncGenerator[Any, Any]
    if inspect.isgenerator(items):
        life = _Held(run, current_frame())
        held = drive_generator(life, items)
    elif inspect.isasyncgen(items):
        life = _Held(run, current_frame())
        held = async_generator_driver(lambda: items, lambda: life)()
    else:
        return items
    weakref.finalize(held, life.release).atexit = False
    return held  # type: ignore[return-value]  # of the same kind


class _Held:
    """A visit to the run's frame that keeps the run open; a `drivers.BodyLifetime`."""

    __slots__ = ("_frame", "_open", "_run", "_token")

    def __init__(self, run: Run, frame: Frame) -> None:
        self._run, self._frame, self._open = run, frame, True
        run.hold()

    def release(self) -> None:
        """The run need not stay open for this any more."""
        if self._open:
            self._open = False
            self._run.release()

    def resume(self) -> None:
        """See `drivers.Lifetime`."""
        self._token = enter_frame(self._frame)

    def suspend(self) -> None:
        """See `drivers.Lifetime`."""
        self._frame = leave_frame(self._token)

    def cutoff(self) -> Cutoff:
        """See `drivers.Lifetime`."""
        limit_at = None if self._run.finished else self._run.limit_at
        return Cutoff(None if limit_at is None else limit_at - self._run.clock(), self._cut)

    def _cut(self) -> None:
        now = self._run.clock()
        self._run.remember_error(now)
        deadline_error(self._run, now)

    def done(self) -> None:
        """See `drivers.Lifetime`."""
        self.release()

    def keep(self, value: T) -> T:
        """See `drivers.BodyLifetime`."""
        self.release()
        return value

    def fail(self, error: BaseException, *, cut: bool = False, yielded: bool = False) -> None:
        """See `drivers.Lifetime`."""
        late = self._run.error if cut or isinstance(error, Exception) else None
        if late is not None and not self._run.finished:
            self._run.finish("deadline")
        self.release()
        if late is not None:
            raise_alone(late)
