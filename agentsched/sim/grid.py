"""Many simulations: every scenario with every policy, load and seed, in parallel processes."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TypeVar

from agentsched.policy.space import Option
from agentsched.policy.table import make_policy
from agentsched.sim.outcome import Outcome
from agentsched.sim.scenario import Scenario
from agentsched.sim.simulation import Setup, simulate
from agentsched.sim.workload import mean_load

__all__ = ["Case", "PolicyChoice", "Task", "run_task", "run_tasks", "tasks_of"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """A policy by name, with options.

    Attributes:
        name: the policy's name.
        options: what it is made with.
        shown: how results call it; None: by name and options.

    Raises:
        ConfigError: the name or an option is unknown.
    """

    name: str
    options: tuple[tuple[str, Option], ...] = ()
    shown: str | None = None

    def __post_init__(self) -> None:
        make_policy(self.name, dict(self.options))

    @property
    def label(self) -> str:
        """How results call it."""
        if self.shown is not None:
            return self.shown
        options = ",".join(
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in self.options
        )
        return f"{self.name}:{options}" if options else self.name


@dataclass(frozen=True, slots=True)
class Case:
    """What is averaged over seeds."""

    scenario: str
    load: float | None
    policy: str


@dataclass(frozen=True, slots=True)
class Task:
    """One simulation to be made."""

    scenario: Scenario
    policy: PolicyChoice
    setup: Setup

    @property
    def case(self) -> Case:
        """Which average it belongs to."""
        return Case(self.scenario.name, self.setup.load, self.policy.label)

    @property
    def load(self) -> float:
        """Runs per second, see `mean_load`."""
        return mean_load(self.scenario, self.setup.load, self.setup.duration_s or self.scenario.duration)


def tasks_of(scenarios: Sequence[Scenario], policies: Sequence[PolicyChoice], setups: Sequence[Setup]) -> list[Task]:
    """Every scenario with every setup and every policy."""
    return [Task(scenario, policy, setup) for scenario in scenarios for setup in setups for policy in policies]


def run_task(task: Task) -> Outcome:
    """Make one simulation."""
    return simulate(task.scenario, lambda: make_policy(task.policy.name, dict(task.policy.options)), task.setup)


def run_tasks(tasks: Sequence[Task], work: Callable[[Task], T], *, processes: int) -> Iterator[tuple[Task, T]]:
    """Make all of them; yields each with what came of it, in the order in which they are done.

    Args:
        tasks: what to do.
        work: does one, in whatever process; can be pickled.
        processes: how many to use; 1: this one.
    """
    if processes == 1 or len(tasks) == 1:
        for task in tasks:
            yield task, work(task)
        return
    # Spawned: a forked child would inherit the threads' locks of whoever shows the progress.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(min(processes, len(tasks)), mp_context=context) as pool:
        open_tasks = {pool.submit(work, task): task for task in tasks}
        try:
            for future in as_completed(open_tasks):
                yield open_tasks[future], future.result()
        except BaseException:
            for worker in set(multiprocessing.active_children()) - others:  # a long simulation is not waited for
                worker.terminate()
            # Only the pool's own thread reaps the workers: of two that wait for one process, one is told that it lives.
            pool.shutdown(cancel_futures=True)
            raise
