"""``agentsched replay LOG...``: would it have met its deadlines on that pool?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from agentsched.cli.decision_logs import decision_logs
from agentsched.cli.output import json_option, people, print_json, progress
from agentsched.cli.sim_arguments import policy_choice, seeds_of
from agentsched.cli.sim_tables import plain_table
from agentsched.core.duration import parse_duration
from agentsched.errors import ConfigError
from agentsched.policy.table import make_policy
from agentsched.settings import Settings, load_settings
from agentsched.sim.grid import PolicyChoice
from agentsched.sim.replay.engines import latencies_of
from agentsched.sim.replay.figures import Ended, Figures, figures_of, recorded_ends, simulated_ends
from agentsched.sim.replay.replaying import Circumstances, Replay
from agentsched.sim.simulation import MOST_CLIENTS
from agentsched.sim.traces.reading import read_trace
from agentsched.sim.traces.recorded import Recording, recording_of
from agentsched.telemetry.reading import LogReading, distinct
from agentsched.telemetry.run_log import RunLog

__all__ = ["command"]

_SHOWN_PROBLEMS = 5


@click.command("replay")
@click.argument("logs", nargs=-1, type=click.Path())
@click.option("--pool", type=click.Path(path_type=Path), required=True, help="The configuration of that pool.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME[:OPTION=VALUE,...]",
    help="Repeat it to compare; by default the pool's.",
)
@click.option("--deadline", help="Give every run this deadline, e.g. 20s; by default each has its own.")
@click.option("--load", "--speed", "load", default=1.0, show_default=True, help="Runs come this many times as often.")
@click.option("--rate", type=float, help="Runs per second, Poisson, in place of the recorded arrivals.")
@click.option(
    "--on-late",
    type=click.Choice(["ignore", "raise"]),
    default="ignore",
    show_default=True,
    help="Let late runs go on, to see how late they would be, or cut them at their deadline.",
)
@click.option("--clients", default=1, show_default=True, type=click.IntRange(1, MOST_CLIENTS), help="Client processes.")
@click.option("--network", default="10ms", show_default=True, help="Each way to endpoints on named hardware.")
@click.option("--seeds", default="1", show_default=True, help="E.g. 1-5; of hosted latencies.")
@click.option("--workflow", help="Replay this workflow only.")
@json_option
def command(
    logs: tuple[str, ...],
    pool: Path,
    policies: tuple[str, ...],
    deadline: str | None,
    load: float,
    rate: float | None,
    on_late: str,
    clients: int,
    network: str,
    seeds: str,
    workflow: str | None,
    as_json: bool,
) -> None:
    """Make recorded runs again on another pool, on virtual time, with the scheduler that runs live.

    LOGS are decision logs or traces (CSV, JSON Lines, Parquet); by default the log that the configuration names. The
    pool is an ordinary configuration; nothing is sent to its endpoints.
    """
    how = Circumstances(
        load=load,
        rate=rate,
        deadline_s=None if deadline is None else parse_duration(deadline, field="--deadline"),
        cut_late=on_late == "raise",
        clients=clients,
        network_s=parse_duration(network, field="--network", zero=True),
    )
    settings = load_settings(pool)
    chosen = [policy_choice(text) for text in policies] or [_own_policy(settings)]
    sources = decision_logs(logs)
    reading = _read(sources, workflow)
    recording = recording_of(reading.runs, source=sources[0])
    attempts = [attempt for run in reading.runs for attempt in run.attempts]
    replay = Replay(recording, settings, latencies_of(attempts), how)
    recorded = recorded_ends(recording.runs, how.deadline_s)
    results = _replayed(replay, chosen, seeds_of(seeds))
    answer = _Answer(reading, recording, replay, recorded, results)
    if as_json:
        print_json(_document(answer, pool, how))
    else:
        _show(answer, people(pipe_width=120))
    for problem in reading.problems[:_SHOWN_PROBLEMS]:
        click.echo(f"skipped: {problem}", err=True)
    if reading.bad_lines > _SHOWN_PROBLEMS:
        click.echo(f"skipped: {reading.bad_lines} lines in all", err=True)


@dataclass(frozen=True, slots=True)
class _Answer:
    """All there is to tell."""

    reading: LogReading
    recording: Recording
    replay: Replay
    recorded: list[Ended]
    results: Mapping[str, list[Ended]]

    @property
    def assumed(self) -> dict[str, int]:
        return {**self.recording.assumed, **self.replay.assumed}


def _own_policy(settings: Settings) -> PolicyChoice:
    return PolicyChoice(settings.policy.name, tuple(settings.policy.options.items()))


def _read(sources: Sequence[str], workflow: str | None) -> LogReading:
    whole = LogReading()
    for source in distinct(sources):
        reading = read_trace(source)
        whole.runs += [run for run in reading.runs if workflow is None or run.workflow == workflow]
        whole.files += reading.files
        whole.bad_lines += reading.bad_lines
        whole.problems += reading.problems
    if not whole.runs:
        raise ConfigError("no run of this workflow in the log", field="--workflow", given=workflow)
    whole.runs.sort(key=_arrival_s)
    return whole


def _arrival_s(run: RunLog) -> float:
    return run.arrival_s or 0.0


def _replayed(replay: Replay, policies: Sequence[PolicyChoice], seeds: Sequence[int]) -> dict[str, list[Ended]]:
    """Policy -> how the runs ended, over all seeds."""
    found: dict[str, list[Ended]] = {}
    columns = (
        TextColumn("replaying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=progress(), transient=True) as bar:
        shown = bar.add_task("", total=len(policies) * len(seeds))
        for policy in policies:
            ends = found.setdefault(policy.label, [])
            for seed in seeds:
                bar.update(shown, description=policy.label)
                ends += simulated_ends(replay.run(partial(make_policy, policy.name, dict(policy.options)), seed))
                bar.update(shown, advance=1)
    return found


# -- telling ---------------------------------------------------------------------------------------------------------


def _document(answer: _Answer, pool: Path, how: Circumstances) -> dict[str, Any]:
    return {
        "version": 1,
        "logs": list(answer.reading.files),
        "bad_lines": answer.reading.bad_lines,
        "pool": str(pool),
        "load": how.load,
        "rate": how.rate,
        "deadline_s": how.deadline_s,
        "on_late": "raise" if how.cut_late else "ignore",
        "clients": how.clients,
        "endpoints": [{"name": one.name, "basis": one.basis} for one in answer.replay.endpoints],
        "assumed": [{"what": text, "count": count} for text, count in answer.assumed.items()],
        "recorded": _figures(answer.recorded),
        "replayed": [{"policy": label, **_figures(ends)} for label, ends in answer.results.items()],
    }


def _figures(ends: Sequence[Ended]) -> dict[str, Any]:
    names = sorted({one.workflow for one in ends})
    by_workflow = {name: figures_of([one for one in ends if one.workflow == name]).to_dict() for name in names}
    return {**figures_of(ends).to_dict(), "by_workflow": by_workflow}


def _show(answer: _Answer, console: Console) -> None:
    console.print(_table(answer))
    workflows = sorted({one.workflow for one in answer.recorded})
    if len(workflows) > 1:
        console.print()
        console.print(_workflow_table(answer, workflows))
    console.print("\nendpoints", style="bold")
    for one in answer.replay.endpoints:
        console.print(f"  {one.name}: {one.basis}", markup=False)
    if answer.assumed:
        console.print("\nassumed", style="bold")
        for text, count in answer.assumed.items():
            console.print(f"  {count:>6}  {text}", markup=False)


def _table(answer: _Answer) -> Table:
    table = plain_table(("", "runs", "met deadline", "P50 s", "P95 s", "USD/run", "ended"))
    for label, ends in (("recorded", answer.recorded), *answer.results.items()):
        one = figures_of(ends)
        ended = ", ".join(f"{count} {name}" for name, count in one.outcomes.items())
        ended += f"; {one.skipped} optional steps left out" if one.skipped else ""
        table.add_row(label, str(one.runs), _attainment(one), *map(_short, _numbers(one)), ended)
    return table


def _numbers(one: Figures) -> tuple[float | None, float | None, float | None]:
    return one.latency_p50_s, one.latency_p95_s, one.cost_usd


def _workflow_table(answer: _Answer, workflows: Sequence[str]) -> Table:
    everybody = {"recorded": answer.recorded, **answer.results}
    table = plain_table(("met deadline (P95 s)", *everybody))
    for name in workflows:
        cells = [figures_of([one for one in ends if one.workflow == name]) for ends in everybody.values()]
        table.add_row(name, *(f"{_attainment(one)} ({_short(one.latency_p95_s)})" for one in cells))
    return table


def _attainment(one: Figures) -> str:
    return "-" if one.attainment is None else f"{100 * one.attainment:.1f} %"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
