"""What can happen to the scheduler: plain frozen values, so that a run can be recorded and replayed."""

from dataclasses import dataclass

from agentsched.core.call import Failure, ModelCall, RunInfo, Usage
from agentsched.core.protocols import LengthPredictor, RemainderPredictor

__all__ = [
    "AttemptFailed",
    "AttemptFinished",
    "CallArrived",
    "CallCancelled",
    "EndpointLimited",
    "Event",
    "ForecastsReplaced",
    "ReviewDue",
    "RunEnded",
    "RunStarted",
    "TokensProgressed",
]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A workflow began."""

    run: RunInfo


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A workflow ended; ``outcome`` is ok, late, deadline, error or cancelled.

    Calls of it that are still open run on, as somebody may still read them, unless it was cancelled: then they fail.
    """

    run_id: str
    outcome: str


@dataclass(frozen=True, slots=True)
class CallArrived:
    """An agent asks for a model call."""

    call: ModelCall


@dataclass(frozen=True, slots=True)
class CallCancelled:
    """The caller no longer wants the answer: it was cancelled, closed its stream, or its loop is gone."""

    call_id: str
    loop_closed: bool = False


@dataclass(frozen=True, slots=True)
class TokensProgressed:
    """Output tokens so far; the first event of an attempt is its first token.

    ``paused``: the caller is slower than the upstream, which is therefore not being read: its idle clock rests.
    """

    attempt_id: str
    output_tokens: int
    paused: bool = False


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """An attempt has its whole answer."""

    attempt_id: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt ended without its whole answer."""

    attempt_id: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class ReviewDue:
    """The instant asked for by `ReviewAt` has come for this call."""

    call_id: str


@dataclass(frozen=True, slots=True)
class EndpointLimited:
    """A server told its limits: what is left of requests and tokens, and seconds until they are whole again."""

    endpoint: str
    remaining_requests: float | None = None
    reset_requests_s: float | None = None
    remaining_tokens: float | None = None
    reset_tokens_s: float | None = None


@dataclass(frozen=True, slots=True)
class ForecastsReplaced:
    """New knowledge, made outside, takes effect."""

    lengths: LengthPredictor
    remainders: RemainderPredictor


Event = (
    RunStarted
    | RunEnded
    | CallArrived
    | CallCancelled
    | TokensProgressed
    | AttemptFinished
    | AttemptFailed
    | ReviewDue
    | EndpointLimited
    | ForecastsReplaced
)
