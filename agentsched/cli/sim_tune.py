"""``agentsched sim tune`` and ``ablate``: the best settings of a policy, and what each of its parts is worth."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from agentsched.cli.output import headed, json_option, people, print_json, progress
from agentsched.cli.sim_arguments import KNEES, duration_option, jobs_option, load_of, policy_choice, seeds_of
from agentsched.cli.sim_running import simulate_all
from agentsched.cli.sim_tables import percent, plain_table
from agentsched.errors import ConfigError
from agentsched.policy.studies import ABLATIONS
from agentsched.policy.table import POLICIES
from agentsched.sim.comparison import Comparison, compare
from agentsched.sim.grid import PolicyChoice, Task
from agentsched.sim.intervals import Estimate, estimate
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.outcome import Outcome
from agentsched.sim.scenario import Scenario
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.simulation import Setup
from agentsched.sim.tuning import ROUNDS, TUNING_SEEDS, Tuned, search_space, write_tuned
from agentsched.sim.tuning import tune as tune_policy

__all__ = ["ablate", "tune"]


# -- tuning ----------------------------------------------------------------------------------------------------------


@click.command("tune")
@click.argument("policies", nargs=-1, metavar="[NAME[:OPTION=VALUE,...]]...")
@click.option("--scenario", "names", multiple=True, default=KNEES, show_default=True, help="Repeat it for several.")
@duration_option
@jobs_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Put what was found into this YAML file.")
@json_option
def tune(
    policies: tuple[str, ...],
    names: tuple[str, ...],
    duration_s: float | None,
    jobs: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Search the settings with which each policy meets most deadlines, at the loads of the scenarios.

    By default every policy that has something to tune; options that are given are kept. Each gets the same search: its
    defaults and 39 settings from a Latin hypercube see one seed, the best 12 of them two more, the best 4 another two.
    The tuning seeds, 101 to 105, should be used for nothing else.
    """
    chosen = [policy_choice(text) for text in policies or _tunable()]
    for one in chosen:
        search_space(one)
    scenarios = [load_scenario(name) for name in names]
    setup = Setup(duration_s=duration_s)
    told = " ".join(
        [f"--scenario {name}" for name in names] + ([] if duration_s is None else [f"--duration {duration_s:g}s"])
    )
    if out is not None:
        write_tuned(out, [])  # a file that cannot be written is told of now, not after the search
    found: list[Tuned] = []
    for one in chosen:
        progress().print(f"tuning {one.label}: {len(ROUNDS)} rounds, {len(TUNING_SEEDS)} seeds at most")
        found.append(tune_policy(one, scenarios, setup, lambda tasks: _outcomes(tasks, jobs)))
        if out is not None:
            write_tuned(out, found[-1:], told)
    if as_json:
        print_json({"version": 1, "scenarios": list(names), "policies": [_found(one) for one in found]})
        return
    table = plain_table(("policy", "met deadline", "by default", "settings"))
    for best in found:
        settings = ", ".join(f"{key}={value}" for key, value in best.options.items()) or "the defaults"
        table.add_row(best.policy.label, f"{100 * best.attainment:.1f} %", f"{100 * best.default:.1f} %", settings)
    people(pipe_width=150).print(table)


def _tunable() -> list[str]:
    return sorted(name for name, made in POLICIES.items() if getattr(made, "space", {}))


def _outcomes(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Outcome]]:
    return ((task, one.outcome) for task, one in simulate_all(tasks, jobs))


def _found(one: Tuned) -> dict[str, Any]:
    return {
        "policy": one.policy.label,
        "options": dict(one.options),
        "attainment": one.attainment,
        "default": one.default,
        "tried": one.tried,
    }


# -- ablation --------------------------------------------------------------------------------------------------------

_KNOWLEDGE = {
    "one constant length, with its spread": Knowledge.CONSTANT,
    "one constant length, as certain": Knowledge.POINT,
    "nothing known at first": Knowledge.LEARNED,
    "true lengths and remainders": Knowledge.ORACLE,
}
"""Ablations of what is known, beside those of the rule."""


@click.command("ablate")
@click.argument("names", nargs=-1, metavar="[SCENARIO]...")
@click.option("--policy", default="deadline_aware", show_default=True, metavar="NAME[:OPTION=VALUE,...]")
@click.option("--load", help="Runs per second; the scenario's own when left out.")
@click.option("--seeds", default="11-15", show_default=True, help="E.g. 1-5 or 1,4,7-9.")
@duration_option
@jobs_option
@json_option
def ablate(
    names: tuple[str, ...],
    policy: str,
    load: str | None,
    seeds: str,
    duration_s: float | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Switch off each part of a policy, or of what it knows, and tell how many points that costs on the same runs.

    SCENARIO is as for `agentsched sim run`; s1 to s4 by default.
    """
    whole = policy_choice(policy)
    if whole.name not in ABLATIONS:
        allowed = ", ".join(sorted(ABLATIONS))
        raise ConfigError("has no part that can be switched off", field="--policy", given=whole.name, allowed=allowed)
    scenarios = [load_scenario(name) for name in names or KNEES]
    only_load = load_of(load)
    tasks = [
        Task(scenario, choice, Setup(seed=seed, load=only_load, duration_s=duration_s, knowledge=knowledge))
        for scenario in scenarios
        for seed in seeds_of(seeds)
        for choice, knowledge in _variants(whole)
    ]
    comparison = compare([(task, one.outcome) for task, one in simulate_all(tasks, jobs)], tasks)
    lost = _lost(comparison, scenarios)
    if as_json:
        shown = {switch: {name: asdict(one) for name, one in row.items()} for switch, row in lost.items()}
        print_json({"version": 1, "policy": whole.label, "lost": shown, **comparison.to_dict()})
    else:
        _show_lost(comparison, scenarios, lost)


def _variants(whole: PolicyChoice) -> Iterator[tuple[PolicyChoice, Knowledge]]:
    yield whole, Knowledge.STUDY
    for switch, changed in ABLATIONS[whole.name].items():
        options = {**dict(whole.options), **changed}
        yield PolicyChoice(whole.name, tuple(options.items()), shown=switch), Knowledge.STUDY
    for switch, knowledge in _KNOWLEDGE.items():
        yield PolicyChoice(whole.name, whole.options, shown=switch), knowledge


def _lost(comparison: Comparison, scenarios: Sequence[Scenario]) -> dict[str, dict[str, Estimate]]:
    """Switch -> scenario -> share of runs lost, paired; ``mean``: over scenarios, one value per seed."""
    by_case = {(one.case.policy, one.case.scenario): one.by_seed for one in comparison.results}
    switches = [one for one in dict.fromkeys(policy for policy, _ in by_case) if one != comparison.against]
    lost: dict[str, dict[str, Estimate]] = {}
    for switch in switches:
        pairs = [(by_case[comparison.against, s.name], by_case[switch, s.name]) for s in scenarios]
        rows = [[before - after for before, after in zip(*pair, strict=True)] for pair in pairs]
        lost[switch] = {s.name: estimate(row) for s, row in zip(scenarios, rows, strict=True)}
        lost[switch]["mean"] = estimate([sum(column) / len(rows) for column in zip(*rows, strict=True)])
    return lost


def _show_lost(comparison: Comparison, scenarios: Sequence[Scenario], lost: dict[str, dict[str, Estimate]]) -> None:
    console = people(pipe_width=150)
    seeds = len(comparison.results[0].seeds)
    told = f": share of runs lost, paired over {seeds} seeds, 95 % intervals"
    console.print(headed(comparison.against, told))
    names = [scenario.name for scenario in scenarios]
    table = plain_table(("without", *names, "mean"))
    whole = {one.case.scenario: one.attainment for one in comparison.results if one.case.policy == comparison.against}
    table.add_row("nothing (met deadline)", *(percent(whole[name]) for name in names), "")
    for switch, row in sorted(lost.items(), key=lambda item: -item[1]["mean"].mean):
        table.add_row(switch, *(percent(row[name], sign=True) for name in (*names, "mean")))
    console.print(table)
