"""What a decision log says of each workflow: SLO attainment, goodput, latency, cost, endpoints, steps, predictions."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from agentsched.telemetry.prediction_quality import Predictions, prediction_quality
from agentsched.telemetry.reading import LogReading
from agentsched.telemetry.run_log import AttemptLog, CallLog, RunLog
from agentsched.telemetry.spread import Spread, spread, wilson_interval
from agentsched.telemetry.timeline import KINDS, Timeline, timeline

__all__ = [
    "Attainment",
    "EndpointReport",
    "Queueing",
    "Report",
    "StepReport",
    "WorkflowReport",
    "build_report",
]

_CURVE = np.linspace(0.0, 1.0, 51)

_NO_FAULT = frozenset({"cancelled", "client", "deadline", "loop_closed", "patience", "run_ended", "stale"})
"""Ends of attempts that say nothing about the endpoint's health."""


@dataclass(frozen=True, slots=True)
class Attainment:
    """The share of runs with an SLO that met it, against the share that should.

    ``low`` and ``high`` bound it at 95 % confidence; ``verdict`` is ``met`` or ``missed`` when that settles the goal,
    else ``open``.
    """

    runs: int
    met: int
    share: float
    low: float
    high: float
    goal: float
    verdict: Literal["met", "missed", "open"]


@dataclass(frozen=True, slots=True)
class EndpointReport:
    """One endpoint's part: ``share`` of the attempts; ``error_rate`` of those that tell of the endpoint's health.

    ``tpot_s`` counts answers whose first token was seen and that have more than one.
    """

    endpoint: str
    attempts: int
    share: float
    error_rate: float
    failures: Mapping[str, int]
    ttft_s: Spread | None
    tpot_s: Spread | None
    input_tokens: int
    output_tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step's part: ``share`` of the runs' time that hung on its calls; ``planned_s`` when first placed."""

    step: str
    calls: int
    share: float
    spent_s: Spread | None
    planned_s: Spread | None
    output_tokens: Spread | None


@dataclass(frozen=True, slots=True)
class Queueing:
    """Waiting for a place: ``share`` of the calls that waited, and the spread of their waits in seconds."""

    calls: int
    share: float
    waited_s: Spread | None


@dataclass(frozen=True, slots=True)
class WorkflowReport:
    """What the log says of one workflow.

    Attributes:
        runs: ended runs; everything but ``unfinished`` is about these.
        unfinished: runs whose end is not in the log.
        since_s, until_s: first arrival and last end, seconds since the Unix epoch.
        outcomes: runs by how they ended.
        attainment: None: no run had an SLO.
        goodput_per_s: runs per second, from first arrival to last end, that met their SLO.
        deadline_s: the deadline, where all runs had the same, seconds.
        latency_s: of a run.
        lateness: of a run's latency divided by its deadline.
        curve_s: the quantiles 0, .02, ... 1 of the latency, seconds.
        calls, attempts, retries, input_tokens, output_tokens, cost_usd: sums.
        wasted_tokens, wasted_usd: what attempts took beyond one unbroken answer per call.
        attempts_by: attempts by why they were made (`Decision.why`).
        skipped: how often each optional step was left out.
        score: mean of the last feedback of the runs that got some.
        call_failures, attempt_failures: by kind.
        time: share of the runs' time by what it went to, along the critical paths; see `Kind`.
    """

    workflow: str
    runs: int
    unfinished: int
    since_s: float | None
    until_s: float | None
    outcomes: Mapping[str, int]
    attainment: Attainment | None
    goodput_per_s: float | None
    deadline_s: float | None
    latency_s: Spread | None
    lateness: Spread | None
    curve_s: tuple[float, ...]
    calls: int
    attempts: int
    retries: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    wasted_tokens: int
    wasted_usd: float
    attempts_by: Mapping[str, int]
    skipped: Mapping[str, int]
    score: float | None
    call_failures: Mapping[str, int]
    attempt_failures: Mapping[str, int]
    time: Mapping[str, float]
    queueing: Queueing
    predictions: Predictions
    endpoints: tuple[EndpointReport, ...]
    steps: tuple[StepReport, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All workflows of a log, by name; ``lost`` and ``bad_lines`` say what is missing from it."""

    workflows: tuple[WorkflowReport, ...]
    files: tuple[str, ...]
    lost: int
    bad_lines: int
    notes: int

    def to_dict(self) -> dict[str, Any]:
        """The same, for JSON."""
        return asdict(self)


def build_report(reading: LogReading) -> Report:
    """Sum up what was read, workflow by workflow."""
    groups: dict[str, list[RunLog]] = {}
    for run in reading.runs:
        groups.setdefault(run.workflow, []).append(run)
    workflows = tuple(_workflow(name, runs) for name, runs in sorted(groups.items()))
    return Report(workflows, reading.files, reading.lost, reading.bad_lines, len(reading.notes))


def _workflow(name: str, everything: Sequence[RunLog]) -> WorkflowReport:
    runs = [run for run in everything if run.line is not None]
    calls = [call for run in runs for call in run.calls]
    attempts = [attempt for run in runs for attempt in run.attempts]
    laid = [timeline(run) for run in runs]
    since_s, until_s = _span(runs)
    met = sum(run.met_slo is True for run in runs)
    latencies = [run.elapsed_s for run in runs if run.elapsed_s is not None]
    deadlines = {run.deadline_s for run in runs}
    lasted_s = None if since_s is None or until_s is None else until_s - since_s
    scores = [run.scores[-1] for run in runs if run.scores]
    return WorkflowReport(
        workflow=name,
        runs=len(runs),
        unfinished=len(everything) - len(runs),
        since_s=since_s,
        until_s=until_s,
        outcomes=_counts(run.line.outcome for run in runs if run.line is not None),
        attainment=_attainment(runs),
        goodput_per_s=met / lasted_s if lasted_s else None,
        deadline_s=deadlines.pop() if len(deadlines) == 1 else None,
        latency_s=spread(latencies),
        lateness=spread(_ratio(run.elapsed_s, run.deadline_s) for run in runs),
        curve_s=tuple(float(q) for q in np.quantile(latencies, _CURVE)) if latencies else (),
        calls=sum(_told(run, "calls", len(run.calls)) for run in runs),
        attempts=sum(_told(run, "attempts", len(run.attempts)) for run in runs),
        retries=sum(call.retries or 0 for call in calls),
        input_tokens=sum(_told(run, "input_tokens", _total(run.calls, "input_tokens")) for run in runs),
        output_tokens=sum(_told(run, "output_tokens", _total(run.calls, "output_tokens")) for run in runs),
        cost_usd=sum(_told(run, "cost_usd", _total(run.calls, "cost_usd")) for run in runs),
        wasted_tokens=sum(_told(run, "wasted_tokens", _total(run.calls, "wasted_tokens")) for run in runs),
        wasted_usd=sum(_told(run, "wasted_usd", _total(run.calls, "wasted_usd")) for run in runs),
        attempts_by=_counts(decision.why for call in calls for decision in call.decisions),
        skipped=_counts(step for run in runs if run.line is not None for step in run.line.skipped),
        score=float(np.mean(scores)) if scores else None,
        call_failures=_counts(call.status for call in calls if call.status not in ("ok", "skipped")),
        attempt_failures=_counts(attempt.status for attempt in attempts if attempt.status != "ok"),
        time=_time(laid),
        queueing=_queueing(calls),
        predictions=prediction_quality(runs),
        endpoints=_endpoints(attempts),
        steps=_steps(laid),
    )


def _attainment(runs: Sequence[RunLog]) -> Attainment | None:
    judged = [run for run in runs if run.met_slo is not None]
    if not judged:
        return None
    goals = Counter(run.line.slo.percentile or 0.95 for run in judged if run.line is not None)
    goal, met = goals.most_common(1)[0][0], sum(run.met_slo is True for run in judged)
    low, high = wilson_interval(met, len(judged))
    verdict: Literal["met", "missed", "open"] = "met" if low >= goal else "missed" if high < goal else "open"
    return Attainment(len(judged), met, met / len(judged), low, high, goal, verdict)


def _span(runs: Sequence[RunLog]) -> tuple[float | None, float | None]:
    timed = [(arrival_s, run.elapsed_s or 0.0) for run in runs if (arrival_s := run.arrival_s) is not None]
    if not timed:
        return None, None
    return min(arrival_s for arrival_s, _ in timed), max(arrival_s + elapsed_s for arrival_s, elapsed_s in timed)


def _time(laid: Sequence[Timeline]) -> dict[str, float]:
    total_s = sum(one.elapsed_s for one in laid)
    spent = [one.spent() for one in laid]
    return {kind: sum(one[kind] for one in spent) / total_s if total_s else 0.0 for kind in KINDS}


def _queueing(calls: Sequence[CallLog]) -> Queueing:
    waits = [call.queued_s for call in calls if call.queued_s is not None and call.queued_s > 0]
    return Queueing(len(calls), len(waits) / len(calls) if calls else 0.0, spread(waits))


def _endpoints(attempts: Sequence[AttemptLog]) -> tuple[EndpointReport, ...]:
    groups: dict[str, list[AttemptLog]] = {}
    for attempt in attempts:
        groups.setdefault(attempt.endpoint or "?", []).append(attempt)
    return tuple(_endpoint(name, own, len(attempts)) for name, own in sorted(groups.items()))


def _endpoint(name: str, attempts: Sequence[AttemptLog], of: int) -> EndpointReport:
    judged = [one for one in attempts if one.status not in _NO_FAULT]
    answered = [one for one in attempts if one.status == "ok"]
    return EndpointReport(
        endpoint=name,
        attempts=len(attempts),
        share=len(attempts) / of,
        error_rate=1 - len(answered) / len(judged) if judged else 0.0,
        failures=_counts(one.status for one in attempts if one.status != "ok"),
        ttft_s=spread(one.ttft_s for one in answered),
        tpot_s=spread(map(_tpot_s, answered)),
        input_tokens=int(_total(attempts, "input_tokens")),
        output_tokens=int(_total(attempts, "output_tokens")),
        cost_usd=_total(attempts, "cost_usd"),
    )


def _tpot_s(attempt: AttemptLog) -> float | None:
    if attempt.ttft_s is None or attempt.e2e_s is None or (attempt.output_tokens or 0) < 2:
        return None
    return (attempt.e2e_s - attempt.ttft_s) / ((attempt.output_tokens or 0) - 1)


def _steps(laid: Sequence[Timeline]) -> tuple[StepReport, ...]:
    total_s = sum(one.elapsed_s for one in laid)
    groups: dict[str, list[tuple[Timeline, int]]] = {}
    for one in laid:
        for span in one.spans:
            if span.call.status != "skipped":  # what was not done took no time that would say anything
                groups.setdefault(span.call.step or "?", []).append((one, span.position))
    steps = []
    for name, places in groups.items():
        spans = [one.spans[position] for one, position in places]
        critical_s = sum(
            max(0.0, min(one.spans[position].end_s, one.elapsed_s) - one.spans[position].counted_s)
            for one, position in places
            if one.spans[position].critical
        )
        steps.append(
            StepReport(
                step=name,
                calls=len(spans),
                share=critical_s / total_s if total_s else 0.0,
                spent_s=spread(span.spent_s for span in spans),
                planned_s=spread(span.planned_s for span in spans),
                output_tokens=spread(span.call.output_tokens for span in spans),
            )
        )
    return tuple(sorted(steps, key=lambda step: -step.share))


def _counts(kinds: Iterable[str | None]) -> dict[str, int]:
    """How often each, most frequent first."""
    return dict(Counter(kind or "?" for kind in kinds).most_common())


def _ratio(value: float | None, of: float | None) -> float | None:
    return None if value is None or not of else value / of


def _total(rows: Sequence[CallLog] | Sequence[AttemptLog], name: str) -> float:
    return sum(getattr(row, name) or 0 for row in rows)


def _told(run: RunLog, name: str, counted: float) -> Any:
    """What the run's line says, else what its calls and attempts add up to."""
    value = getattr(run.line, name)
    return counted if value is None else value
