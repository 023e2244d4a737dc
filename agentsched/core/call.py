"""One model call, one try of it, and what came of that try."""

from dataclasses import dataclass
from enum import StrEnum

from agentsched.core.value import value

__all__ = [
    "Attempt",
    "AttemptLimits",
    "Failure",
    "FailureKind",
    "Handed",
    "ModelCall",
    "Observation",
    "RunInfo",
    "Usage",
    "Way",
]


class Way(StrEnum):
    """How another attempt goes on with an answer of which the caller has the beginning."""

    PREFILL = "prefill"
    """The beginning is sent along as the assistant's unfinished message."""
    PROMPT = "prompt"
    """The beginning is appended to the prompt of a text completion."""
    TOKENS = "tokens"
    """The same by the ids of the tokens: those of the prompt, and behind them those of the beginning."""
    REPLAY = "replay"
    """The call is made once more, and what the caller has already is compared with it and left out."""


class Handed(StrEnum):
    """What the caller has of a streamed answer."""

    NOTHING = "nothing"
    """No output yet: it may begin anew anywhere."""
    TEXT = "text"
    """Plain text, which a server may go on with."""
    TOKENS = "tokens"
    """Plain text of which the ids of all tokens are known."""
    OTHER = "other"
    """Tool calls, reasoning, or text before a tool call that is still held back: only a replay can repeat it."""


@value()
class RunInfo:
    """One execution of a workflow, as the scheduler knows it.

    ``deadline_at`` is an instant on the monotonic clock, None when unbounded or when ``on_late`` is ``ignore``;
    ``deadline_s`` is what the user asked for, in seconds, whatever ``on_late`` says, and ``due_at`` its instant. The
    rest is as in `SLO`.
    """

    run_id: str
    workflow: str
    started_at: float
    deadline_at: float | None = None
    deadline_s: float | None = None
    parent_run_id: str | None = None
    tenant: str = "default"
    percentile: float = 0.95
    max_cost_usd: float | None = None
    min_quality: float = 0.0
    priority: int = 0
    on_late: str = "raise"

    @property
    def due_at(self) -> float | None:
        """When the run should be done; None: nobody said."""
        if self.deadline_s is None:
            return self.deadline_at
        asked = self.started_at + self.deadline_s
        return asked if self.deadline_at is None else min(asked, self.deadline_at)


@value()
class ModelCall:
    """One logical call of a model: what the agent asked for, whatever number of attempts it takes.

    Attributes:
        call_id: unique in the process.
        run_id: the run it belongs to.
        workflow: that run's workflow name; with ``step`` it keys what has been learned.
        step: the named place in the workflow.
        call_index: 0-based position among the run's calls, by arrival.
        parents: the call_ids whose answers this call could have used (best knowledge).
        model: the requested model name.
        api: ``chat/completions``, ``completions`` or ``responses``.
        stream: whether the caller reads a stream.
        input_tokens: prompt tokens, estimated before, exact only afterwards.
        max_tokens: the caller's cap on output tokens.
        needs: capabilities the endpoint must have.
        repeatable: whether it may be sent more than once.
        upgradable: whether its whole answer may be asked for as a stream and put together again.
        continuable: the ways in which its stream may be gone on with once the caller has some of it.
        pinned: the only endpoint that may serve it (stateful responses).
        prefix: hash of the prompt's leading part (system message and tools), for prefix caches; 0: unknown.
        deadline_at: instant by which the call must be answered (run deadline, inner scopes and reserves applied).
        due_at: instant by which its run should be done, also where nothing ends there (``on_late="ignore"``); decisions
            look at this one, clocks at ``deadline_at``. None: as ``deadline_at``.
        patience_s: the caller's own timeout without progress, seconds.
        min_quality: endpoints below this are no candidates.
        priority: see `SLO`.
        tenant: see `SLO`.
        tool_s: seconds between the parents' end and this call.
        hinted_output_tokens: what the user said with ``hint``.
        remaining_calls: what the user said is still to come after this call, serially.
        prompt_head: the first characters of the last message, for logs; empty unless logging is allowed.
        optional: the visits of optional steps that it belongs to, outermost first (`agentsched.core.optional`).
        features: what predictors of length and quality read of the prompt, packed (`agentsched.forecast.features`);
            empty: not looked at.
    """

    call_id: str
    run_id: str
    workflow: str
    step: str
    call_index: int
    model: str
    api: str = "chat/completions"
    stream: bool = False
    input_tokens: int = 0
    max_tokens: int | None = None
    needs: frozenset[str] = frozenset()
    repeatable: bool = True
    pinned: str | None = None
    prefix: int = 0
    deadline_at: float | None = None
    due_at: float | None = None
    patience_s: float | None = None
    min_quality: float = 0.0
    priority: int = 0
    tenant: str = "default"
    parents: tuple[str, ...] = ()
    tool_s: float = 0.0
    hinted_output_tokens: int | None = None
    remaining_calls: float | None = None
    prompt_head: str = ""
    features: bytes = b""
    upgradable: bool = False
    continuable: frozenset[Way] = frozenset()
    optional: tuple[str, ...] = ()


@value()
class AttemptLimits:
    """The clocks that the performer of an attempt keeps itself; all others are the scheduler's.

    Attributes:
        connect_s: time for the connection, seconds.
        remaining_s: what is left of the call's budget when the attempt starts, seconds; for wire hints.
    """

    connect_s: float
    remaining_s: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a call at one endpoint."""

    attempt_id: str
    call_id: str
    endpoint: str
    started_at: float


class FailureKind(StrEnum):
    """Why an attempt, or a call, failed; what may be tried next follows from it."""

    CONNECT = "connect"
    """No connection: refused, unknown host, connect clock spent."""
    RESET = "reset"
    """The connection broke before the answer was whole."""
    STALE = "stale"
    """A kept-alive connection turned out to be closed and nothing had been sent back: try again at once."""
    SILENT = "silent"
    """First-token clock spent."""
    STALLED = "stalled"
    """Idle clock spent after the first token."""
    MALFORMED = "malformed"
    """The bytes were no valid answer: truncated JSON, broken SSE."""
    IN_BAND = "in_band"
    """A 200 whose body or stream holds an error object."""
    RATE_LIMITED = "limited"
    """429."""
    SERVER = "server"
    """5xx, 408, 409, 425."""
    CLIENT = "client"
    """4xx that repeating cannot mend: handed to the caller unchanged."""
    UNSTREAMED = "unstreamed"
    """4xx that speaks of the stream which was asked for in place of a whole answer: asked plainly it may be given."""
    SLOW = "slow"
    """Its tokens came far too slowly: it was left for another endpoint while it still flowed."""
    DIVERGED = "diverged"
    """Made once more, the answer was another one than what the caller has the beginning of."""
    CANCELLED = "cancelled"
    """The caller went away, or the attempt lost."""
    LOOP_CLOSED = "loop_closed"
    """The event loop that owned it was closed."""
    DEADLINE = "deadline"
    """The deadline passed."""
    SHED = "shed"
    """Its run was given up, as it would hardly have met its deadline (`AdmissionRules`)."""
    SKIPPED = "skipped"
    """Its step is optional and was left out: the run is likelier to be in time without it (`SkipRules`)."""
    PATIENCE = "patience"
    """The caller's own timeout passed."""
    COST = "cost"
    """The run has no money left for it."""
    INCAPABLE = "incapable"
    """No endpoint can serve a request of this kind."""


@value()
class Failure:
    """What went wrong with an attempt; ``detail`` is for people and holds no secret."""

    kind: FailureKind
    detail: str = ""
    status: int | None = None
    retry_after_s: float | None = None

    def __str__(self) -> str:
        text = self.kind.value if self.status is None else f"{self.kind.value} {self.status}"
        return f"{text}: {self.detail}" if self.detail else text


@value()
class Usage:
    """Tokens of one answer: the server's own count where it gave one, else counted from the stream.

    ``decode_s``: seconds the server took for the tokens after the first one, where it said.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    decode_s: float | None = None


@value()
class Observation:
    """What one finished attempt taught: the learner's and the log's raw material.

    ``status`` is ``ok`` or a `FailureKind` value. Times are seconds since the attempt's start. ``continued_tokens`` are
    the output tokens of an earlier attempt that this one went on from; ``output_tokens`` are its own.
    """

    attempt_id: str
    call_id: str
    run_id: str
    workflow: str
    step: str
    endpoint: str
    model: str
    started_at: float
    ttft_s: float | None
    e2e_s: float
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int | None
    max_tokens: int | None
    status: str
    detail: str = ""
    stream: bool = False
    cost_usd: float = 0.0
    predicted_ttft_s: float | None = None
    predicted_e2e_s: float | None = None
    in_flight: int = 0
    continued_tokens: int = 0
