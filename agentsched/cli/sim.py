"""``agentsched sim``: simulate scenarios with the scheduler that runs live."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from agentsched.cli.output import headed, json_option, people, print_json
from agentsched.cli.sim_agree import agreement
from agentsched.cli.sim_arguments import (
    duration_option,
    jobs_option,
    knowledge_option,
    loads_of,
    policy_choice,
    seeds_of,
    writable,
)
from agentsched.cli.sim_capacity import capacity
from agentsched.cli.sim_forecasts import forecasts
from agentsched.cli.sim_frontier import frontier
from agentsched.cli.sim_paper import paper
from agentsched.cli.sim_running import Timed, simulate_all
from agentsched.cli.sim_tables import number, percent, plain_table, plots
from agentsched.cli.sim_tune import ablate, tune
from agentsched.core.duration import parse_duration
from agentsched.core.rules import Rules
from agentsched.errors import ConfigError
from agentsched.policy.table import POLICIES
from agentsched.sim.comparison import CaseResult, Comparison, compare
from agentsched.sim.grid import Task, tasks_of
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.outcome import RunResult
from agentsched.sim.scenario_files import load_scenario, shipped_scenarios
from agentsched.sim.sharing import Sharing
from agentsched.sim.simulation import FIRST_CHOICE_ONLY, MOST_CLIENTS, Setup
from agentsched.sim.tuning import SHIPPED, read_tuned

__all__ = ["command"]

_RESULTS = "results.json"


@click.group("sim")
def command() -> None:
    """Simulate pools and workloads on virtual time, with the scheduler that runs live."""


for _other in (tune, ablate, capacity, forecasts, frontier, paper, agreement):
    command.add_command(_other)


@command.command("list")
@json_option
def list_scenarios(as_json: bool) -> None:
    """List the scenarios that are shipped, and the policies."""
    scenarios = [load_scenario(name) for name in shipped_scenarios()]
    if as_json:
        found = [{"name": one.name, "about": one.about, "load": one.load, "endpoints": _size(one)} for one in scenarios]
        print_json({"scenarios": found, "policies": sorted(POLICIES)})
        return
    console = people(pipe_width=120)
    table = plain_table(("scenario", "endpoints", "runs/s", "about"))
    for one in scenarios:
        table.add_row(one.name, str(_size(one)), f"{one.load:g}", one.about)
    console.print(table)
    console.print(f"policies: {', '.join(sorted(POLICIES))}")


def _size(scenario: Any) -> int:
    return sum(group.count for group in scenario.endpoints)


@command.command("run")
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO...")
@click.option("--policy", "policies", multiple=True, metavar="NAME[:OPTION=VALUE,...]", help="Repeat it to compare.")
@click.option(
    "--tuned", flag_value=SHIPPED, type=click.Path(path_type=Path), help="Use the settings that a search found."
)
@click.option(
    "--tuned-file",
    "tuned",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The same, from a file that `agentsched sim tune --out` wrote.",
)
@click.option("--load", "loads", help="Runs per second, e.g. 1,2,3; the scenario's own when left out.")
@click.option("--seeds", default="1-3", show_default=True, help="E.g. 1-5 or 1,4,7-9.")
@click.option(
    "--clients",
    default=1,
    show_default=True,
    type=click.IntRange(1, MOST_CLIENTS),
    help="Client processes, each with a scheduler of its own.",
)
@click.option(
    "--share",
    default=Sharing.NONE.value,
    show_default=True,
    type=click.Choice([one.value for one in Sharing]),
    help="What client processes know of each other.",
)
@click.option("--share-every", default="0.5s", show_default=True, help="How often they tell or read it.")
@click.option("--share-delay", default="50ms", show_default=True, help="How old it is when they hear it.")
@knowledge_option
@click.option(
    "--rests",
    type=click.Choice([one.value for one in Knowledge]),
    help="Where those of what follows a call come from; as --knowledge says when left out.",
)
@click.option(
    "--rectify/--no-rectify",
    default=True,
    show_default=True,
    help="Whether calls are retried, hedged and moved after the first choice.",
)
@duration_option
@jobs_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write results, runs and plots there.")
@json_option
def run(
    scenarios: tuple[str, ...],
    policies: tuple[str, ...],
    tuned: Path | None,
    loads: str | None,
    seeds: str,
    clients: int,
    share: str,
    share_every: str,
    share_delay: str,
    knowledge: str,
    rests: str | None,
    rectify: bool,
    duration_s: float | None,
    jobs: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Simulate scenarios with several policies on the same runs, and compare what they reach.

    SCENARIO is a YAML file or the name of a shipped one (`agentsched sim list`). Every policy meets the same runs, with
    the same lengths, and the same faults. Differences are taken seed by seed to the first policy.
    """
    draw = None if out is None else plots().draw
    chosen = [policy_choice(text) for text in policies or sorted(POLICIES)]
    if tuned is not None:
        chosen = [read_tuned(tuned, one) for one in chosen]
    tasks = tasks_of(
        [load_scenario(scenario) for scenario in scenarios],
        chosen,
        [
            Setup(
                seed=seed,
                load=load,
                clients=clients,
                share=Sharing(share),
                share_every_s=parse_duration(share_every, field="--share-every"),
                share_delay_s=parse_duration(share_delay, field="--share-delay", zero=True),
                knowledge=Knowledge(knowledge),
                rests=None if rests is None else Knowledge(rests),
                rules=Rules() if rectify else FIRST_CHOICE_ONLY,
                duration_s=duration_s,
            )
            for load in loads_of(loads)
            for seed in seeds_of(seeds)
        ],
    )
    _check_cases(tasks)
    if out is not None:
        _make(out)
    done = simulate_all(tasks, jobs)
    comparison = compare([(task, one.outcome) for task, one in done], tasks)
    document = _document(comparison, tasks, done)
    if out is not None and draw is not None:
        _write(out, document, done)
        draw(comparison, out)
    if as_json:
        print_json(document)
    else:
        _show(comparison, people(pipe_width=150))


def _check_cases(tasks: Sequence[Task]) -> None:
    """Two different things under one name would be averaged."""
    seen: set[object] = set()
    for task in tasks:
        key = (task.case, task.setup.seed)
        if key in seen:
            given = f"{task.scenario.name} with {task.policy.label}"
            allowed = "each scenario, which is known by its `name:`, with each policy and load once"
            raise ConfigError("asked for twice", field="sim run", given=given, allowed=allowed)
        seen.add(key)


# -- results ---------------------------------------------------------------------------------------------------------


def _document(comparison: Comparison, tasks: Sequence[Task], done: Sequence[tuple[Task, Timed]]) -> dict[str, Any]:
    setup = tasks[0].setup
    calls, cpu_s = sum(one.outcome.calls for _, one in done), sum(one.cpu_s for _, one in done)
    digests = [
        {
            "scenario": task.scenario.name,
            "policy": task.policy.label,
            "load": task.load,
            "seed": task.setup.seed,
            "digest": one.outcome.digest(),
        }
        for task, one in sorted(done, key=lambda pair: tasks.index(pair[0]))
    ]
    return {
        "version": 1,
        "clients": setup.clients,
        "share": setup.share.value,
        "knowledge": setup.knowledge.value,
        "rests": (setup.rests or setup.knowledge).value,
        "rectify": setup.rules != FIRST_CHOICE_ONLY,
        "duration_s": setup.duration_s,
        **comparison.to_dict(),
        "runs": digests,
        "calls_per_cpu_s": calls / cpu_s if cpu_s > 0 else None,
    }


def _make(folder: Path) -> None:
    """Before the simulations, which may take hours."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}", field="--out", given=str(folder)) from error
    writable(folder / _RESULTS, "--out")


def _write(folder: Path, document: dict[str, Any], done: Sequence[tuple[Task, Timed]]) -> None:
    try:
        text = json.dumps(document, indent=2, allow_nan=False)
        (folder / _RESULTS).write_text(text + "\n", encoding="utf-8")
        with (folder / "runs.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(_rows(done))
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}", field="--out", given=str(folder)) from error


def _rows(done: Iterable[tuple[Task, Timed]]) -> Iterator[list[object]]:
    names = [field.name for field in fields(RunResult)]
    yield ["scenario", "policy", "load", "seed", *names]
    for task, timed in done:
        key = [task.scenario.name, task.policy.label, task.load, task.setup.seed]
        for result in timed.outcome.runs:
            yield [*key, *(getattr(result, name) for name in names)]


def _show(comparison: Comparison, console: Console) -> None:
    for scenario in dict.fromkeys(result.case.scenario for result in comparison.results):
        results = [result for result in comparison.results if result.case.scenario == scenario]
        seeds = len(results[0].seeds)
        gain = f"; gain: on {comparison.against}, on the same runs" if len(comparison.gains) else ""
        told = f", {seeds} seed{'s' * (seeds > 1)}, 95 % intervals over seeds{gain}"
        console.print(headed(scenario, told))
        console.print(_main_table(comparison, results))
        console.print()
        console.print(_workflow_table(results))
        console.print()


def _main_table(comparison: Comparison, results: Sequence[CaseResult]) -> Table:
    head = ("policy", "runs/s", "met deadline", "gain", "goodput/s", "P50 s", "P95 s")
    table = plain_table((*head, "P95/deadline", "USD/run", "failed"))
    for one in results:
        gain = comparison.gains.get(one.case)
        table.add_row(
            one.case.policy,
            f"{one.load:g}",
            percent(one.attainment),
            "" if gain is None else percent(gain, sign=True),
            number(one.goodput),
            number(one.latency_p50_s),
            number(one.latency_p95_s),
            "" if one.lateness_p95 is None else number(one.lateness_p95),
            f"{one.cost_usd.mean:.3g}",
            str(one.outcomes.get("error", 0)),
        )
    return table


def _workflow_table(results: Sequence[CaseResult]) -> Table:
    names = list(dict.fromkeys(name for result in results for name in result.by_workflow))
    table = plain_table(("met deadline", "runs/s", *names))
    for one in results:
        shares = [percent(one.by_workflow[name]) if name in one.by_workflow else "" for name in names]
        table.add_row(one.case.policy, f"{one.load:g}", *shares)
    return table
