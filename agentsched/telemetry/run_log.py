"""What readers of the decision log, and of recorded traces, get: runs with their calls, attempts and decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = [
    "AttemptLog",
    "CallLog",
    "DecisionEntry",
    "FeedbackLine",
    "LostLine",
    "NoteLine",
    "ReviewEntry",
    "RunLine",
    "RunLog",
    "SloEntry",
]


class SloEntry(NamedTuple):
    """What a run was asked to achieve; see `SLO_FIELDS`."""

    deadline_s: float | None = None
    percentile: float | None = None
    max_cost_usd: float | None = None
    min_quality: float | None = None
    priority: float | None = None
    on_late: str | None = None
    extra: Mapping[str, Any] = {}


class DecisionEntry(NamedTuple):
    """One decision about a call; see `DECISION_FIELDS`."""

    attempt_id: str | None = None
    endpoint: str | None = None
    why: str | None = None
    policy: str | None = None
    after_s: float | None = None
    waited_s: float | None = None
    slack_s: float | None = None
    p_meet: float | None = None
    predicted_ttft_s: float | None = None
    predicted_e2e_s: float | None = None
    predicted_e2e_p95_s: float | None = None
    predicted_output_tokens: float | None = None
    score: float | None = None
    rivals: tuple[tuple[str, float | None], ...] = ()
    p_stay: float | None = None
    p_switch: float | None = None
    extra: Mapping[str, Any] = {}


class ReviewEntry(NamedTuple):
    """One second thought about a call; see `REVIEW_FIELDS`."""

    attempt_id: str | None = None
    after_s: float | None = None
    verdict: str | None = None
    why: str | None = None
    p_stay: float | None = None
    p_switch: float | None = None
    p_dead: float | None = None
    extra: Mapping[str, Any] = {}


class RunLine(NamedTuple):
    """A ``run`` line; see ``FIELDS["run"]``."""

    run_id: str
    workflow: str | None = None
    parent_run_id: str | None = None
    tenant: str | None = None
    arrival_s: float | None = None
    deadline_s: float | None = None
    bound_s: float | None = None
    slo: SloEntry = SloEntry()
    outcome: str | None = None
    elapsed_s: float | None = None
    calls: int | None = None
    attempts: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    wasted_tokens: int | None = None
    wasted_usd: float | None = None
    skipped: tuple[str, ...] = ()
    extra: Mapping[str, Any] = {}


class CallLog(NamedTuple):
    """A ``call`` line; see ``FIELDS["call"]``. ``extra`` holds the fields this version does not know."""

    run_id: str
    workflow: str | None = None
    step: str | None = None
    call_id: str | None = None
    call_index: int | None = None
    parents: tuple[str | int, ...] = ()
    at_s: float | None = None
    start_s: float | None = None
    tool_s: float | None = None
    model: str | None = None
    endpoint: str | None = None
    api: str | None = None
    stream: bool | None = None
    input_tokens: int | None = None
    estimated_input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    max_tokens: int | None = None
    queued_s: float | None = None
    ttft_s: float | None = None
    e2e_s: float | None = None
    status: str | None = None
    detail: str | None = None
    attempts: int | None = None
    retries: int | None = None
    cost_usd: float | None = None
    wasted_tokens: int | None = None
    wasted_usd: float | None = None
    decisions: tuple[DecisionEntry, ...] = ()
    reviews: tuple[ReviewEntry, ...] = ()
    slack_s: float | None = None
    patience_s: float | None = None
    needs: tuple[str, ...] = ()
    repeatable: bool | None = None
    pinned: str | None = None
    prefix: str | None = None
    min_quality: float | None = None
    priority: float | None = None
    tenant: str | None = None
    hinted_output_tokens: int | None = None
    remaining_calls: float | None = None
    optional: tuple[str, ...] = ()
    prompt: str | None = None
    extra: Mapping[str, Any] = {}


class AttemptLog(NamedTuple):
    """An ``attempt`` line; see ``FIELDS["attempt"]``."""

    run_id: str
    attempt_id: str | None = None
    call_id: str | None = None
    workflow: str | None = None
    step: str | None = None
    endpoint: str | None = None
    model: str | None = None
    at_s: float | None = None
    start_s: float | None = None
    ttft_s: float | None = None
    e2e_s: float | None = None
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    max_tokens: int | None = None
    status: str | None = None
    detail: str | None = None
    stream: bool | None = None
    cost_usd: float | None = None
    predicted_ttft_s: float | None = None
    predicted_e2e_s: float | None = None
    in_flight: int | None = None
    continued_tokens: int | None = None
    extra: Mapping[str, Any] = {}


class NoteLine(NamedTuple):
    """A ``note`` line; see ``FIELDS["note"]``."""

    at_s: float | None = None
    subject: str | None = None
    text: str | None = None
    extra: Mapping[str, Any] = {}


class FeedbackLine(NamedTuple):
    """A ``feedback`` line; see ``FIELDS["feedback"]``."""

    run_id: str
    score: float
    at_s: float | None = None
    extra: Mapping[str, Any] = {}


class LostLine(NamedTuple):
    """A ``lost`` line; see ``FIELDS["lost"]``."""

    records: int
    at_s: float | None = None
    extra: Mapping[str, Any] = {}


@dataclass(slots=True)
class RunLog:
    """One run with everything the log says of it.

    Attributes:
        line: its ``run`` line; None: it had not ended, or the line is elsewhere.
        calls: by start, then by index.
        attempts: by start.
        scores: feedback, oldest first.
    """

    run_id: str
    line: RunLine | None = None
    calls: list[CallLog] = field(default_factory=list)
    attempts: list[AttemptLog] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    @property
    def workflow(self) -> str:
        """The workflow's name, from the run or its first call; ``?`` where neither says."""
        named = (one.workflow for one in (self.line, *self.calls[:1], *self.attempts[:1]) if one is not None)
        return next((name for name in named if name), "?")

    @property
    def arrival_s(self) -> float | None:
        """When the run began, seconds since the Unix epoch; inferred from its calls where its line is missing."""
        if self.line is not None and self.line.arrival_s is not None:
            return self.line.arrival_s
        seen = [(one.at_s, one.start_s or 0.0) for one in self.calls if one.at_s is not None]
        return min((at_s - start_s for at_s, start_s in seen), default=None)

    @property
    def elapsed_s(self) -> float | None:
        """Seconds from its arrival to its end, None while that is not known."""
        return None if self.line is None else self.line.elapsed_s

    @property
    def deadline_s(self) -> float | None:
        """The time the run was given, seconds."""
        if self.line is None:
            return None
        return self.line.slo.deadline_s if self.line.deadline_s is None else self.line.deadline_s

    @property
    def met_slo(self) -> bool | None:
        """Whether it ended well within its deadline and its money; None: it had no such target, or has not ended.

        None too where it ended well and a deadline was set, but nobody says how long it took.
        """
        line, deadline_s = self.line, self.deadline_s
        if line is None or line.outcome is None:
            return None
        max_cost_usd = line.slo.max_cost_usd
        if deadline_s is None and max_cost_usd is None:
            return None
        if line.outcome != "ok" or (max_cost_usd is not None and (line.cost_usd or 0.0) > max_cost_usd):
            return False
        if deadline_s is None:
            return True
        return None if line.elapsed_s is None else line.elapsed_s <= deadline_s

    def positions_of_parents(self) -> list[tuple[int, ...]]:
        """For each call, the positions in ``calls`` of those it could have used; unknown parents are left out."""
        by_id = {call.call_id: i for i, call in enumerate(self.calls) if call.call_id is not None}
        by_index = {call.call_index: i for i, call in enumerate(self.calls) if call.call_index is not None}
        found = ([_position(parent, by_id, by_index) for parent in call.parents] for call in self.calls)
        return [tuple(sorted({p for p in some if p is not None and p != i})) for i, some in enumerate(found)]


def _position(parent: str | int, by_id: Mapping[str, int], by_index: Mapping[int, int]) -> int | None:
    if isinstance(parent, str):
        return by_id.get(parent)
    found = by_index.get(parent)
    return by_id.get(str(parent)) if found is None else found
