"""Where the code that is executing stands: one frozen value in one context variable.

A single variable, because it has to travel: a frame is captured, carried into a thread and put back in one move.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import NamedTuple, Self

from agentsched.workflow.hints import NO_HINTS, Hints

__all__ = ["OUTSIDE", "Frame", "FrameChange", "change_frame", "current_frame", "detached", "enter_frame", "leave_frame"]


class Frame(NamedTuple):
    """Where the executing code stands.

    Attributes:
        run: the `scope.Run`, or None outside any. This module does not need to know what a run is.
        inner: the tightest `inner.InnerScope` in force, or None.
        step: the step the user named with ``agentsched.step``.
        inherited_step: the step in which the starter of this thread was; it counts where nothing better is known.
        hints: what the user said about the calls to come.
        strand: the `lineage.Strand` of the executing code, or None in that in which the run began.
        asked: the last call of this line of execution, as `lineage` notes it, or None.
        optional: the innermost `optional.Visit` of an optional step in force, or None.
    """

    run: object | None = None
    inner: object | None = None
    step: str | None = None
    inherited_step: str | None = None
    hints: Hints = NO_HINTS
    strand: object | None = None
    asked: object | None = None
    optional: object | None = None


OUTSIDE = Frame()
"""The frame of code that belongs to no run."""

_frame: ContextVar[Frame] = ContextVar("agentsched", default=OUTSIDE)


def current_frame() -> Frame:
    """The frame of the executing code."""
    return _frame.get()


def change_frame(frame: Frame) -> None:
    """Go on in ``frame`` until the enclosing scope is left."""
    _frame.set(frame)


def enter_frame(frame: Frame) -> Token[Frame]:
    """Go on in ``frame``; `leave_frame` undoes it."""
    return _frame.set(frame)


def leave_frame(token: Token[Frame]) -> Frame:
    """Undo `enter_frame`.

    Returns:
        The frame that was left, with what had been changed in it.
    """
    left = _frame.get()
    try:
        _frame.reset(token)
    except ValueError:
        # A coroutine closed by someone else's context: that context was never entered, so there is nothing to undo.
        return OUTSIDE
    return left


class FrameChange:
    """One field of the frame changed, at once; as a context manager, until the end of the block."""

    __slots__ = ("_before", "_field", "_run")

    def __init__(self, field: str, value: object) -> None:
        frame = _frame.get()
        self._field, self._before, self._run = field, getattr(frame, field), frame.run
        self._put(frame, value)

    def _put(self, frame: Frame, value: object) -> None:
        _frame.set(frame._replace(**{self._field: value}))  # type: ignore[arg-type]  # the callers pass a fitting value

    def undo(self) -> None:
        """Put the field back, unless this is another run's context: one that closes a generator it did not start."""
        frame = _frame.get()
        if frame.run is self._run:
            self._put(frame, self._before)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()


@contextmanager
def detached() -> Iterator[None]:
    """Execute a block outside any run: agentsched's own traffic, and what must survive the run that started it."""
    token = enter_frame(OUTSIDE)
    try:
        yield
    finally:
        leave_frame(token)
