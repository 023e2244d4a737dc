"""What the comparison consists of: its arms, and the rules by which load and deadline are chosen."""

from dataclasses import dataclass
from math import ceil
from statistics import fmean, median
from typing import Literal, get_args

from agentsched.demo.cases import draw_workload
from agentsched.demo.pool import FASTEST, PROFILES, capacity_calls_per_s, idle_s

__all__ = ["ARMS", "Arm", "Plan", "make_plan"]

Arm = Literal["one endpoint", "round robin", "agentsched"]
"""How the agent's calls reach the pool: all at the fastest endpoint, one endpoint after the other, or decorated."""

ARMS: tuple[Arm, ...] = get_args(Arm)

LOAD = 0.5
"""Share of the pool's capacity that the arrivals ask for, when no rate is given. Perfectly divided, that much work
leaves every endpoint with room; divided evenly, as round robin does, it is more than the slowest can do; and it is more
than the fastest can do alone."""

DEADLINE = 2.5
"""The deadline, when none is given, as a multiple of the idle time of the median case on the fastest
endpoint. One deadline holds for all cases: knowing it says nothing about how long a single one is."""

PATIENCE = 2.0
"""Whoever asked gives up after this multiple of the deadline, in every arm, so that an overloaded arm ends."""

_WINDOW_S, _QUICK_WINDOW_S = 28.0, 8.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One comparison; everything that happens follows from it.

    Attributes:
        seed: of cases and arrivals.
        workflows: how many arrive.
        rate_per_s: mean arrivals per second.
        deadline_s: seconds from a workflow's arrival to its answer.
        idle_s: idle time of the median case on the fastest endpoint, seconds.
        calls_per_workflow: mean model calls of a case.
        load: share of the pool's capacity that the rate asks for.
    """

    seed: int
    workflows: int
    rate_per_s: float
    deadline_s: float
    idle_s: float
    calls_per_workflow: float
    load: float

    @property
    def patience_s(self) -> float:
        """Seconds after which whoever asked gives up."""
        return PATIENCE * self.deadline_s

    @property
    def longest_s(self) -> float:
        """Seconds an arm takes at most, its start not counted."""
        return self.workflows / self.rate_per_s + self.patience_s


def make_plan(
    *,
    seed: int = 0,
    workflows: int | None = None,
    rate_per_s: float | None = None,
    deadline_s: float | None = None,
    quick: bool = False,
) -> Plan:
    """Choose what is not given by the rules above.

    Args:
        seed: of cases and arrivals.
        workflows: how many; None: what arrives in half a minute, or in a few seconds if ``quick``.
        rate_per_s: mean arrivals per second; None: `LOAD` of the pool's capacity.
        deadline_s: seconds; None: `DEADLINE` times the idle time.
        quick: fewer workflows.
    """
    typical = draw_workload(seed, workflows or 200, 1.0).cases
    calls = fmean(case.calls for case in typical)
    capacity = capacity_calls_per_s(typical, tuple(PROFILES.values()))
    rate = rate_per_s or LOAD * capacity / calls
    idle = median(idle_s(case, PROFILES[FASTEST]) for case in typical)
    return Plan(
        seed=seed,
        workflows=workflows or ceil(rate * (_QUICK_WINDOW_S if quick else _WINDOW_S)),
        rate_per_s=rate,
        deadline_s=deadline_s or round(DEADLINE * idle, 1),
        idle_s=idle,
        calls_per_workflow=calls,
        load=rate * calls / capacity,
    )
