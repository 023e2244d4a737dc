"""The experiments that can be made again, by name, and how one is made."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from agentsched.errors import ConfigError
from agentsched.sim.grid import Task, run_task, run_tasks
from agentsched.sim.outcome import Outcome
from agentsched.sim.papers import capacity, drift, goodserve, hexgen, migration, research, routebalance, spill
from agentsched.sim.papers.experiment import Claim, Key, Lab, Measured, Paper, measured

__all__ = ["PAPERS", "Reproduced", "find_paper", "reproduce"]

PAPERS: Mapping[str, Paper] = {
    paper.name: paper
    for paper in (
        goodserve.MOTIVATION,
        goodserve.GOODPUT,
        goodserve.ERRORS,
        migration.MIGRATION,
        routebalance.RATES,
        routebalance.WAVES,
        routebalance.BUDGETS,
        *research.RESEARCH,
        capacity.CAPACITY,
        spill.SPILL,
        drift.DRIFT,
        drift.DRIFT_512,
        hexgen.TEXT_TO_SQL,
    )
}


@dataclass(frozen=True, slots=True)
class Reproduced:
    """An experiment, made again.

    Attributes:
        paper: which.
        seeds: with which.
        scale: at which share of its length.
        found: what was measured, by arm, in the paper's order.
        claims: published figures beside ours.
    """

    paper: Paper
    seeds: tuple[int, ...]
    scale: float
    found: Mapping[Key, Measured]
    claims: tuple[Claim, ...]


def find_paper(name: str) -> Paper:
    """The experiment of this name.

    Raises:
        ConfigError: there is none.
    """
    paper = PAPERS.get(name)
    if paper is None:
        raise ConfigError("no such experiment", field="paper", given=name, allowed=", ".join(PAPERS))
    return paper


def reproduce(
    paper: Paper, lab: Lab, *, processes: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> Reproduced:
    """Simulate every arm with every seed.

    Args:
        paper: which experiment.
        lab: where, with which seeds, at which scale.
        processes: how many to use.
        progress: is told how many simulations are done, of how many.
    """
    arms = paper.arms(lab)
    tasks = [arm.of(seed) for arm in arms for seed in lab.seeds]
    places: dict[int, int] = {id(task): place for place, task in enumerate(tasks)}
    outcomes: dict[int, Outcome] = {}
    for task, outcome in _simulated(tasks, processes):
        outcomes[places[id(task)]] = outcome
        progress(len(outcomes), len(tasks))
    found: dict[Key, Measured] = {}
    for number, arm in enumerate(arms):
        first = number * len(lab.seeds)
        found |= measured(arm, [outcomes[place] for place in range(first, first + len(lab.seeds))])
    return Reproduced(paper, lab.seeds, lab.scale, found, tuple(paper.claims(found)))


def _simulated(tasks: list[Task], processes: int) -> Iterator[tuple[Task, Outcome]]:
    return run_tasks(tasks, run_task, processes=processes)
