"""What is remembered of a run, a call and an attempt while they are open."""

from dataclasses import dataclass, field

from agentsched.core.call import Failure, ModelCall, RunInfo
from agentsched.core.forecast import QuantileForecast
from agentsched.core.remainder import RemainderForecast, RunHistory
from agentsched.scheduler.rate_window import Spend

__all__ = ["AttemptState", "CallState", "RunState"]


@dataclass(slots=True, eq=False)
class AttemptState:
    """One running try; predictions are those of its start."""

    attempt_id: str
    endpoint: int
    started_at: float
    spend: Spend | None
    uncached_tokens: float
    in_flight: int
    committed_usd: float
    predicted_ttft_s: float
    predicted_tpot_s: float
    predicted_e2e_s: float
    unloaded_ttft_s: float
    rival_q95_s: float
    progress_at: float
    first_at: float | None = None
    tokens: int = 0
    paused: bool = False
    held_up: bool = False
    """Whether it was ever paused: what it took says nothing about the endpoint then."""
    paced_at: float = 0.0
    paced_tokens: int = 0
    """Where the pace was last taken; the tokens since then are its next sample."""
    stake_row: int | None = None
    """Where `RunningStakes` keeps what it has to lose."""


@dataclass(slots=True, eq=False)
class RunState:
    """One open run, or one that is over while a call of it still flows."""

    run: RunInfo
    announced: bool = True
    calls: set[str] = field(default_factory=set)
    history: RunHistory = field(default_factory=RunHistory)
    call_count: int = 0
    attempt_count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    committed_usd: float = 0.0
    outcome: str | None = None
    ended_at: float = 0.0
    last_endpoint: dict[int, tuple[int, int]] = field(default_factory=dict)
    """prompt prefix -> (endpoint, tokens) of the last answer: what that endpoint's cache should still hold."""


@dataclass(slots=True, eq=False)
class CallState:
    """One open call."""

    call: ModelCall
    arrived_at: float
    run: RunState
    lengths: QuantileForecast
    remainder: RemainderForecast | None
    order: tuple[float, int]
    candidates: tuple[int, ...] = ()
    attempts: dict[str, AttemptState] = field(default_factory=dict)
    made: int = 0
    uncounted: int = 0
    """Attempts that no server worked on, and that therefore do not count: refused by limits, stale connections."""
    left: int = 0
    """Silent attempts that were given up so far."""
    retries: int = 0
    story: list[str] = field(default_factory=list)
    failed_at: dict[int, int] = field(default_factory=dict)
    not_before: dict[int, float] = field(default_factory=dict)
    last_failure: Failure | None = None
    only_limits: bool = True
    waiting_for: int | None = None
    waiting_since: float | None = None
    queued_s: float = 0.0
    delivered: str | None = None
    review_at: float = float("inf")
    spent_usd: float = 0.0
    waiting_stake_per_s: float = 0.0
    """What it loses per second of waiting, as the policy last saw it."""

    @property
    def waiting(self) -> bool:
        """Whether it waits for a place, with no attempt running."""
        return self.waiting_since is not None
