"""``agentsched sim capacity``: how much load a pool carries."""

from dataclasses import replace
from typing import Any

import click

from agentsched.cli.output import json_option, people, print_json
from agentsched.cli.sim_arguments import (
    duration_option,
    jobs_option,
    knowledge_option,
    load_of,
    policy_choice,
    seeds_of,
)
from agentsched.cli.sim_running import simulate_all
from agentsched.cli.sim_tables import percent, plain_table
from agentsched.errors import ConfigError
from agentsched.sim.capacity import Capacity
from agentsched.sim.comparison import CaseResult, NoRuns, compare
from agentsched.sim.grid import PolicyChoice, Task
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.scenario import Scenario
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.simulation import Setup
from agentsched.sim.traces.drawing import trace_recording

__all__ = ["capacity"]

Searches = dict[tuple[str, str], Capacity]
"""Scenario's name and policy's label -> its search."""


@click.command("capacity")
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO...")
@click.option("--policy", "policies", multiple=True, metavar="NAME[:OPTION=VALUE,...]", help="Repeat it to compare.")
@click.option(
    "--attainment",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="The share of runs that shall meet their deadline.",
)
@click.option(
    "--precision",
    default=0.03,
    show_default=True,
    type=click.FloatRange(0.001, 1),
    help="How close the load that is carried and the one that is not shall come, as a share.",
)
@click.option("--from", "first", help="Runs per second to begin with; the scenario's own when left out.")
@click.option("--seeds", default="1-3", show_default=True, help="E.g. 1-5 or 1,4,7-9.")
@knowledge_option
@duration_option
@jobs_option
@json_option
def capacity(
    scenarios: tuple[str, ...],
    policies: tuple[str, ...],
    attainment: float,
    precision: float,
    first: str | None,
    seeds: str,
    knowledge: str,
    duration_s: float | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Find the most runs per second of which a wanted share still meets its deadline.

    All policies meet the same seeds. A load counts as carried if the mean over the seeds reaches the share.
    """
    loaded = [load_scenario(scenario) for scenario in scenarios]
    without = [scenario.name for scenario in loaded if not _has_deadlines(scenario)]
    if without:
        raise ConfigError("has no deadlines that could be met", field="SCENARIO", given=without[0])
    choices = [policy_choice(text) for text in policies or ("deadline_aware",)]
    start = load_of(first, "--from")
    setups = [
        Setup(
            seed=seed,
            load=start,
            knowledge=Knowledge(knowledge),
            duration_s=duration_s,
        )
        for seed in seeds_of(seeds)
    ]
    searches: Searches = {
        (scenario.name, choice.label): Capacity(scenario.load if start is None else start, attainment, precision)
        for scenario in loaded
        for choice in choices
    }
    if len(searches) < len(loaded) * len(choices):
        allowed = "each scenario, which is known by its `name:`, with each policy once"
        raise ConfigError("asked for twice", field="sim capacity", allowed=allowed)
    _search(searches, loaded, choices, setups, jobs)
    document = {"version": 1, "at_least": attainment, "precision": precision, "results": _rows(searches)}
    if as_json:
        print_json(document)
    else:
        _show(searches)


def _has_deadlines(scenario: Scenario) -> bool:
    """Its own, or those that its recorded runs had."""
    if scenario.deadlines is not None or scenario.workload is None:
        return scenario.deadlines is not None
    return any(run.deadline_s is not None for run in trace_recording(scenario.workload.trace).runs)


def _search(
    searches: Searches, scenarios: list[Scenario], choices: list[PolicyChoice], setups: list[Setup], jobs: int
) -> None:
    """Every search tries its next load with all seeds, together with the others, until the last one is over."""
    while True:
        tasks = [
            Task(scenario, choice, replace(setup, load=load))
            for scenario in scenarios
            for choice in choices
            for load in (searches[scenario.name, choice.label].next_load,)
            if load is not None
            for setup in setups
        ]
        if not tasks:
            return
        done = [(task, timed.outcome) for task, timed in simulate_all(tasks, jobs)]
        for case in dict.fromkeys(task.case for task in tasks):
            own = [task for task in tasks if task.case == case]
            search = searches[case.scenario, case.policy]
            try:
                (result,) = compare([pair for pair in done if pair[0].case == case], own).results
            except NoRuns:  # a load so low that none came: lower ones tell nothing, if a higher one was too much
                if search.too_much is None:
                    raise
                search.end()
            else:
                search.tell(result)


def _rows(searches: Searches) -> list[dict[str, Any]]:
    """One row a search; ``ratio``: to the scenario's first policy."""
    firsts: dict[str, float | None] = {}
    for (scenario, _), found in searches.items():
        firsts.setdefault(scenario, found.load)
    return [
        {
            "scenario": scenario,
            "policy": policy,
            "load": found.load,
            "ratio": found.load / base if found.load is not None and (base := firsts[scenario]) else None,
            "carried": None if found.carried is None else found.carried.to_dict(),
            "too_much": None if found.too_much is None else found.too_much.to_dict(),
        }
        for (scenario, policy), found in searches.items()
    ]


def _show(searches: Searches) -> None:
    table = plain_table(("scenario", "policy", "runs/s", "met deadline", "ratio", "too much", "met deadline"))
    for row, found in zip(_rows(searches), searches.values(), strict=True):
        table.add_row(
            row["scenario"],
            row["policy"],
            *(_end(found.carried) if found.carried is not None else ("none", "")),
            "" if row["ratio"] is None else f"{row['ratio']:.2f}",
            *(_end(found.too_much) if found.too_much is not None else ("none", "")),
        )
    people(pipe_width=150).print(table)


def _end(result: CaseResult) -> tuple[str, str]:
    return f"{result.load:g}", percent(result.attainment)
