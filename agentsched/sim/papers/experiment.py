"""What a published experiment consists of, and what is measured of each of its arms."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from agentsched.core.rules import Rules
from agentsched.sim.grid import PolicyChoice, Task
from agentsched.sim.intervals import Estimate, estimate
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.migrating import Migration
from agentsched.sim.outcome import Outcome, RunResult
from agentsched.sim.scenario import Scenario
from agentsched.sim.simulation import FIRST_CHOICE_ONLY, Setup

__all__ = ["Arm", "Claim", "Drawn", "Key", "Lab", "Measured", "Paper", "Window", "measured", "policy"]

Drawn = Mapping[str, Any] | Callable[[int], Mapping[str, Any]]
"""A scenario as its file would give it, or one for each seed."""

Key = tuple[str, ...]
"""What tells an arm from the others: one text per column of the paper's table."""


def policy(name: str, **options: bool | float | str) -> PolicyChoice:
    """A policy with options."""
    return PolicyChoice(name, tuple(options.items()))


@dataclass(frozen=True, slots=True)
class Window:
    """Some of an arm's runs; ``label`` ends the arm's key if it is not empty.

    Attributes:
        label: of the last column.
        from_s, until_s: they arrive in this interval, seconds since the start.
        workflow: they are of this workflow; None: of any.
        within_s: to be in time for them is to end in so many seconds; None: by their own deadline. For rules that look
            at no deadline one simulation then tells of several.
    """

    label: str
    from_s: float
    until_s: float
    workflow: str | None = None
    within_s: float | None = None

    def met(self, run: RunResult) -> bool:
        """Whether the run was in time."""
        return run.met if self.within_s is None else run.outcome in ("ok", "late") and run.latency_s <= self.within_s

    def holds(self, run: RunResult) -> bool:
        """Whether the run is one of them."""
        return self.from_s <= run.arrival_s < self.until_s and self.workflow in (None, run.workflow)


@dataclass(frozen=True, slots=True)
class Arm:
    """One policy in one setting.

    Attributes:
        key: its place in the table.
        task: what is simulated, but for the seed.
        windows: whose runs are looked at; empty: all that arrive after the scenario's warm-up.
        by_seed: the scenario of each seed, where a trace is drawn anew for each; empty: the task's, whatever the seed.
    """

    key: Key
    task: Task
    windows: tuple[Window, ...] = ()
    by_seed: Mapping[int, Scenario] = field(default_factory=dict)

    def of(self, seed: int) -> Task:
        """What is simulated with this seed."""
        task = self.task
        return replace(task, scenario=self.by_seed.get(seed, task.scenario), setup=replace(task.setup, seed=seed))


@dataclass(frozen=True, slots=True)
class Measured:
    """Means over seeds of that seed's figure; latencies in seconds, costs in USD.

    Attributes:
        runs: counted runs over all seeds.
        attainment: share that met its deadline (without one, that came to its end).
        goodput: runs per second that did.
        mean_s, p50_s, p90_s, p95_s, p99_s: latency of a run.
        cost_usd: of a run.
        quality: of a run (see `RunResult`); None: none was answered.
        attempts, read_tokens: of a run; what was sent anew counts again.
        finish_p95_s, last_s: when 95 % of the runs had ended, and the last one, since the start.
    """

    runs: int
    attainment: Estimate
    goodput: Estimate
    mean_s: Estimate
    p50_s: Estimate
    p90_s: Estimate
    p95_s: Estimate
    p99_s: Estimate
    cost_usd: Estimate
    quality: Estimate | None
    attempts: Estimate
    read_tokens: Estimate
    finish_p95_s: Estimate
    last_s: Estimate


@dataclass(frozen=True, slots=True)
class Claim:
    """One published figure beside ours.

    Attributes:
        what: which figure.
        published: as reported; None: the figure is not public.
        ours: what came out here.
        unit: of both.
        remark: what limits the comparison.
    """

    what: str
    published: float | None
    ours: float
    unit: str = ""
    remark: str = ""

    @property
    def gap(self) -> float | None:
        """Ours over the published one, less 1; None where nothing is published."""
        return None if not self.published else self.ours / self.published - 1.0


@dataclass(frozen=True, slots=True)
class Lab:
    """Where and how large an experiment is made.

    Attributes:
        scratch: a directory for its traces.
        seeds: of all chance.
        scale: share of the full length, in (0, 1].
    """

    scratch: Path
    seeds: tuple[int, ...]
    scale: float = 1.0

    def trace(self, name: str, rows: Iterable[Mapping[str, Any]]) -> str:
        """Write calls as a trace, one per row; answers its path."""
        path = self.scratch / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    def arm(
        self,
        key: Key,
        scenario: Drawn,
        choice: PolicyChoice,
        *,
        knowledge: Knowledge = Knowledge.STUDY,
        load: float | None = None,
        windows: tuple[Window, ...] = (),
        rules: Rules = FIRST_CHOICE_ONLY,
        migration: Migration | None = None,
    ) -> Arm:
        """An arm of a scenario given as its file would give it, the same for all seeds or drawn for each."""
        setup = Setup(load=load, knowledge=knowledge, rules=rules, migration=migration)
        if not callable(scenario):
            return Arm(key, Task(_scenario(scenario), choice, setup), windows)
        by_seed = {seed: _scenario(scenario(seed)) for seed in self.seeds}
        return Arm(key, Task(by_seed[self.seeds[0]], choice, setup), windows, by_seed)


def _scenario(given: Mapping[str, Any]) -> Scenario:
    return Scenario.model_validate({"version": 1, "warm_up": 0.0, **given})


@dataclass(frozen=True, slots=True)
class Paper:
    """A published experiment.

    Attributes:
        name: on the command line.
        title: what it is, in a line.
        source: where it was published.
        columns: headings of the arms' keys.
        assumed: what was not public and had to be chosen.
        arms: what is simulated.
        claims: what was published, beside what was measured.
    """

    name: str
    title: str
    source: str
    columns: tuple[str, ...]
    assumed: tuple[str, ...]
    arms: Callable[[Lab], list[Arm]]
    claims: Callable[[Mapping[Key, Measured]], list[Claim]]


def measured(arm: Arm, outcomes: Sequence[Outcome]) -> dict[Key, Measured]:
    """What came of an arm, one entry per window.

    Raises:
        ValueError: no run arrived in a window.
    """
    windows = arm.windows or (Window("", outcomes[0].counted_from_s, outcomes[0].counted_until_s),)
    return {
        (*arm.key, window.label) if window.label else arm.key: _measured(
            [[run for run in one.runs if window.holds(run)] for one in outcomes],
            window,
        )
        for window in windows
    }


def _measured(by_seed: Sequence[Sequence[RunResult]], window: Window) -> Measured:
    if not all(by_seed):
        raise ValueError("no run arrived")

    def over(figure: Callable[[Sequence[RunResult]], float]) -> Estimate:
        return estimate([figure(runs) for runs in by_seed])

    def latency(p: float) -> Estimate:
        return over(lambda runs: float(np.quantile([run.latency_s for run in runs], p)))

    seconds = window.until_s - window.from_s
    answered = [[run.quality for run in runs if run.quality is not None] for runs in by_seed]
    return Measured(
        runs=sum(len(runs) for runs in by_seed),
        attainment=over(lambda runs: sum(map(window.met, runs)) / len(runs)),
        goodput=over(lambda runs: sum(map(window.met, runs)) / seconds),
        mean_s=over(lambda runs: float(np.mean([run.latency_s for run in runs]))),
        p50_s=latency(0.5),
        p90_s=latency(0.9),
        p95_s=latency(0.95),
        p99_s=latency(0.99),
        cost_usd=over(lambda runs: float(np.mean([run.cost_usd for run in runs]))),
        quality=estimate([float(np.mean(qualities)) for qualities in answered]) if all(answered) else None,
        attempts=over(lambda runs: float(np.mean([run.attempts for run in runs]))),
        read_tokens=over(lambda runs: float(np.mean([run.input_tokens for run in runs]))),
        finish_p95_s=over(lambda runs: float(np.quantile([run.ended_s for run in runs], 0.95))),
        last_s=over(lambda runs: max(run.ended_s for run in runs)),
    )
