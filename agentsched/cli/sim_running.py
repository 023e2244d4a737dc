"""Simulations in parallel processes, with their progress and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agentsched import clock
from agentsched.cli.output import progress
from agentsched.sim.grid import Task, run_task, run_tasks
from agentsched.sim.outcome import Outcome

__all__ = ["Timed", "simulate_all"]


@dataclass(frozen=True, slots=True)
class Timed:
    """An outcome and the CPU that it cost."""

    outcome: Outcome
    cpu_s: float


def _timed(task: Task) -> Timed:
    before = clock.cpu()
    outcome = run_task(task)
    return Timed(outcome, clock.cpu() - before)


def simulate_all(tasks: Sequence[Task], jobs: int) -> list[tuple[Task, Timed]]:
    """Make all simulations, showing how far they are on stderr; in the order in which they were done."""
    columns = (
        TextColumn("simulating"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    done: list[tuple[Task, Timed]] = []
    console = progress()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task("", total=len(tasks))
        for task, timed in run_tasks(tasks, _timed, processes=jobs):
            done.append((task, timed))
            bar.update(shown, advance=1, description=f"{task.scenario.name} {task.policy.label}")
    return done
