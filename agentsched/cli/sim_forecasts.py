"""``agentsched sim forecasts``: what learned forecasts of lengths reach of what true lengths would."""

from collections.abc import Sequence
from dataclasses import asdict

import click

from agentsched.cli.output import headed, json_option, people, print_json
from agentsched.cli.sim_arguments import KNEES, duration_option, jobs_option, load_of, policy_choice, seeds_of
from agentsched.cli.sim_running import simulate_all
from agentsched.cli.sim_tables import number, percent, plain_table
from agentsched.errors import ConfigError
from agentsched.sim.comparison import compare
from agentsched.sim.foresight import ARMS, Foresight, foresight_tasks, foresights
from agentsched.sim.scenario_files import load_scenario

__all__ = ["forecasts"]


@click.command("forecasts")
@click.argument("names", nargs=-1, metavar="[SCENARIO]...")
@click.option("--policy", default="deadline_aware", show_default=True, metavar="NAME[:OPTION=VALUE,...]")
@click.option("--load", help="Runs per second; the scenario's own when left out.")
@click.option("--seeds", default="11-20", show_default=True, help="E.g. 1-5 or 1,4,7-9.")
@duration_option
@jobs_option
@json_option
def forecasts(
    names: tuple[str, ...],
    policy: str,
    load: str | None,
    seeds: str,
    duration_s: float | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Tell which share of the goodput with true lengths a policy keeps with the lengths that are learned live.

    Learning begins with nothing; what follows a call is learned in every arm. SCENARIO is as for `agentsched sim run`;
    s1 to s4 by default.
    """
    choice = policy_choice(policy)
    tasks = foresight_tasks(
        [load_scenario(name) for name in names or KNEES],
        choice,
        seeds_of(seeds),
        load=load_of(load),
        duration_s=duration_s,
    )
    comparison = compare([(task, one.outcome) for task, one in simulate_all(tasks, jobs)], tasks)
    try:
        found = foresights(comparison)
    except ValueError as error:
        raise ConfigError(str(error), field="sim forecasts", allowed="less load, or a longer duration") from error
    if as_json:
        shown = [asdict(one) for one in found]
        print_json({"version": 1, "policy": choice.label, "scenarios": shown, **comparison.to_dict()})
    else:
        _show(found, choice.label, len(comparison.results[0].seeds))


def _show(found: Sequence[Foresight], policy: str, seeds: int) -> None:
    console = people(pipe_width=150)
    told = f": goodput (runs/s), {seeds} seed{'s' * (seeds > 1)}, 95 % intervals over seeds"
    console.print(headed(policy, told))
    table = plain_table(("scenario", *ARMS))
    for one in found:
        table.add_row(one.scenario, *(number(one.goodput[arm]) for arm in ARMS))
    console.print(table)
    console.print("\nlearned forecasts, on the same runs: share of the goodput with true lengths; deadlines met beyond")
    table = plain_table(("scenario", "of true lengths", "one length, with its spread", "one length, as certain"))
    for one in found:
        gains = (one.over_one_length, one.over_point)
        table.add_row(one.scenario, percent(one.share), *(percent(gain, sign=True) for gain in gains))
    console.print(table)
