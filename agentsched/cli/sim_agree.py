"""``agentsched sim agree``: the same runs simulated and in real time, and how far apart they end."""

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agentsched.bench.agreement import (
    ATTAINMENT_POINTS,
    MOST_STARVED,
    P95_SHARE,
    Agreement,
    agree,
    number_of_runs,
    prepared,
    stretch_for,
)
from agentsched.bench.machine import machine_description
from agentsched.cli.output import headed, json_option, people, print_json, progress
from agentsched.cli.sim_arguments import policy_choice, seeds_of
from agentsched.cli.sim_tables import plain_table
from agentsched.sim.replay.figures import Figures
from agentsched.sim.scenario import Scenario
from agentsched.sim.scenario_files import load_scenario

__all__ = ["agreement"]


@click.command("agree")
@click.argument("scenario", metavar="SCENARIO")
@click.option("--policy", "policies", multiple=True, default=["weighted_least_outstanding"], show_default=True)
@click.option(
    "--runs", default=40, show_default=True, type=click.IntRange(1), help="About so many that count, per seed."
)
@click.option("--seeds", default="1", show_default=True, help="E.g. 1-5; one after another.")
@click.option("--load", type=click.FloatRange(0, min_open=True), help="Runs per second before stretching.")
@click.option(
    "--stretch",
    type=click.FloatRange(0, min_open=True),
    help="Make everything so many times slower; by default so that no stream is faster than 30 ms per token.",
)
@json_option
def agreement(
    scenario: str,
    policies: tuple[str, ...],
    runs: int,
    seeds: str,
    load: float | None,
    stretch: float | None,
    as_json: bool,
) -> None:
    """Make the same runs on virtual time and, over HTTP, in real time at emulated endpoints, and compare.

    It takes as long as the runs take. Exit status 1: they differ by more than 3 points of attainment or 10 % of P95.
    Where other work on the machine held up the live side, it says so: then make them again on a quieter one.
    """
    chosen = [policy_choice(text) for text in policies]
    asked = load_scenario(scenario)
    factor = stretch_for(asked) if stretch is None else stretch
    made = prepared(asked, stretch=factor, runs=runs, load=load)
    found: list[Agreement] = []
    columns = (
        TextColumn("live runs"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=progress(), transient=True) as bar:
        shown = bar.add_task("", total=len(chosen) * number_of_runs(made, seeds_of(seeds)))
        for policy in chosen:
            bar.update(shown, description=policy.label)
            found.append(agree(made, policy, seeds_of(seeds), ended=lambda: bar.advance(shown)))
    if as_json:
        print_json(_document(made, factor, found))
    else:
        _show(made, factor, found, people(pipe_width=120))
    if not all(one.within for one in found):
        raise click.exceptions.Exit(1)


def _document(scenario: Scenario, factor: float, found: list[Agreement]) -> dict[str, object]:
    return {
        "version": 1,
        "scenario": scenario.name,
        "load": scenario.load * factor,
        "stretch": factor,
        "machine": machine_description(),
        "bars": {"attainment_points": ATTAINMENT_POINTS, "p95_share": P95_SHARE, "starved_share": MOST_STARVED},
        "policies": [one.to_dict() for one in found],
    }


def _show(scenario: Scenario, factor: float, found: list[Agreement], console: Console) -> None:
    console.print(headed(scenario.name, f", {scenario.load * factor:g} runs/s, {factor:.3g} times slower"))
    table = plain_table(("", "runs", "met deadline", "P50 s", "P95 s", "same verdict", "late p99 ms"))
    for one in found:
        points, share, same = one.attainment_points, one.p95_share, one.same_verdict
        late = f"{1000 * one.pacing_p99_s:.1f} tokens, {1000 * one.lag_p99_s:.1f} loop"
        table.add_row(f"{one.policy}, live", str(one.runs), *_cells(one.live), _percent(same), late)
        table.add_row("  simulated", str(one.runs), *_cells(one.simulated), "", "")
        apart = "-" if points is None else f"{points:+.1f} points"
        table.add_row("  apart", "", apart, "", "-" if share is None else f"{100 * share:+.1f} %", "", "")
    console.print(table)
    verdict = "within" if all(one.within for one in found) else "not within"
    console.print(f"{verdict} {ATTAINMENT_POINTS:g} points and {100 * P95_SHARE:g} % of P95")
    starved = max(one.starved_share for one in found)
    if starved > MOST_STARVED:
        console.print(
            f"other work on this machine kept the live side from its cores for {100 * starved:.0f} % of the time "
            f"(at most {100 * MOST_STARVED:g} % prove anything): make it again on a quieter machine, or with --stretch"
        )


def _cells(one: Figures) -> tuple[str, str, str]:
    return _percent(one.attainment), _seconds(one.latency_p50_s), _seconds(one.latency_p95_s)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
