"""What happened, as the log and the learner are told: records that nobody changes, emitted on the hot path."""

from dataclasses import dataclass

from agentsched.core.call import ModelCall, Observation, RunInfo
from agentsched.core.decision import Decision
from agentsched.core.structure import WorkflowStructure
from agentsched.core.value import value

__all__ = ["CallEnded", "Feedback", "Note", "Recordable", "Review", "RunClosed", "RunOpened", "StructureTold"]


@value()
class RunOpened:
    """A run began: from here on the log can tell a call's time within its run."""

    run: RunInfo


@value()
class Review:
    """A second thought about a running attempt: it is told when the verdict, or the reason for it, is a new one.

    Likewise a thought about a call of an optional step that has not begun, which has no attempt yet.

    Attributes:
        at: the instant.
        attempt_id: about which attempt; empty: the call has none.
        verdict: keep, hedge, restart, migrate, degrade or skip.
        why: the reason, for people.
        p_stay, p_switch: probability of an answer in time from the attempt, and from the alternative; None: there was
            nothing to compare. Of an optional step: that the run is in time with it, and without it.
        p_dead: probability that the attempt will never go on; None likewise.
    """

    at: float
    attempt_id: str
    verdict: str
    why: str
    p_stay: float | None = None
    p_switch: float | None = None
    p_dead: float | None = None


@value()
class CallEnded:
    """How a call ended. Seconds are measured from its arrival; ``status`` is ok or a `FailureKind` value.

    ``wasted_tokens`` and ``wasted_usd`` are what its attempts took beyond one unbroken answer: losers, answers that
    broke off, prompts read again; all of it where there is no answer. ``reviews`` are the second thoughts about it.
    """

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
    wasted_tokens: int = 0
    wasted_usd: float = 0.0
    reviews: tuple[Review, ...] = ()


@value()
class RunClosed:
    """How a run ended; ``outcome`` is ok, late, deadline, error or cancelled; ``skipped`` the steps left out."""

    run: RunInfo
    ended_at: float
    outcome: str
    calls: int
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    wasted_tokens: int = 0
    wasted_usd: float = 0.0
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """Something an operator should know, e.g. a breaker that opened."""

    at: float
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """How good a run's result was, as its user judged it (``agentsched.feedback``); higher is better."""

    run_id: str
    score: float
    at: float


@dataclass(frozen=True, slots=True)
class StructureTold:
    """How a workflow is built, as its framework says; a workflow that executes several graphs has several."""

    workflow: str
    structure: WorkflowStructure


Recordable = Decision | Observation | RunOpened | CallEnded | RunClosed | Note | Feedback | StructureTold
"""What a `Sink` takes."""
