"""What cost a run its time: the call that overran its plan most, and why, in one sentence."""

from dataclasses import dataclass

from agentsched.telemetry.run_log import AttemptLog
from agentsched.telemetry.timeline import CallSpan, Timeline

__all__ = ["Slip", "decisive_slip", "label"]

_NOTABLE = 0.1
"""Share of the run's time below which an overrun is not called a slip."""

_CAUSE = 0.3
"""Share of an overrun that a cause must explain to be named."""


@dataclass(frozen=True, slots=True)
class Slip:
    """The stretch of a run that cost it most.

    Attributes:
        text: one sentence.
        step: the step it happened in; None: after the last call.
        position: the call, a position in ``RunLog.calls``; None: no call's.
        planned_s: what was planned for it, seconds; None: nothing was, it is the longest stretch then.
        spent_s: what it took, seconds.
    """

    text: str
    step: str | None
    position: int | None
    planned_s: float | None
    spent_s: float


def decisive_slip(timeline: Timeline, deadline_s: float | None) -> Slip | None:
    """The largest overrun on the critical path, or, where none is notable, its longest stretch.

    Args:
        timeline: the run.
        deadline_s: what the run was given, seconds.

    Returns:
        None for a run in time without a notable overrun, and for one without any time.
    """
    path = timeline.critical()
    late = deadline_s is not None and timeline.elapsed_s > deadline_s
    worst = max(path, key=_excess_s, default=None)
    if worst is not None and _excess_s(worst) > _NOTABLE * (deadline_s or timeline.elapsed_s):
        return _overrun(worst, timeline)
    return _longest(path, timeline) if late else None


def label(span: CallSpan, timeline: Timeline) -> str:
    """The call's step, with its index where the step made several calls."""
    step = span.call.step or "?"
    several = sum(other.call.step == span.call.step for other in timeline.spans) > 1
    index = span.position if span.call.call_index is None else span.call.call_index
    return f"{step} #{index}" if several else step


def _excess_s(span: CallSpan) -> float:
    return 0.0 if span.planned_s is None else span.spent_s - span.planned_s


def _overrun(span: CallSpan, timeline: Timeline) -> Slip:
    planned_s = span.planned_s or 0.0
    causes = sorted(_causes(span), reverse=True)
    named = [text for seconds, text in causes[:2] if seconds >= _CAUSE * (span.spent_s - planned_s)]
    text = f"step {label(span, timeline)}: {span.spent_s:.2f} s of {planned_s:.2f} s planned"
    return Slip(
        ": ".join((text, "; ".join(named))) if named else text, span.call.step, span.position, planned_s, span.spent_s
    )


def _longest(path: list[CallSpan], timeline: Timeline) -> Slip | None:
    """No call overran its plan by much: the longest stretch is what there is to tell."""
    stretches: list[tuple[float, str, CallSpan | None, bool]] = [
        (timeline.tail_s, "tools and own code after the last call", None, False)
    ]
    for span in path:
        name = label(span, timeline)
        stretches.append((span.gap_s, f"tools and own code before step {name}", span, False))
        stretches.append((span.spent_s, f"step {name}", span, True))
    spent_s, where, span_there, is_call = max(stretches, key=lambda stretch: stretch[0])
    if spent_s <= 0:
        return None
    planned = any(span.planned_s is not None for span in path)
    first = "no call overran its plan by much" if planned else "nothing was planned"
    text = f"{first}; the longest stretch is {where}: {spent_s:.2f} s ({100 * spent_s / timeline.elapsed_s:.0f} %)"
    step = None if span_there is None else span_there.call.step
    return Slip(text, step, span_there.position if span_there and is_call else None, None, spent_s)


def _causes(span: CallSpan) -> list[tuple[float, str]]:
    """What made this call longer than planned, as (seconds, words)."""
    call, decisions = span.call, span.call.decisions
    causes = [
        (one.e2e_s or 0.0, _lost(one, left=one is not span.tries[-1])) for one in span.tries if one.status != "ok"
    ]
    queue_s = span.seconds("queue")
    causes.append((queue_s, f"it waited {queue_s:.2f} s for a place"))
    planned_ttft_s, planned_e2e_s = decisions[0].predicted_ttft_s, decisions[0].predicted_e2e_s
    if span.seconds("model") and planned_e2e_s is not None:
        spent_s = span.seconds("model")
        causes.append(
            (spent_s - planned_e2e_s, f"endpoint {call.endpoint} took {spent_s:.2f} s ({planned_e2e_s:.2f} s planned)")
        )
    if span.seconds("prefill") and planned_ttft_s is not None:
        ttft_s = span.seconds("prefill")
        causes.append(
            (
                ttft_s - planned_ttft_s,
                f"the first token from endpoint {call.endpoint} took {ttft_s:.2f} s ({planned_ttft_s:.2f} s planned)",
            )
        )
    if span.seconds("decode") and planned_ttft_s is not None and planned_e2e_s is not None:
        causes += _decode_causes(span, planned_e2e_s - planned_ttft_s)
    return causes


def _decode_causes(span: CallSpan, planned_s: float) -> list[tuple[float, str]]:
    """A longer answer than expected, or a slower pace: the overrun is split between the two."""
    call, spent_s = span.call, span.seconds("decode")
    expected = call.decisions[0].predicted_output_tokens
    if not expected or not call.output_tokens or planned_s <= 0:
        return [(spent_s - planned_s, f"its tokens took {spent_s:.2f} s ({max(0.0, planned_s):.2f} s planned)")]
    planned_tpot_s, tpot_s = planned_s / expected, spent_s / call.output_tokens
    return [
        (
            (call.output_tokens - expected) * planned_tpot_s,
            f"it wrote {call.output_tokens} tokens ({expected:.0f} expected)",
        ),
        (
            (tpot_s - planned_tpot_s) * call.output_tokens,
            f"endpoint {call.endpoint} took {1000 * tpot_s:.0f} ms a token ({1000 * planned_tpot_s:.0f} ms planned)",
        ),
    ]


_ENDED = {
    "connect": "could not be reached for {s}",
    "reset": "broke its answer off after {s}",
    "stale": "had closed the connection, {s} lost",
    "stalled": "stalled and was given up after {s}",
    "malformed": "sent no valid answer in {s}",
    "in_band": "sent an error inside its answer after {s}",
    "limited": "was at its limit, {s} lost",
    "server": "failed after {s}",
    "client": "refused the request after {s}",
    "cancelled": "was cancelled after {s}",
    "loop_closed": "was cut off after {s} when its event loop closed",
    "deadline": "had not finished when the deadline came, after {s}",
    "patience": "had not answered when the caller's own timeout came, after {s}",
    "run_ended": "was cut off after {s} when the run ended",
}


def _lost(attempt: AttemptLog, *, left: bool) -> str:
    spent = f"{attempt.e2e_s or 0.0:.2f} s"
    silent = attempt.status in ("silent", "left") or (attempt.status == "cancelled" and left and attempt.ttft_s is None)
    if silent:
        return f"endpoint {attempt.endpoint} was silent for {spent}" + (", left" if left else "")
    ended = _ENDED.get(attempt.status or "", "ended with " + repr(attempt.status) + " after {s}").format(s=spent)
    return f"endpoint {attempt.endpoint} {ended}"
