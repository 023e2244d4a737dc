"""Where one run's deadline went: its timeline, its attempts and its decisive slip."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agentsched.errors import ConfigError
from agentsched.telemetry.reading import LogReading, Problem, Source, iter_lines, log_files, read_log
from agentsched.telemetry.run_log import AttemptLog, CallLog, RunLine, RunLog
from agentsched.telemetry.slip import Slip, decisive_slip, label
from agentsched.telemetry.timeline import CallSpan, Timeline, timeline

__all__ = ["Explanation", "StepShare", "explain", "find_run"]


@dataclass(frozen=True, slots=True)
class StepShare:
    """One step's part in a run.

    Attributes:
        calls: how many it made.
        planned_s: the sum of what was planned for them when each was first placed, seconds; None: for one, nothing was.
        spent_s: the sum of what they took, seconds.
        critical_s: what of it the run's length hung on, seconds.
    """

    step: str
    calls: int
    planned_s: float | None
    spent_s: float
    critical_s: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything there is to tell about one run; ``slack_s`` below zero means late."""

    run: RunLog
    timeline: Timeline
    slip: Slip | None

    @property
    def slack_s(self) -> float | None:
        """What was left of the deadline when it ended, seconds; None: it had none."""
        return None if self.run.deadline_s is None else self.run.deadline_s - self.timeline.elapsed_s

    @property
    def retries(self) -> int:
        """Tries after a failed one."""
        return sum(
            max(0, len(span.tries) - 1) if span.call.retries is None else span.call.retries
            for span in self.timeline.spans
        )

    def label(self, span: CallSpan) -> str:
        """What a call is shown as: its step, with its index where the step made several."""
        return label(span, self.timeline)

    def steps(self) -> list[StepShare]:
        """The steps, in the order of their first calls."""
        groups: dict[str, list[CallSpan]] = {}
        for span in self.timeline.spans:
            groups.setdefault(span.call.step or "?", []).append(span)
        return [_share(step, spans, self.timeline.elapsed_s) for step, spans in groups.items()]

    def to_dict(self) -> dict[str, Any]:
        """The same, for JSON; times in seconds since the run's arrival."""
        run, line = self.run, self.run.line
        return {
            "run_id": run.run_id,
            "workflow": run.workflow,
            "tenant": None if line is None else line.tenant,
            "parent_run_id": None if line is None else line.parent_run_id,
            "arrival_s": run.arrival_s,
            "outcome": None if line is None else line.outcome,
            "met_slo": run.met_slo,
            "deadline_s": run.deadline_s,
            "elapsed_s": self.timeline.elapsed_s,
            "slack_s": self.slack_s,
            "calls": len(run.calls),
            "attempts": len(run.attempts),
            "retries": self.retries,
            "input_tokens": sum(call.input_tokens or 0 for call in run.calls),
            "output_tokens": sum(call.output_tokens or 0 for call in run.calls),
            "cost_usd": None if line is None else line.cost_usd,
            "scores": run.scores,
            "skipped": [] if line is None else list(line.skipped),
            "spent_s": {kind: _round(seconds) for kind, seconds in self.timeline.spent().items()},
            "steps": [
                {
                    "step": share.step,
                    "calls": share.calls,
                    "planned_s": _round(share.planned_s),
                    "spent_s": _round(share.spent_s),
                    "critical_s": _round(share.critical_s),
                }
                for share in self.steps()
            ],
            "timeline": [_span_dict(span) for span in self.timeline.spans],
            "slip": None
            if self.slip is None
            else {
                "text": self.slip.text,
                "step": self.slip.step,
                "planned_s": _round(self.slip.planned_s),
                "spent_s": _round(self.slip.spent_s),
            },
        }


def explain(run: RunLog) -> Explanation:
    """Explain one run, as far as its records tell."""
    laid = timeline(run)
    return Explanation(run, laid, decisive_slip(laid, run.deadline_s))


def find_run(
    sources: Source | Sequence[Source], which: str, *, workflow: str | None = None
) -> tuple[RunLog, LogReading]:
    """Find the run that ``which`` means: the beginning of one run's id, ``last`` or ``worst``.

    ``last`` is the run that ended last; ``worst`` the one that took the largest multiple of its deadline, or, where
    no run has a deadline, the longest. Both look at ended runs, of ``workflow`` if it is given.

    Raises:
        ConfigError: a source cannot be read; no run, or more than one, is meant.
    """
    run_id = which
    if which in _CHOOSE:
        run_id = _CHOOSE[which](_ended_runs(sources, workflow)).run_id
    reading = read_log(sources, run_id=run_id)
    exact = [run for run in reading.runs if run.run_id == run_id]
    found = exact or reading.runs
    if not found:
        raise ConfigError("no such run", field="RUN", given=which, allowed="the beginning of a run's id, last or worst")
    if len(found) > 1:
        shown = ", ".join(run.run_id for run in found[:5]) + (", ..." if len(found) > 5 else "")
        raise ConfigError(f"means {len(found)} runs", field="RUN", given=which, allowed=f"more of one of {shown}")
    return found[0], reading


def _ended_runs(sources: Source | Sequence[Source], workflow: str | None) -> list[RunLine]:
    files, problems = log_files(sources), list[Problem]()
    lines = iter_lines(files, problems.append, only='"run"')
    runs = [line for line in lines if isinstance(line, RunLine) and workflow in (None, line.workflow)]
    if not runs:
        message = f"no ended run{'' if workflow is None else f' of workflow {workflow!r}'} in the log"
        if problems:
            message += f" ({len(problems)} lines could not be read, the first: {problems[0]})"
        raise ConfigError(message, field="RUN", file=files[-1], allowed="the beginning of a run's id")
    return runs


def _lateness(run: RunLine) -> tuple[float, float]:
    deadline_s = run.slo.deadline_s if run.deadline_s is None else run.deadline_s
    elapsed_s = run.elapsed_s or 0.0
    return (elapsed_s / deadline_s if deadline_s else 0.0), elapsed_s


_CHOOSE: dict[str, Callable[[list[RunLine]], RunLine]] = {
    "last": lambda runs: max(runs, key=lambda run: (run.arrival_s or 0.0) + (run.elapsed_s or 0.0)),
    "worst": lambda runs: max(runs, key=_lateness),
}


def _share(step: str, spans: list[CallSpan], elapsed_s: float) -> StepShare:
    plans = [span.planned_s for span in spans]
    known = [planned_s for planned_s in plans if planned_s is not None]
    critical_s = sum(max(0.0, min(one.end_s, elapsed_s) - one.counted_s) for one in spans if one.critical)
    planned_s = sum(known) if len(known) == len(plans) else None
    return StepShare(step, len(spans), planned_s, sum(span.spent_s for span in spans), critical_s)


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _span_dict(span: CallSpan) -> dict[str, Any]:
    call = span.call
    return {
        "call_id": call.call_id,
        "call_index": call.call_index,
        "step": call.step,
        "endpoint": call.endpoint,
        "status": call.status,
        "detail": call.detail,
        "start_s": _round(span.start_s),
        "end_s": _round(span.end_s),
        "planned_s": span.planned_s,
        "spent_s": _round(span.spent_s),
        "critical": span.critical,
        "tools_before_s": _round(span.gap_s),
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "segments": [[one.kind, _round(one.start_s), _round(one.end_s)] for one in span.segments],
        "attempts": [_attempt_dict(one, call) for one in span.tries],
        "reviews": [
            {
                "endpoint": span.reviewed_endpoint(one),
                "after_s": one.after_s,
                "verdict": one.verdict,
                "why": one.why,
                "p_stay": one.p_stay,
                "p_switch": one.p_switch,
                "p_dead": one.p_dead,
            }
            for one in call.reviews
        ],
    }


def _attempt_dict(attempt: AttemptLog, call: CallLog) -> dict[str, Any]:
    placed = next((one for one in call.decisions if one.attempt_id == attempt.attempt_id), None)
    return {
        "endpoint": attempt.endpoint,
        "start_s": attempt.start_s,
        "ttft_s": attempt.ttft_s,
        "e2e_s": attempt.e2e_s,
        "status": attempt.status,
        "detail": attempt.detail,
        "why": None if placed is None else placed.why,
        "policy": None if placed is None else placed.policy,
        "p_meet": None if placed is None else placed.p_meet,
        "predicted_e2e_s": attempt.predicted_e2e_s,
        "rivals": [] if placed is None else [list(rival) for rival in placed.rivals],
    }
