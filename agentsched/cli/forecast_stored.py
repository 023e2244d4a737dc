"""``agentsched forecast stored``: what is kept for the next process."""

import dataclasses
from pathlib import Path

import click
from rich.table import Table

from agentsched.cli.output import CONFIGURATION_HELP, configured, json_option, path_argument, people, print_json
from agentsched.errors import ConfigError, StateUnavailable
from agentsched.settings.learned_path import learned_path
from agentsched.state.profiles import ProfileFile, ProfileSummary

__all__ = ["command"]


@click.command("stored", epilog=CONFIGURATION_HELP)
@path_argument
@click.option(
    "--file", type=click.Path(dir_okay=False, path_type=Path), help="Look into this file of profiles instead."
)
@json_option
def command(path: Path | None, file: Path | None, as_json: bool) -> None:
    """Show what earlier processes learned and the next one will begin with: runs by workflow, endpoint speeds."""
    chosen = learned_path(configured(path)) if file is None else file
    if chosen is None:
        raise ConfigError("nothing is kept", field="state.profiles", given="off", allowed="the path of a file")
    if not chosen.exists():
        raise ConfigError("nothing was learned yet: no such file", file=str(chosen))
    try:
        summary = ProfileFile(chosen, lambda text: None).summary()
    except StateUnavailable as error:
        raise ConfigError(f"cannot be shown: {error}") from error
    if as_json:
        print_json(dataclasses.asdict(summary))
    else:
        _show(summary)


def _show(summary: ProfileSummary) -> None:
    console = people(pipe_width=110)
    console.print(f"{summary.path}: {summary.size_bytes / 1024:.0f} KiB", markup=False, soft_wrap=True)
    runs = _table("workflow", "runs", "calls", "last")
    for one in summary.workflows:
        runs.add_row(one.workflow or "(no name)", str(one.runs), str(one.calls), _age(one.age_s))
    console.print(runs, markup=False)
    speeds = _table("endpoint", "ms per token", "answers", "TTFT, ms", "answers", "last")
    for speed in summary.speeds:
        speeds.add_row(
            speed.name,
            f"{speed.tpot_s * 1e3:.1f}",
            f"{speed.tpot_count:.0f}",
            f"{speed.ttft_idle_s * 1e3:.0f}",
            f"{speed.ttft_count:.0f}",
            _age(speed.age_s),
        )
    console.print(speeds, markup=False)


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column(first)
    for head in others:
        table.add_column(head, justify="right")
    return table


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
