"""What a set of runs came to: recorded, or simulated."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agentsched.sim.outcome import RunResult
from agentsched.sim.traces.recorded import RecordedRun

__all__ = ["Ended", "Figures", "figures_of", "recorded_ends", "simulated_ends"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How one run ended; None where that is not known."""

    workflow: str
    latency_s: float | None
    met: bool | None
    cost_usd: float | None
    outcome: str
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over runs.

    Attributes:
        runs: how many.
        judged: how many of them had a deadline and a known end.
        attainment: the share of those that met it; None: there are none.
        latency_p50_s, latency_p95_s: percentiles of the latency where it is known, seconds; runs that were cut count
            until then. None: of no run.
        cost_usd: mean of what is known; None: of no run.
        outcomes: how many ended how.
        skipped: how many optional steps they left out.
    """

    runs: int
    judged: int
    attainment: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    cost_usd: float | None
    outcomes: dict[str, int]
    skipped: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def figures_of(ends: Sequence[Ended]) -> Figures:
    """Sum up."""
    met = [one.met for one in ends if one.met is not None]
    latencies = [one.latency_s for one in ends if one.latency_s is not None]
    costs = [one.cost_usd for one in ends if one.cost_usd is not None]
    p50, p95 = (float(np.quantile(latencies, p)) if latencies else None for p in (0.5, 0.95))
    return Figures(
        runs=len(ends),
        judged=len(met),
        attainment=sum(met) / len(met) if met else None,
        latency_p50_s=p50,
        latency_p95_s=p95,
        cost_usd=float(np.mean(costs)) if costs else None,
        outcomes=dict(sorted(Counter(one.outcome for one in ends).items())),
        skipped=sum(one.skipped for one in ends),
    )


def recorded_ends(runs: Sequence[RecordedRun], deadline_s: float | None) -> list[Ended]:
    """How recorded runs ended, judged by another deadline where one is given.

    A run that was cut before that deadline counts as one that missed it: how long it would have taken is unknown.
    """
    return [_recorded(run, deadline_s) for run in runs]


def _recorded(run: RecordedRun, deadline_s: float | None) -> Ended:
    met = run.met
    if deadline_s is not None:
        met = None if run.elapsed_s is None else run.complete and run.elapsed_s <= deadline_s
    return Ended(run.workflow, run.elapsed_s, met, run.cost_usd, run.outcome or "not recorded", run.skipped)


def simulated_ends(results: Sequence[RunResult]) -> list[Ended]:
    """How simulated runs ended."""
    return [
        Ended(
            one.workflow,
            one.latency_s,
            None if one.deadline_s is None else one.met,
            one.cost_usd,
            one.outcome,
            one.skipped,
        )
        for one in results
    ]
