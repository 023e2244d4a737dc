"""Optional steps: blocks and functions that are left at their first model call where the run needs their time."""

import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from agentsched.core.optional import visit_of
from agentsched.errors import ConfigError, DeadlineExceeded, StepSkipped
from agentsched.workflow.cutoff import Cutoff
from agentsched.workflow.drivers import async_generator_driver, drive_coroutine, drive_generator
from agentsched.workflow.frame import FrameChange, current_frame
from agentsched.workflow.scope import Run, current_run
from agentsched.workflow.steps import checked_name

__all__ = ["OptionalLifetime", "OptionalStep", "Visit", "leave_out", "left_visit", "open_visits", "settle_visits"]

logger = logging.getLogger("agentsched")

T = TypeVar("T")


class Visit:
    """One visit of an optional step.

    Attributes:
        step: the step's name.
        run: the run that it belongs to.
        name: what names it in its run, see `agentsched.core.optional`.
        outer: the visit of an optional step around it, of this run or of one around that, or None.
        left: why it was left out; empty: it was not.
        settled: whether nobody decides about it any more: it is over, though threads and streams of it may go on; or it
            has begun with a call that its run's scheduler does not see.
    """

    __slots__ = ("_lock", "left", "name", "outer", "run", "settled", "step")

    def __init__(self, step: str, run: Run) -> None:
        """Begin it in the caller's place."""
        self.step, self.run, self.name = step, run, visit_of(step, run.next_visit())
        outer = current_frame().optional
        self.outer = outer if isinstance(outer, Visit) else None
        self.left, self.settled = "", False
        self._lock = threading.Lock()

    def leave(self, why: str) -> bool:
        """Note that it is left out; whether that is news, from any thread."""
        with self._lock:
            news, self.left = not self.left, self.left or why
        return news


def _around() -> Iterator[Visit]:
    """The visits around the executing code, innermost first."""
    visit = current_frame().optional
    while isinstance(visit, Visit):
        yield visit
        visit = visit.outer


def open_visits(run: Run) -> tuple[str, ...]:
    """The names of the visits around the executing code that belong to ``run``, outermost first."""
    if current_frame().optional is None:
        return ()
    return tuple(visit.name for visit in _around() if visit.run is run and not visit.settled)[::-1]


def settle_visits(scheduled: Run | None = None) -> None:
    """Note that a call is made: it begins the steps around, but for those of the run for which it is ``scheduled``."""
    if current_frame().optional is None:
        return
    for visit in _around():
        if visit.run is not scheduled:
            visit.settled = True


def left_visit() -> StepSkipped | None:
    """The error for calls of a step that was left out already, while its code goes on; None: none around was."""
    if current_frame().optional is None:
        return None
    found = next((visit for visit in _around() if visit.left), None)
    return None if found is None else StepSkipped(found.step, found.left, found.name)


def leave_out(error: StepSkipped, run: Run) -> None:
    """Note that a step of the run was left out, in the place of the call that was told so; once per visit."""
    visit = next((each for each in _around() if each.run is run and each.name == error.visit), None)
    if visit is not None and visit.leave(error.why):
        run.leave_out(visit.step)


class OptionalLifetime:
    """The life of one visit of an optional step; a `drivers.BodyLifetime`.

    Whatever error a framework makes of the one that the step's calls raise, it ends here.

    Args:
        step: the step's name.
        default: makes what a function returns if the step is left out.
    """

    __slots__ = ("_changes", "_default", "_step", "visit")

    def __init__(self, step: str, default: Callable[[], object] = lambda: None) -> None:
        run = current_run()
        self.visit = None if run is None else Visit(step, run)
        self._step, self._default = step, default
        self._changes: tuple[FrameChange, ...] = ()
        if run is not None:
            run.begin_step(step, run.clock())

    @property
    def left(self) -> bool:
        """Whether the step was left out."""
        return self.visit is not None and bool(self.visit.left)

    def resume(self) -> None:
        """See `drivers.Lifetime`."""
        if self.visit is not None:
            self._changes = FrameChange("optional", self.visit), FrameChange("step", self._step)

    def suspend(self) -> None:
        """See `drivers.Lifetime`."""
        for change in self._changes:
            change.undo()

    def cutoff(self) -> Cutoff:
        """See `drivers.Lifetime`; a step that has begun is not cut."""
        return Cutoff(None, lambda: None)

    def done(self) -> None:
        """See `drivers.Lifetime`: it is over, and calls of what goes on of it are nobody's to leave out."""
        if self.visit is not None:
            self.visit.settled = True

    def keep(self, value: T) -> T:
        """See `drivers.BodyLifetime`; a coroutine or generator that was returned is part of the step."""
        found: Any = value
        if self.visit is None:
            return value
        if self.left:
            self.done()
            return cast(T, self._default())
        if inspect.iscoroutine(value):
            found = drive_coroutine(self, value)
        elif inspect.isgenerator(value):
            found = drive_generator(self, value)
        elif inspect.isasyncgen(value):
            found = async_generator_driver(lambda: value, lambda: self)()
        else:
            self.done()
        return cast(T, found)

    def fail(self, error: BaseException, *, cut: bool = False, yielded: bool = False) -> tuple[object] | None:
        """See `drivers.Lifetime`; errors of a step that was left out end here, but for the run's own end."""
        self.done()
        return (self._default(),) if self.swallows(error) else None

    def swallows(self, error: BaseException | None) -> bool:
        """Whether the error is what became of the step's being left out."""
        if not self.left or not isinstance(error, Exception) or isinstance(error, DeadlineExceeded):
            return False
        if not isinstance(error, StepSkipped):
            logger.info("step %r was left out, hiding this error", self._step, exc_info=error)
        return True


class OptionalStep:
    """A block of code that may be left at its first model call: ``with ags.step("critique", optional=True) as step:``.

    It may be used for one block after another, not for two at once. ``async with`` does the same.

    Args:
        name: the step's name.

    Raises:
        ConfigError: the name is empty or no text. On entry: it is in use.
    """

    __slots__ = ("_inside", "_life", "name")

    def __init__(self, name: str) -> None:
        self.name = checked_name(name)
        self._life: OptionalLifetime | None = None
        self._inside = False

    @property
    def skipped(self) -> bool:
        """Whether the step, in its last block, was left out."""
        return self._life is not None and self._life.left

    def __enter__(self) -> Self:
        if self._inside:
            raise ConfigError("an optional step is in use", field="step", given=self.name, allowed="one per block")
        self._inside, self._life = True, OptionalLifetime(self.name)
        self._life.resume()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        life = self._life
        assert life is not None, "it was entered"
        self._inside = False
        life.suspend()
        life.done()
        return life.swallows(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return self.__exit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"<OptionalStep {self.name!r}{', left out' if self.skipped else ''}>"
