"""The runs of a simulation: the same for every policy, because nothing in them depends on what a policy does."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from agentsched.errors import ConfigError
from agentsched.sim.arrivals import arrival_times, scaled_times
from agentsched.sim.ideal import IdealTimes, ideal_times
from agentsched.sim.plan import MODEL, Drawn, RunPlan
from agentsched.sim.scenario import Scenario
from agentsched.sim.streams import Mix, Stream, stream
from agentsched.sim.traces.drawing import Fitting, drawn_again, trace_arrivals, trace_recording
from agentsched.sim.workflows import WorkflowDrawer, lognormal
from agentsched.sim.workload_format import Deadlines, Demand, Lognormal, Workload

__all__ = ["Sample", "StepKey", "draw_runs", "mean_load", "sampled", "step_outputs"]

StepKey = tuple[str, str]
"""(workflow, step)."""


_MOST_RUNS = 2_000_000


class _Drawer(Protocol):
    def draw(self) -> Drawn:
        """The next run."""


class _TraceDrawer:
    """Makes the runs of a trace again, in its order or in one drawn anew each time round.

    Args:
        scenario: one with a ``workload``.
        seed: of the order and of what the trace does not tell.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        assert scenario.workload is not None
        self._workload: Workload = scenario.workload
        self._runs = trace_recording(scenario.workload.trace).runs
        self._shapes, self._order = stream(seed, Stream.SHAPES), list[int]()
        noise = stream(seed, Stream.PREDICTIONS)
        demands: list[Demand] = scenario.demands
        demand_mix = Mix([demand.share for demand in demands])
        self._all_choosy = all(group.models is not None for group in scenario.endpoints)
        self._models = {name for group in scenario.endpoints for name in group.models or ()}
        self._ideal: IdealTimes = ideal_times(scenario)
        self._fitting = Fitting(
            most_input_tokens=scenario.prompts.most,
            least_output_tokens=scenario.outputs.least,
            most_output_tokens=scenario.outputs.most,
            wait_s=self._wait_s,
            min_quality=lambda: demands[demand_mix.draw(self._shapes)].min_quality if demands else 0.0,
            noise=lambda: float(noise.standard_normal()),
            model=self._model,
        )

    def _model(self, recorded: str | None) -> str:
        if recorded in self._models:
            return str(recorded)
        if self._all_choosy:
            allowed = f"one of {', '.join(sorted(self._models))}, or an endpoint without models"
            raise ConfigError(f"no endpoint serves the recorded model {recorded!r}", field="endpoints", allowed=allowed)
        return MODEL

    def _wait_s(self) -> float:
        tool = self._workload.tool
        return 0.0 if tool is None else lognormal(tool, self._shapes)

    def draw(self) -> Drawn:
        """The next run."""
        if not self._order:
            count = len(self._runs)
            in_order = np.arange(count) if self._workload.in_order else self._shapes.permutation(count)
            self._order = in_order[::-1].tolist()
        return drawn_again(self._runs[self._order.pop()], self._ideal, self._fitting)

    def all(self) -> Iterator[Drawn]:
        """Every run of the trace once."""
        return (drawn_again(run, self._ideal, self._fitting) for run in self._runs)


def draw_runs(
    scenario: Scenario,
    seed: int,
    *,
    load: float | None,
    duration_s: float,
    clients: int,
    mean_ideals_s: Mapping[str, float],
) -> list[RunPlan]:
    """Draw every run of one simulation.

    Args:
        scenario: what is drawn from.
        seed: the same seed gives the same runs; another load changes their arrivals only.
        load: runs per second; None: the scenario's own (for recorded arrivals: as recorded).
        duration_s: for how long runs arrive.
        clients: client processes that share them at random.
        mean_ideals_s: mean ideal of each workflow, for deadlines that are the same for all its runs.

    Raises:
        ConfigError: a trace cannot be read, or more runs are asked for than a machine has room for.
    """
    times = _times(scenario, seed, load, duration_s)
    drawer: _Drawer = WorkflowDrawer(scenario, seed) if scenario.workload is None else _TraceDrawer(scenario, seed)
    deadlines = stream(seed, Stream.DEADLINES)
    homes = stream(seed, Stream.CLIENTS).integers(0, clients, len(times))
    runs: list[RunPlan] = []
    for index, at in enumerate(times):
        drawn = drawer.draw()
        deadline_s = _deadline_s(scenario.deadlines, drawn, mean_ideals_s, deadlines)
        runs.append(drawn.plan(index=index, client=int(homes[index]), arrival_s=at, deadline_s=deadline_s))
    return runs


def mean_load(scenario: Scenario, load: float | None, duration_s: float) -> float:
    """Runs per second: those asked for, else the scenario's own; where arrivals are recorded, those that came.

    Raises:
        ConfigError: a trace cannot be read.
    """
    if load is not None:
        return load
    workload = scenario.workload
    recorded: Sequence[float] | None = scenario.arrivals.times
    if workload is not None and workload.arrivals is not None:
        recorded = trace_arrivals(workload.arrivals)
    if recorded is None:
        return scenario.load
    return len(scaled_times(recorded, None, duration_s)) / duration_s


def _times(scenario: Scenario, seed: int, load: float | None, duration_s: float) -> list[float]:
    workload = scenario.workload
    if workload is not None and workload.arrivals is not None:
        return scaled_times(trace_arrivals(workload.arrivals), load, duration_s)
    if load is None and scenario.arrivals.kind != "recorded":
        load = scenario.load
    if load is not None and load * duration_s > _MOST_RUNS:
        raise ConfigError(
            f"{load:g} runs per second for {duration_s:g} s are too many",
            field="duration",
            allowed=f"up to {_MOST_RUNS:,} runs",
        )
    return arrival_times(scenario.arrivals, load, duration_s, stream(seed, Stream.ARRIVALS))


def _deadline_s(
    rule: Deadlines | None, drawn: Drawn, mean_ideals_s: Mapping[str, float], rng: np.random.Generator
) -> float | None:
    if rule is None:
        return drawn.recorded_deadline_s
    times = rule.multiples[Mix([one.share for one in rule.multiples]).draw(rng)].times
    ideal_s = drawn.ideal_s if rule.of == "run" else mean_ideals_s[drawn.workflow]
    return times * ideal_s + rule.plus


# -- what can be known beforehand ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """Runs of one workflow, and the workflow's share of all runs, relative to the others'."""

    workflow: str
    share: float
    runs: tuple[Drawn, ...]


def sampled(scenario: Scenario, seed: int, count: int) -> list[Sample]:
    """Runs to know the scenario's averages by: ``count`` drawn of each workflow, or all of a trace.

    Raises:
        ConfigError: the trace cannot be read.
    """
    if scenario.workload is None:
        drawer = WorkflowDrawer(scenario, seed)
        return [
            Sample(one.name, one.share, tuple(drawer.draw_one_of(one) for _ in range(count)))
            for one in scenario.workflows
        ]
    by_workflow: dict[str, list[Drawn]] = defaultdict(list)
    for run in _TraceDrawer(scenario, seed).all():
        by_workflow[run.workflow].append(run)
    return [Sample(name, float(len(runs)), tuple(runs)) for name, runs in by_workflow.items()]


def step_outputs(scenario: Scenario) -> dict[StepKey, Lognormal]:
    """The distribution of the output length of each step: as the scenario says, or fitted to its trace.

    Raises:
        ConfigError: the trace cannot be read.
    """
    if scenario.workload is None:
        return {(one.name, stage.step): stage.output for one in scenario.workflows for stage in one.stages}
    logs: dict[StepKey, list[float]] = defaultdict(list)
    for run in trace_recording(scenario.workload.trace).runs:
        for call in run.calls:
            logs[run.workflow, call.step].append(float(np.log(call.output_tokens)))
    return {
        key: Lognormal(median=float(np.exp(np.mean(some))), sigma=float(np.std(some))) for key, some in logs.items()
    }
