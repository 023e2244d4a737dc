"""What is remembered of a run, a call and an attempt while they are open."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from agentsched.core.call import Failure, Handed, ModelCall, RunInfo, Way
from agentsched.core.forecast import QuantileForecast
from agentsched.core.records import Review
from agentsched.core.remainder import RemainderForecast, RunHistory
from agentsched.scheduler.rate_bucket import Spend

__all__ = ["AttemptState", "CallState", "Partial", "RunState"]

_SHRINKAGE = 5.0
"""Answers that no correction at all counts as: lengths scatter five times as much within a run as runs do."""

_MOST_REVIEWS = 8
"""Second thoughts about one call that are told; of more the last one is."""

_MOST_OFF = 2.0
"""Log-factors beyond this count as this: one odd answer says little about the next."""


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
    streams: bool = False
    """Whether a stream was asked for, whatever the caller reads."""
    way: Way | None = None
    handed: Handed = Handed.NOTHING
    known_tokens: int = 0
    """Output tokens that were sent along as the beginning of the answer."""
    pace_s: float = 0.0
    """Its own time per token, seconds, averaged over its last few samples; 0: not seen yet."""
    longest_lull_s: float = 0.0
    """Longest time between two signs of progress after which it went on, seconds."""
    slow_since: float | None = None
    """Since when its tokens have been coming far too slowly."""
    thought_at: float = 0.0
    likely_s: tuple[float, float] = (0.0, math.inf)
    """Its 10th and 90th percentile of the end-to-end time by forecast, seconds."""


@dataclass(slots=True, eq=False)
class Partial:
    """What there is of an answer whose attempt is gone, and who may go on with it.

    Attributes:
        attempt_id: who wrote the end of it, and knows all of it.
        tokens: output tokens of it.
        handed: what they are.
        model: the model that wrote them.
        progress_at: when the last of them came.
        replays: whether making the call once more has not led to another answer yet.
        candidates: who may go on.
    """

    attempt_id: str
    tokens: int
    handed: Handed
    model: str
    progress_at: float
    replays: bool = True
    candidates: tuple[int, ...] = ()


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
    wasted_tokens: int = 0
    wasted_usd: float = 0.0
    committed_usd: float = 0.0
    around: "RunState | None" = None
    """The run inside which it was started, if that one was open then."""
    inside_usd: float = 0.0
    """What runs inside this one have spent, and what their running attempts are expected to cost."""
    begun: set[str] = field(default_factory=set)
    """Visits of optional steps of which a call was sent: they are not left any more."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Visits of optional steps that were left out, in order, and why."""
    shed: str = ""
    """Why it was given up before its deadline; empty: it was not."""
    outcome: str | None = None
    ended_at: float = 0.0
    placed: dict[str, tuple[tuple[str, ...], float]] = field(default_factory=dict)
    """open call -> (its parents, when it should be done): calls with the same parents are branches of one join."""
    log_ratio_sum: float = 0.0
    log_ratio_count: int = 0
    """Of answered calls: the logarithm of output tokens over the forecast's median."""
    last_endpoint: dict[int, tuple[int, int]] = field(default_factory=dict)
    """prompt prefix -> (endpoint, tokens) of the last answer: what that endpoint's cache should still hold."""

    def capped(self) -> "Iterator[tuple[float, float]]":
        """(USD left, cap) of this run and of those around it, where there is a cap."""
        run: RunState | None = self
        while run is not None:
            cap = run.run.max_cost_usd
            if cap is not None:
                yield cap - run.cost_usd - run.committed_usd - run.inside_usd, cap
            run = run.around

    def commit(self, expected_usd: float) -> None:
        """An attempt starts that is expected to cost this."""
        self.committed_usd += expected_usd
        self._book_around(expected_usd)

    def settle(self, expected_usd: float, cost_usd: float) -> None:
        """It is over, and cost that."""
        self.committed_usd = max(0.0, self.committed_usd - expected_usd)
        self.cost_usd += cost_usd
        self._book_around(cost_usd - expected_usd)

    def _book_around(self, usd: float) -> None:
        run = self.around
        while run is not None:
            run.inside_usd += usd
            run = run.around

    def saw_length(self, tokens: int, forecast_tokens: float) -> None:
        """An answer of this run had so many tokens, and the median of its forecast was that."""
        if tokens > 0 and forecast_tokens > 0.0:
            off = math.log(tokens / forecast_tokens)
            self.log_ratio_sum += min(_MOST_OFF, max(-_MOST_OFF, off))
            self.log_ratio_count += 1

    @property
    def correction(self) -> float:
        """By what factor answers of this run have been longer than forecast, shrunk toward 1 while few were seen."""
        if self.log_ratio_count == 0:
            return 1.0
        return math.exp(self.log_ratio_sum / (self.log_ratio_count + _SHRINKAGE))

    def siblings_until(self, call: ModelCall) -> float:
        """When the slowest other branch of the call's join that has its place should be done; -inf: there is none."""
        if len(self.placed) == 0:
            return -math.inf
        others = (
            at for call_id, (parents, at) in self.placed.items() if parents == call.parents and call_id != call.call_id
        )
        return max(others, default=-math.inf)


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
    partial: Partial | None = None
    """What the caller has, while no attempt adds to it."""
    draft: Partial | None = None
    """What there is of a whole answer, of which the caller has nothing: the most that an attempt came to."""
    first_at: float | None = None
    """When the first token of the answer came."""
    plain: bool = False
    """Whether whole answers are no longer asked for as streams: a server refused, perhaps because of that."""
    plain_at: int | None = None
    """The endpoint that refused so."""
    odds: tuple[float, float] | None = None
    """Probability of an answer in time from the attempt that was left, and from the next one."""
    left_quality: float = 0.0
    review_at: float = float("inf")
    spent_usd: float = 0.0
    spent_tokens: int = 0
    without: dict[str, RemainderForecast | None] = field(default_factory=dict)
    """What follows if a visit of an optional step is left out, as it was forecast when that was first asked."""
    waiting_stake_per_s: float = 0.0
    """What it loses per second of waiting, as the policy last saw it."""

    reviews: list[Review] = field(default_factory=list)
    """Second thoughts about it, where verdict or reason changed."""

    def reviewed(self, review: Review) -> None:
        """There was a second thought about it."""
        last = self.reviews[-1] if self.reviews else None
        if last is not None and (last.attempt_id, last.verdict, last.why) == (
            review.attempt_id,
            review.verdict,
            review.why,
        ):
            return
        del self.reviews[_MOST_REVIEWS - 1 :]
        self.reviews.append(review)

    @property
    def expected_tokens(self) -> float:
        """What it counts for under a limit of tokens: its prompt and its expected answer."""
        return self.call.input_tokens + self.lengths.mean

    @property
    def waiting(self) -> bool:
        """Whether it waits for a place, with no attempt running."""
        return self.waiting_since is not None
