"""``agentsched forecast bars``: what is promised of forecasts of lengths, on several data sets with one command."""

from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from agentsched.cli.forecast_data import DATA_HELP, data_argument, traced
from agentsched.cli.output import json_option, people, print_json, progress
from agentsched.evaluation.baselines import boosting_package
from agentsched.evaluation.length_bars import LengthBar, length_bars
from agentsched.evaluation.length_report import LengthReport
from agentsched.evaluation.lengths import evaluate_online
from agentsched.evaluation.trace import TraceRun

__all__ = ["command"]


@click.command("bars", epilog=DATA_HELP)
@data_argument
@click.option("--limit", type=click.IntRange(1), default=20_000, show_default=True, help="Conversations of each DATA.")
@click.option(
    "--boosting",
    type=click.IntRange(0),
    default=10_000,
    show_default=True,
    help="Compare with boosted trees, if installed, where there are at most so many calls.",
)
@click.option("--check", is_flag=True, help="End with status 1 if a promise is missed.")
@json_option
def command(data: tuple[Path, ...], limit: int, boosting: int, check: bool, as_json: bool) -> None:
    """Tell for each DATA by itself which promises forecasts of output lengths keep on it.

    DATA are the files that `agentsched forecast eval` reads. Every call is forecast from those before it.
    """
    told = progress()
    found: list[tuple[str, LengthReport, list[LengthBar]]] = []
    for path in data:
        runs = traced([path])[:limit]
        with told.status(escape(path.name)) as status:
            package = boosting_package() if sum(len(run.calls) for run in runs) <= boosting else None

            def tell(done: int, total: int, name: str = escape(path.name)) -> None:
                status.update(f"{name}: {done} of {total} calls")

            online = evaluate_online(runs, package, tell)
            report = LengthReport(online, None, package)
            found.append((str(path), report, length_bars(report, _steps(runs))))
    if as_json:
        print_json([_document(name, report, bars) for name, report, bars in found])
    else:
        console = people(pipe_width=140)
        for name, report, bars in found:
            console.print(f"{name}: {report.online.outcomes.size} calls", markup=False, soft_wrap=True)
            for bar in bars:
                console.print(f"  {_verdict(bar)}: {bar.text} ({bar.measured})", markup=False, soft_wrap=True)
    if check and any(bar.met is False for _, _, bars in found for bar in bars):
        raise click.exceptions.Exit(1)


def _steps(runs: list[TraceRun]) -> int:
    return len({(run.workflow, call.step) for run in runs for call in run.calls})


def _verdict(bar: LengthBar) -> str:
    return "no promise" if bar.met is None else "met" if bar.met else "MISSED"


def _document(name: str, report: LengthReport, bars: list[LengthBar]) -> dict[str, Any]:
    return {
        "data": name,
        "calls": report.online.outcomes.size,
        "drifts": report.online.drifts,
        "bars": [
            {"text": bar.text, "measured": bar.measured, "verdict": _verdict(bar), "met": bar.met} for bar in bars
        ],
    }
