"""What the scheduler wants done; live code and the simulator differ only in who does it."""

from dataclasses import dataclass

from agentsched.core.call import AttemptLimits, Failure, ModelCall, Observation, RunInfo
from agentsched.core.decision import Decision

__all__ = [
    "Action",
    "CallEnded",
    "Cancel",
    "Deliver",
    "Fail",
    "Note",
    "Record",
    "Recordable",
    "ReviewAt",
    "RunClosed",
    "Start",
]


@dataclass(frozen=True, slots=True)
class Start:
    """Send the call to this endpoint."""

    call_id: str
    attempt_id: str
    endpoint: str
    limits: AttemptLimits


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop this attempt upstream; nothing more is expected of it."""

    call_id: str
    attempt_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReviewAt:
    """Send `ReviewDue` for this call at this instant, instead of at the one asked for before."""

    call_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Deliver:
    """This attempt's answer is the call's answer: hand it over, from its first byte."""

    call_id: str
    attempt_id: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The call has no answer.

    ``passthrough``: the attempt whose HTTP answer (a 4xx) is handed to the caller unchanged; None: raise an error.
    ``saturated``: limits, not faults, are why. ``attempts`` tells people where it was tried.
    """

    call_id: str
    failure: Failure
    passthrough: str | None = None
    saturated: bool = False
    attempts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A record: how a call ended. Seconds are measured from its arrival; ``status`` is ok or a failure kind."""

    call: ModelCall
    arrived_at: float
    ended_at: float
    status: str
    endpoint: str | None
    attempts: int
    retries: int
    queued_s: float
    ttft_s: float | None
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int | None
    cost_usd: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RunClosed:
    """A record: how a run ended."""

    run: RunInfo
    ended_at: float
    outcome: str
    calls: int
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Note:
    """A record: something an operator should know, e.g. a breaker that opened."""

    at: float
    subject: str
    text: str


Recordable = Decision | Observation | CallEnded | RunClosed | Note


@dataclass(frozen=True, slots=True)
class Record:
    """Something for the log and the learner."""

    record: Recordable


Action = Start | Cancel | ReviewAt | Deliver | Fail | Record
