"""When each call of a run ran, what its time was spent on, and which calls the run's length hung on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agentsched.telemetry.run_log import AttemptLog, CallLog, ReviewEntry, RunLog

__all__ = ["KINDS", "CallSpan", "Kind", "Segment", "Timeline", "timeline"]

Kind = Literal["queue", "lost", "prefill", "decode", "model", "tool"]
"""What time goes to: waiting for a place, attempts that came to nothing, the time to the first token, the tokens after
it, a model's time that no stream splits, and tools and the program's own code between the calls."""

KINDS: tuple[Kind, ...] = ("queue", "lost", "prefill", "decode", "model", "tool")

_TOUCHING_S = 0.001
"""A call that starts this much before another's end may still have waited for it: clocks are read one after another."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time; instants in seconds since the run's arrival."""

    kind: Kind
    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Its length, seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class CallSpan:
    """One call on the run's time axis; instants in seconds since the run's arrival.

    Attributes:
        position: its position in ``RunLog.calls``.
        segments: what the time from ``start_s`` to ``end_s`` went to, in order and without gaps.
        tries: its attempts, by start.
        critical: whether the run's length hung on it.
        gap_s: on the critical path, the time between the end of the call before it and its start, seconds.
        counted_s: on the critical path, the instant from which its time counts: its start, or the end of the call
            before it where the two overlap.
    """

    position: int
    call: CallLog
    start_s: float
    end_s: float
    segments: tuple[Segment, ...]
    tries: tuple[AttemptLog, ...]
    critical: bool = False
    gap_s: float = 0.0
    counted_s: float = 0.0

    @property
    def spent_s(self) -> float:
        """Seconds from its arrival to its end."""
        return self.end_s - self.start_s

    @property
    def planned_s(self) -> float | None:
        """The median predicted when it was first placed, seconds; None: nothing was predicted."""
        return self.call.decisions[0].predicted_e2e_s if self.call.decisions else None

    def reviewed_endpoint(self, review: ReviewEntry) -> str | None:
        """Where the attempt ran that a second thought was about; None: the log does not tell."""
        return next((one.endpoint for one in self.call.decisions if one.attempt_id == review.attempt_id), None)

    def seconds(self, kind: Kind) -> float:
        """What of its time went to ``kind``, seconds."""
        return sum(segment.length_s for segment in self.segments if segment.kind == kind)


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run's calls on one time axis.

    Attributes:
        elapsed_s: the run's length, seconds; where its end is not in the log, the end of its last call.
        spans: its calls, in the order of ``RunLog.calls``.
        tail_s: time after the end of the last critical call, seconds.
    """

    elapsed_s: float
    spans: tuple[CallSpan, ...]
    tail_s: float

    def critical(self) -> list[CallSpan]:
        """The calls the run's length hung on, in order."""
        return sorted((span for span in self.spans if span.critical), key=lambda span: span.start_s)

    def spent(self) -> dict[Kind, float]:
        """The run's length by what it went to, along the critical path, seconds; the sum is ``elapsed_s``."""
        total: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
        for span in self.critical():
            total["tool"] += span.gap_s
            for segment in _clipped(span.segments, span.counted_s, self.elapsed_s):
                total[segment.kind] += segment.length_s
        total["tool"] += self.tail_s
        return total


def timeline(run: RunLog) -> Timeline:
    """Put a run's calls on one time axis.

    Calls without a ``start_s`` (traces that only tell lengths) are placed after their parents, or after the call
    before them, plus their ``tool_s``.
    """
    parents = run.positions_of_parents()
    spans = _placed(run, parents)
    last_end_s = max((span.end_s for span in spans), default=0.0)
    elapsed_s = last_end_s if run.elapsed_s is None else run.elapsed_s
    path = _critical_path(spans, parents, elapsed_s)
    cursor_s = 0.0
    for position in path:
        span = spans[position]
        start_s = max(min(span.start_s, elapsed_s), cursor_s)
        spans[position] = replace(span, critical=True, gap_s=start_s - cursor_s, counted_s=start_s)
        cursor_s = max(cursor_s, min(span.end_s, elapsed_s))
    return Timeline(elapsed_s, tuple(spans), max(0.0, elapsed_s - cursor_s))


def _placed(run: RunLog, parents: Sequence[tuple[int, ...]]) -> list[CallSpan]:
    tries: dict[str | None, list[AttemptLog]] = {}
    for attempt in run.attempts:
        tries.setdefault(attempt.call_id, []).append(attempt)
    spans: list[CallSpan] = []
    for position, call in enumerate(run.calls):
        start_s = call.start_s
        if start_s is None:
            before = [p for p in parents[position] if p < position] or list(range(max(0, position - 1), position))
            start_s = max((spans[p].end_s for p in before), default=0.0) + (call.tool_s or 0.0)
        own = tuple(tries.get(call.call_id, ())) if call.call_id is not None else ()
        end_s = start_s + max(0.0, call.e2e_s or 0.0)
        spans.append(CallSpan(position, call, start_s, end_s, _segments(call, own, start_s, end_s), own))
    return spans


def _critical_path(spans: Sequence[CallSpan], parents: Sequence[tuple[int, ...]], elapsed_s: float) -> list[int]:
    """From the call that ended last back to the one each call waited for: its latest parent, else the latest before."""
    inside = [span for span in spans if span.start_s <= elapsed_s]
    path: list[int] = []
    at = max(inside, key=lambda span: span.end_s, default=None)
    while at is not None:
        path.append(at.position)
        known = [spans[p] for p in parents[at.position]]
        before = known or [span for span in spans if span.end_s <= at.start_s + _TOUCHING_S]
        earlier = [span for span in before if span.start_s < at.start_s and span.position not in path]
        at = max(earlier, key=lambda span: span.end_s, default=None)
    return path[::-1]


def _segments(call: CallLog, tries: Sequence[AttemptLog], start_s: float, end_s: float) -> tuple[Segment, ...]:
    timed = [one for one in tries if one.start_s is not None and one.e2e_s is not None]
    winner = next((one for one in reversed(timed) if one.status == "ok"), None)
    if winner is not None or (timed and call.status != "ok"):
        answered_s = end_s if winner is None else _start(winner)
        losers = [one for one in timed if one is not winner]
        ttft_s = None if winner is None else winner.ttft_s
    else:  # attempts are not told, or not all of them
        answered_s = start_s + (call.queued_s or 0.0) if call.status in (None, "ok") else end_s
        losers = []
        ttft_s = None if call.ttft_s is None else max(0.0, call.ttft_s - (call.queued_s or 0.0))
    answered_s = min(max(answered_s, start_s), end_s)
    segments = _before_the_answer(losers, start_s, answered_s)
    if answered_s < end_s:
        segments += _answer(ttft_s, answered_s, end_s)
    return tuple(segments)


def _answer(ttft_s: float | None, start_s: float, end_s: float) -> list[Segment]:
    if ttft_s is None:
        return [Segment("model", start_s, end_s)]
    first_s = min(start_s + ttft_s, end_s)
    segments = [Segment("prefill", start_s, first_s), Segment("decode", first_s, end_s)]
    return [segment for segment in segments if segment.length_s > 0]


def _before_the_answer(losers: Sequence[AttemptLog], start_s: float, end_s: float) -> list[Segment]:
    """Time under a lost attempt is lost, all other time was spent waiting for a place."""
    segments: list[Segment] = []
    cursor_s = start_s
    for one in losers:
        from_s, to_s = max(_start(one), cursor_s), min(_start(one) + (one.e2e_s or 0.0), end_s)
        if to_s <= from_s:
            continue
        if from_s > cursor_s:
            segments.append(Segment("queue", cursor_s, from_s))
        segments.append(Segment("lost", from_s, to_s))
        cursor_s = to_s
    if end_s > cursor_s:
        segments.append(Segment("queue", cursor_s, end_s))
    return segments


def _start(attempt: AttemptLog) -> float:
    return attempt.start_s or 0.0


def _clipped(segments: Sequence[Segment], start_s: float, end_s: float) -> list[Segment]:
    inside = (Segment(one.kind, max(one.start_s, start_s), min(one.end_s, end_s)) for one in segments)
    return [one for one in inside if one.length_s > 0]
