"""Results over seeds: what each policy reached in each case, and how it differs from another on the same runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agentsched.errors import ConfigError
from agentsched.sim.grid import Case, Task
from agentsched.sim.intervals import Estimate, estimate
from agentsched.sim.outcome import Outcome, RunResult

__all__ = ["CaseResult", "Comparison", "NoRuns", "compare"]


class NoRuns(ConfigError):
    """A simulation has no run that counts."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One policy in one scenario at one load; estimates are means over seeds of that seed's figure.

    Attributes:
        case: which.
        load: runs per second that were asked for; of recorded arrivals as they are, those that came.
        seeds: the seeds, ascending.
        attainment: share of the counted runs that met their deadline.
        by_seed: that share for each seed.
        goodput: runs per second that met it.
        by_workflow: attainment of each workflow that came in every seed.
        latency_p50_s, latency_p95_s: percentiles of the runs' latency, seconds; runs that were cut count until then.
        lateness_p95: 95th percentile of latency / deadline; None where a run has no deadline.
        cost_usd: mean cost of a run.
        quality: mean quality of a run, as far as calls were answered (see `RunResult`); None: no call was, with a seed.
        outcomes: how many counted runs ended how, over all seeds.
        skipped: how many optional steps these left out.
        calls: calls over all seeds, warm-up included.
        attempts: attempts over all seeds by why they were made (see `Decision`).
        share_of_attempts: endpoint -> its share of all attempts.
        lateness: latency / deadline (latency in seconds without deadlines) of every counted run, ascending.
    """

    case: Case
    load: float
    seeds: tuple[int, ...]
    attainment: Estimate
    by_seed: tuple[float, ...]
    goodput: Estimate
    by_workflow: Mapping[str, Estimate]
    latency_p50_s: Estimate
    latency_p95_s: Estimate
    lateness_p95: Estimate | None
    cost_usd: Estimate
    quality: Estimate | None
    outcomes: Mapping[str, int]
    skipped: int
    calls: int
    attempts: Mapping[str, int]
    share_of_attempts: Mapping[str, float]
    lateness: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; without the single runs."""
        made = asdict(self)
        del made["lateness"], made["case"]
        return {"scenario": self.case.scenario, "policy": self.case.policy, **made}


@dataclass(frozen=True, slots=True)
class Comparison:
    """All cases, and how each differs from the first policy of its scenario and load, seed by seed.

    Attributes:
        results: in the order of the tasks.
        gains: case -> difference of the attainment to the first policy's on the same seeds.
        against: the first policy.
    """

    results: tuple[CaseResult, ...]
    gains: Mapping[Case, Estimate]
    against: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        cases = [
            {**result.to_dict(), "gain": None if result.case not in self.gains else asdict(self.gains[result.case])}
            for result in self.results
        ]
        return {"against": self.against, "cases": cases}


def compare(outcomes: Iterable[tuple[Task, Outcome]], order: Sequence[Task]) -> Comparison:
    """Average the outcomes over seeds.

    Args:
        outcomes: in any order.
        order: the tasks in the order in which cases are to be told.

    Raises:
        NoRuns: a simulation has no run that counts.
    """
    cases: dict[Case, dict[int, tuple[Task, Outcome]]] = {task.case: {} for task in order}
    for task, outcome in outcomes:
        cases[task.case][task.setup.seed] = (task, outcome)
    results = tuple(_result(case, [by_seed[seed] for seed in sorted(by_seed)]) for case, by_seed in cases.items())
    against = order[0].policy.label
    first = {(one.case.scenario, one.case.load): one for one in results if one.case.policy == against}
    gains = {}
    for one in results:
        if one.case.policy != against:
            base = first[one.case.scenario, one.case.load]
            gains[one.case] = estimate([own - other for own, other in zip(one.by_seed, base.by_seed, strict=True)])
    return Comparison(results, gains, against)


def _result(case: Case, pairs: Sequence[tuple[Task, Outcome]]) -> CaseResult:
    task = pairs[0][0]
    counted = [outcome.counted for _, outcome in pairs]
    for (one, _), runs in zip(pairs, counted, strict=True):
        if not runs:
            message = f"no run arrived after the warm-up with seed {one.setup.seed}"
            raise NoRuns(message, field=case.scenario, allowed="a longer duration, or more load")

    def over(figure: Callable[[Sequence[RunResult]], float]) -> Estimate:
        return estimate([figure(runs) for runs in counted])

    def goodput(pair: tuple[Task, Outcome]) -> float:
        outcome = pair[1]
        return sum(run.met for run in outcome.counted) / (outcome.counted_until_s - outcome.counted_from_s)

    with_deadline = all(run.deadline_s is not None for runs in counted for run in runs)
    whys = _sums([whys for _, outcome in pairs for whys in outcome.attempts.values()])
    there = _sums([{name: sum(whys.values()) for name, whys in outcome.attempts.items()} for _, outcome in pairs])
    return CaseResult(
        case=case,
        load=task.load,
        seeds=tuple(task.setup.seed for task, _ in pairs),
        attainment=over(_met),
        by_seed=tuple(_met(runs) for runs in counted),
        goodput=estimate([goodput(pair) for pair in pairs]),
        by_workflow=_by_workflow(counted),
        latency_p50_s=over(lambda runs: _quantile([run.latency_s for run in runs], 0.5)),
        latency_p95_s=over(lambda runs: _quantile([run.latency_s for run in runs], 0.95)),
        lateness_p95=over(lambda runs: _quantile([_lateness(run) for run in runs], 0.95)) if with_deadline else None,
        cost_usd=over(lambda runs: float(np.mean([run.cost_usd for run in runs]))),
        quality=_quality(counted),
        outcomes=_sums([{run.outcome: 1} for runs in counted for run in runs]),
        skipped=sum(run.skipped for runs in counted for run in runs),
        calls=sum(outcome.calls for _, outcome in pairs),
        attempts=whys,
        share_of_attempts={name: count / max(1, sum(there.values())) for name, count in there.items()},
        lateness=tuple(sorted(_lateness(run) for runs in counted for run in runs)),
    )


def _met(runs: Sequence[RunResult]) -> float:
    return sum(run.met for run in runs) / len(runs)


def _quality(counted: Sequence[Sequence[RunResult]]) -> Estimate | None:
    by_seed = [[run.quality for run in runs if run.quality is not None] for runs in counted]
    return estimate([float(np.mean(qualities)) for qualities in by_seed]) if all(by_seed) else None


def _lateness(run: RunResult) -> float:
    return run.latency_s if run.deadline_s is None else run.latency_s / run.deadline_s


def _quantile(values: Sequence[float], p: float) -> float:
    return float(np.quantile(values, p))


def _by_workflow(counted: Sequence[Sequence[RunResult]]) -> dict[str, Estimate]:
    names = sorted({run.workflow for runs in counted for run in runs})
    made: dict[str, Estimate] = {}
    for name in names:
        own = [[run for run in runs if run.workflow == name] for runs in counted]
        if all(own):
            made[name] = estimate([_met(runs) for runs in own])
    return made


def _sums(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for key, count in one.items():
            total[key] = total.get(key, 0) + count
    return total
