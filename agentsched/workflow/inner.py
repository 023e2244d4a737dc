"""The ``deadline`` scopes inside a run, and the instants at which they end."""

from typing import TYPE_CHECKING

from agentsched.core.slo import Deadline
from agentsched.errors import DeadlineExceeded
from agentsched.workflow.frame import current_frame

if TYPE_CHECKING:
    from agentsched.workflow.scope import Run

__all__ = ["InnerScope", "earliest", "inner_end", "limit_around", "tightest_scope"]


class InnerScope:
    """A ``deadline`` scope inside a run.

    Attributes:
        run: the run.
        deadline: the instant at which it ends, never after what surrounds it.
        opened_at: the instant at which it began.
        deadline_s: the seconds between the two.
        error: its first deadline error.
        outer: the scope around it, if any.
    """

    __slots__ = ("deadline", "deadline_s", "error", "opened_at", "outer", "run")

    def __init__(self, run: "Run", duration_s: float) -> None:
        """Open it now, in the caller's place, to end after ``duration_s`` seconds at the latest."""
        self.run, self.opened_at = run, run.clock()
        outer = current_frame().inner
        self.outer = outer if isinstance(outer, InnerScope) else None
        self.deadline, self.deadline_s = Deadline.after(duration_s, now=self.opened_at), duration_s
        limit_at = limit_around(run)
        if limit_at is not None and limit_at < self.deadline.at:
            self.deadline, self.deadline_s = Deadline(limit_at), limit_at - self.opened_at
        self.error: DeadlineExceeded | None = None

    def remember_error(self, now: float) -> DeadlineExceeded:
        """The scope's deadline error: made at the first time, the same one afterwards."""
        if self.error is None:
            self.error = DeadlineExceeded(
                run_id=self.run.run_id,
                workflow=self.run.workflow,
                step=self.run.step,
                deadline_s=self.deadline_s,
                elapsed_s=now - self.opened_at,
                spent_s=self.run.spent_s,
            )
        return self.error


def tightest_scope(run: "Run") -> InnerScope | None:
    """The tightest ``deadline`` scope around the executing code, if it was opened in ``run``."""
    inner = current_frame().inner
    while isinstance(inner, InnerScope):
        if inner.run is run:
            return inner
        inner = inner.outer
    return None


def limit_around(run: "Run") -> float | None:
    """Instant at which the executing code of ``run`` is cut, or None: the run's limit or a tighter scope inside it."""
    return earliest(run.limit_at, inner_end(run))


def inner_end(run: "Run") -> float | None:
    """Instant at which the tightest ``deadline`` scope around the executing code ends, or None."""
    inner = tightest_scope(run)
    return None if inner is None else inner.deadline.at


def earliest(*instants: float | None) -> float | None:
    """The first of those instants that there are, or None."""
    return min((at for at in instants if at is not None), default=None)
