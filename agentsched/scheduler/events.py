"""What can happen to the scheduler: plain values that nobody writes to, so that a run can be recorded and replayed."""

from agentsched.core.call import Failure, Handed, ModelCall, RunInfo, Usage
from agentsched.core.load import EndpointLoad
from agentsched.core.protocols import LengthPredictor, QualityPredictor, RemainderPredictor
from agentsched.core.shared import EndpointKnowledge
from agentsched.core.value import value

__all__ = [
    "AttemptFailed",
    "AttemptFinished",
    "CallArrived",
    "CallCancelled",
    "EndpointLimited",
    "Event",
    "ForecastsReplaced",
    "OthersKnow",
    "OthersSeen",
    "ReviewDue",
    "RunEnded",
    "RunStarted",
    "StreamsProgressed",
    "TokensProgressed",
]


@value()
class RunStarted:
    """A workflow began."""

    run: RunInfo


@value()
class RunEnded:
    """A workflow ended; ``outcome`` is ok, late, deadline, error or cancelled.

    Calls of it that are still open run on, as somebody may still read them, unless it was cancelled: then they fail.
    """

    run_id: str
    outcome: str


@value()
class CallArrived:
    """An agent asks for a model call."""

    call: ModelCall


@value()
class CallCancelled:
    """The caller no longer wants the answer: it was cancelled, closed its stream, or its loop is gone."""

    call_id: str
    loop_closed: bool = False


@value()
class TokensProgressed:
    """Output tokens so far; the first event of an attempt is its first token.

    ``paused``: the caller is slower than the upstream, which is therefore not being read: its idle clock rests.
    ``handed``: what the caller has of the answer, through this attempt or before it; nothing as long as an attempt that
    goes on with an answer has not added to it. ``age_s``: how long ago the last token came, seconds.
    """

    attempt_id: str
    output_tokens: int
    paused: bool = False
    handed: Handed = Handed.TEXT
    age_s: float = 0.0


@value()
class StreamsProgressed:
    """`TokensProgressed` of several attempts at one instant, each as (attempt, its output tokens so far)."""

    tokens: tuple[tuple[str, int], ...]


@value()
class AttemptFinished:
    """An attempt has its whole answer."""

    attempt_id: str
    usage: Usage


@value()
class AttemptFailed:
    """An attempt ended without its whole answer."""

    attempt_id: str
    failure: Failure


@value()
class ReviewDue:
    """The instant asked for by `ReviewAt` has come for this call."""

    call_id: str


@value()
class EndpointLimited:
    """A server told its limits: what is left of requests and tokens, and seconds until they are whole again."""

    endpoint: str
    remaining_requests: float | None = None
    reset_requests_s: float | None = None
    remaining_tokens: float | None = None
    reset_tokens_s: float | None = None


@value()
class ForecastsReplaced:
    """New knowledge, made outside, takes effect; ``qualities`` None: nothing is known beyond what is declared."""

    lengths: LengthPredictor
    remainders: RemainderPredictor
    qualities: QualityPredictor | None = None


@value()
class OthersSeen:
    """What other clients have at the endpoints, all of them together: replaces what was known of others.

    Attributes:
        loads: one entry for each endpoint that anything is known of; at the pool's other endpoints nobody else is.
            `agentsched.core.load.combined_loads` adds several clients up. This client's own calls are no part of it:
            who reads a server's metrics takes them off.
        at: the instant it was true, on this client's clock; no later than the event.
        good_s: how long it is believed as it stands, seconds: a little more than news usually take.
        fades_s: after that it fades with this time constant, seconds, so that silence is not taken for load.
        clients: how many clients told it; None: nobody knows how many there are.
    """

    loads: tuple[EndpointLoad, ...]
    at: float
    good_s: float = 1.0
    fades_s: float = 4.0
    clients: int | None = None


@value()
class OthersKnow:
    """What other clients know of the endpoints, all of them together: replaces what they said before.

    Attributes:
        knowledge: one entry for each endpoint that anything is known of.
        at: the instant it was true, on this client's clock; no later than the event.
    """

    knowledge: tuple[EndpointKnowledge, ...]
    at: float


Event = (
    RunStarted
    | RunEnded
    | CallArrived
    | CallCancelled
    | TokensProgressed
    | StreamsProgressed
    | AttemptFinished
    | AttemptFailed
    | ReviewDue
    | EndpointLimited
    | ForecastsReplaced
    | OthersKnow
    | OthersSeen
)
