"""Every error agentsched raises.

    AgentschedError
    ├── ConfigError                 a bad value in code, a file or the environment (also a ValueError)
    ├── DeadlineExceeded            the run's, or the scope's, time is spent (also a TimeoutError)
    ├── StepSkipped                 an optional step is left out; its block, or its function, swallows it
    ├── CallFailed                  a model call could not be answered inside its budget
    │   ├── EndpointsUnavailable    every endpoint that may serve it failed or is out of order
    │   ├── EndpointsSaturated      every endpoint that may serve it is at its limit for longer than the budget lasts
    │   ├── NoCapableEndpoint       no endpoint in the pool can serve a request of this kind
    │   ├── CallTimedOut            the caller's own timeout for this call is spent (also a TimeoutError)
    │   ├── StreamBroken            the upstream failed after part of the answer had been delivered
    │   └── CostExceeded            the run's money is spent
    ├── AdapterError                a framework adapter could not be installed
    ├── StateUnavailable            the store that processes share cannot be reached; no call ever sees it
    └── InvariantViolated           the ledger contradicts itself: a bug in agentsched

The texts avoid the words by which agent frameworks recognise a retryable error (CrewAI retries nine times what says
"429", for example), and neither a deadline error nor a failed call shows a cause or a context, wherever it is raised:
both would make frameworks try again.
"""

from typing import Any

__all__ = [
    "AdapterError",
    "AgentschedError",
    "CallFailed",
    "CallTimedOut",
    "ConfigError",
    "CostExceeded",
    "DeadlineExceeded",
    "EndpointsSaturated",
    "EndpointsUnavailable",
    "InvariantViolated",
    "NoCapableEndpoint",
    "StateUnavailable",
    "StepSkipped",
    "StreamBroken",
]


class AgentschedError(Exception):
    """Base of every error that agentsched raises."""


class ConfigError(AgentschedError, ValueError):
    """A value that cannot be used, with the place it stands in and what would be accepted.

    Args:
        message: what is wrong, in one sentence.
        field: the field, argument or dotted key, e.g. ``"slo.deadline"`` or ``"endpoints[2].base_url"``.
        given: the offending value (shown by ``repr``; pass nothing for a secret).
        allowed: what is accepted instead.
        file: the file it stands in.
        line: its 1-based line there.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        given: Any = None,
        allowed: str | None = None,
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        self.message, self.field, self.given, self.allowed = message, field, given, allowed
        self.file, self.line = file, line
        super().__init__(self._text())

    def _text(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file and self.line else f"{self.file}: " if self.file else ""
        field = f"{self.field}: " if self.field else ""
        given = f" (given: {self.given!r})" if self.given is not None else ""
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        return f"{place}{field}{self.message}{given}{allowed}"


def hidden(name: str) -> Any:
    """An attribute of an exception, ``__cause__`` or ``__context__``, that shows nothing to whoever asks.

    Clearing it where the error is raised is not enough: an exception that is thrown into a task gets a context from
    every coroutine on its way that is handling another one, and frameworks write ``raise error from error``.
    """
    return property(lambda error: None, vars(BaseException)[name].__set__)


class DeadlineExceeded(AgentschedError, TimeoutError):
    """The time of a run, or of a ``deadline`` scope inside it, is spent.

    Attributes:
        run_id: the run, or None outside one.
        workflow: its name.
        step: the step that was running.
        deadline_s: the time the run was given, in seconds.
        elapsed_s: the time it had spent, in seconds.
        spent_s: seconds in which a step's model calls ran, however many side by side, longest first.
        given_up: why the run was given up before its time was spent (``admission``); empty: it was not.
    """

    __cause__ = hidden("__cause__")
    __context__ = hidden("__context__")

    def __init__(
        self,
        *,
        run_id: str | None = None,
        workflow: str | None = None,
        step: str | None = None,
        deadline_s: float | None = None,
        elapsed_s: float | None = None,
        spent_s: tuple[tuple[str, float], ...] = (),
        given_up: str = "",
    ) -> None:
        self.run_id, self.workflow, self.step = run_id, workflow, step
        self.deadline_s, self.elapsed_s, self.spent_s = deadline_s, elapsed_s, spent_s
        self.given_up = given_up
        super().__init__(self._text())

    def _text(self) -> str:
        who = f"workflow {self.workflow!r}" if self.workflow else "the run"
        if self.run_id:
            who += f" (run {self.run_id})"
        text = f"{who} was given up: {without_429(self.given_up)}" if self.given_up else f"{who} ran out of time"
        if self.deadline_s is not None and self.elapsed_s is not None:
            text += f"{'; ' if self.given_up else ': '}{_told(self.elapsed_s)} of {_told(self.deadline_s)} spent"
        if self.step:
            text += f", in step {self.step!r}"
        if self.spent_s:
            text += "; longest: " + ", ".join(f"{step} {_told(seconds)}" for step, seconds in self.spent_s[:3])
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_deadline, (
            self.run_id,
            self.workflow,
            self.step,
            self.deadline_s,
            self.elapsed_s,
            self.spent_s,
            self.given_up,
        )


def without_429(text: str) -> str:
    """The text with its numbers, a port or a duration, written so that none reads like the status 429: ``34_299``."""
    return text.replace("429", "4_29")


def _told(seconds: float) -> str:
    return without_429(f"{seconds:.2f} s")


def _rebuild_deadline(
    run_id: str | None,
    workflow: str | None,
    step: str | None,
    deadline_s: float | None,
    elapsed_s: float | None,
    spent_s: tuple[tuple[str, float], ...],
    given_up: str = "",
) -> DeadlineExceeded:
    return DeadlineExceeded(
        run_id=run_id,
        workflow=workflow,
        step=step,
        deadline_s=deadline_s,
        elapsed_s=elapsed_s,
        spent_s=spent_s,
        given_up=given_up,
    )


class CallFailed(AgentschedError):
    """A model call that could not be answered; ``attempts`` says where it was tried and how each try ended."""

    __cause__ = hidden("__cause__")
    __context__ = hidden("__context__")

    def __init__(self, message: str, *, attempts: tuple[str, ...] = ()) -> None:
        self.message, self.attempts = message, attempts
        super().__init__(message + (f" [{'; '.join(attempts)}]" if attempts else ""))


class EndpointsUnavailable(CallFailed):
    """Every endpoint that may serve the call failed or is out of order."""


class EndpointsSaturated(CallFailed):
    """Every endpoint that may serve the call is at its limit for longer than the budget lasts."""


class NoCapableEndpoint(CallFailed):
    """No endpoint in the pool can serve a request of this kind."""


class CallTimedOut(CallFailed, TimeoutError):
    """The timeout that the caller itself set on this call is spent; the run's deadline is not."""


class StreamBroken(CallFailed):
    """The upstream failed after part of the answer had been delivered, and nothing could continue it."""


class CostExceeded(CallFailed):
    """The run has no money left for another call (``SLO.max_cost_usd``)."""


class StepSkipped(AgentschedError):
    """An optional step is left out, so that its run is in time; nothing of it was sent.

    It is raised by the step's model calls, and ends where the step does (``agentsched.step``, ``agentsched.optional``).

    Attributes:
        step: the step's name.
        why: the reason.
        visit: which visit of it, see `agentsched.core.optional`.
    """

    __cause__ = hidden("__cause__")
    __context__ = hidden("__context__")

    def __init__(self, step: str, why: str, visit: str = "") -> None:
        self.step, self.why, self.visit = step, why, visit
        super().__init__(f"the optional step {step!r} is left out: {why}")

    def __reduce__(self) -> tuple[Any, ...]:
        return StepSkipped, (self.step, self.why, self.visit)


class AdapterError(AgentschedError):
    """A framework adapter could not be installed: the framework is missing or its public names have moved."""


class StateUnavailable(AgentschedError):
    """The store that several processes share cannot be reached, or what it answers cannot be read.

    Calls never see it: every process then goes on with what it knows itself, and asks again.
    """


class InvariantViolated(AgentschedError):
    """The ledger contradicts itself: a bug in agentsched, never the user's fault."""
