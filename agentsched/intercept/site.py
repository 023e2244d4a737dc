"""One intercepted request, and how its failures reach the caller."""

import asyncio
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from agentsched.errors import AgentschedError, CallTimedOut, DeadlineExceeded
from agentsched.intercept.answering import refusal
from agentsched.intercept.callers import Caller, caller_of
from agentsched.intercept.errors import raise_clean, shape
from agentsched.intercept.family import Family
from agentsched.workflow.inner import limit_around
from agentsched.workflow.scope import Run, deadline_error

if TYPE_CHECKING:
    import httpx2

__all__ = ["GRAIN_S", "Site"]

GRAIN_S = 0.02
"""An error this close to the deadline, seconds, is the deadline's: timers and socket timeouts fire a little early."""


class Site(NamedTuple):
    """Where a model call was caught.

    Attributes:
        family: the library of ``client``.
        client: who was asked to send.
        request: what.
        run: the run that the caller is in.
    """

    family: Family
    client: "httpx2.Client | httpx2.AsyncClient"
    request: "httpx2.Request"
    run: Run

    def late(self) -> DeadlineExceeded:
        """The deadline error of the scope around the caller, remembered there."""
        return deadline_error(self.run, self.run.clock())

    def refuse_abandoned(self) -> "httpx2.Response":
        """The answer to code that goes on although its run has ended early.

        If the run was cancelled so is the code, as far as that can be done: no ``except Exception`` goes on after it.
        """
        if self.run.outcome == "cancelled":
            raise asyncio.CancelledError(f"run {self.run.run_id} was cancelled")
        return self.fail(self.late())

    def fail(self, error: AgentschedError) -> "httpx2.Response":
        """Raise ``error`` in the caller's shape; answer with it where the caller would repeat whatever is raised."""
        caller = caller_of(self.request)
        if not caller.reraises:
            late = isinstance(error, (DeadlineExceeded, CallTimedOut))
            return refusal(self.family, self.request, error, late=late)
        return raise_clean(shape(error, request=self.request, family=self.family, caller=caller))

    def break_off(self, error: AgentschedError, reader: Caller | None = None) -> NoReturn:
        """Raise ``error`` in the caller's shape while it reads the answer: no SDK repeats a call from there."""
        if isinstance(error, DeadlineExceeded):
            limit = limit_around(self.run)
            # The answer may be read outside the scope that ended, which alone knows the error.
            error = error if limit is None or self.run.clock() < limit - GRAIN_S else self.late()
        raise_clean(shape(error, request=self.request, family=self.family, caller=reader))
