"""``agentsched sim frontier``: what quality, cost and latency a policy can be set to."""

from pathlib import Path
from typing import Any

import click

from agentsched.cli.output import json_option, people, print_json
from agentsched.cli.sim_arguments import (
    duration_option,
    jobs_option,
    load_of,
    loads_of,
    policy_choice,
    seeds_of,
    writable,
)
from agentsched.cli.sim_running import simulate_all
from agentsched.cli.sim_tables import number, percent, plain_table, plots
from agentsched.policy.studies import SWEEPS
from agentsched.sim.comparison import compare
from agentsched.sim.frontier import Point, swept, with_floor
from agentsched.sim.frontier import frontier as frontier_of
from agentsched.sim.grid import tasks_of
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.simulation import Setup

__all__ = ["frontier"]


@click.command("frontier")
@click.argument("scenario")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME[:OPTION=VALUE,...]",
    help=f"Repeat it to compare; swept where it has weights and none is given ({', '.join(sorted(SWEEPS))}).",
)
@click.option("--min-quality", "floors", help="Also with these floors under the quality of a call, e.g. 0.36,0.4.")
@click.option("--load", help="Runs per second; the scenario's own when left out.")
@click.option("--seeds", default="1-3", show_default=True, help="E.g. 1-5 or 1,4,7-9.")
@duration_option
@jobs_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the picture there, as PNG.")
@json_option
def frontier(
    scenario: str,
    policies: tuple[str, ...],
    floors: str | None,
    load: str | None,
    seeds: str,
    duration_s: float | None,
    jobs: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Sweep the weights of policies, and floors under the quality, and tell which settings are worth having.

    A setting lies on the frontier if no other is as good in quality, cost and P95 latency and better in one of them.
    The quality of a run is the mean declared quality of the endpoints that answered its calls.
    """
    draw = None if out is None else plots("frontier_plot").draw_frontier
    base = load_scenario(scenario)
    scenarios = [base, *(with_floor(base, floor) for floor in loads_of(floors, "--min-quality") if floor is not None)]
    choices = [one for text in policies or sorted(SWEEPS) for one in swept(policy_choice(text))]
    only_load = load_of(load)
    tasks = tasks_of(
        scenarios,
        list(dict.fromkeys(choices)),
        [Setup(seed=seed, load=only_load, duration_s=duration_s) for seed in seeds_of(seeds)],
    )
    writable(out, "--out")
    done = simulate_all(tasks, jobs)
    points = frontier_of(compare([(task, one.outcome) for task, one in done], tasks).results)
    if draw is not None:
        draw(points, out)
    if as_json:
        print_json({"version": 1, "scenario": base.name, "points": [_document(point) for point in points]})
    else:
        _show(points)


def _document(point: Point) -> dict[str, Any]:
    return {**point.result.to_dict(), "on_frontier": point.on_frontier}


def _show(points: list[Point]) -> None:
    head = ("policy", "scenario", "quality", "USD/run", "P50 s", "P95 s", "met deadline", "frontier")
    table = plain_table(head)
    for point in sorted(points, key=lambda point: point.result.cost_usd.mean):
        one = point.result
        table.add_row(
            one.case.policy,
            one.case.scenario,
            "" if one.quality is None else number(one.quality),
            number(one.cost_usd),
            number(one.latency_p50_s),
            number(one.latency_p95_s),
            percent(one.attainment),
            "yes" if point.on_frontier else "",
        )
    people(pipe_width=170).print(table)
