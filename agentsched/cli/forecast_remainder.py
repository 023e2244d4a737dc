"""``agentsched forecast remainder``: how well what follows a call is forecast on recorded conversations."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from agentsched.cli.forecast_data import DATA_HELP, data_argument, traced
from agentsched.cli.output import json_option, people, print_json, progress
from agentsched.errors import ConfigError
from agentsched.evaluation.remainders import QUANTITIES, TABLE, RemainderScores, evaluate_remainders
from agentsched.evaluation.scores import Scores

__all__ = ["command"]


@click.command("remainder", epilog=DATA_HELP)
@data_argument
@json_option
def command(data: tuple[Path, ...], as_json: bool) -> None:
    """Forecast calls and tokens that follow each call of DATA, from other conversations of the same workflow.

    Told are the pinball loss and the coverage at .5, .9 and .99, beside those of a table by step and position, and of
    a forecaster that has seen 20 conversations only; then, online, those of conversations 21 and later, each forecast
    by what the ones before it taught, with and without the correction that follows the coverage.
    """
    runs = traced(data)
    with progress().status("workflows") as status:
        scored = evaluate_remainders(runs, lambda done, total: status.update(f"workflows: {done} of {total}"))
    if not scored:
        names = ", ".join(str(path) for path in data)
        raise ConfigError("too few conversations", file=names, allowed="ten or more of one workflow")
    if as_json:
        print_json([_document(one) for one in scored])
        return
    console = people(pipe_width=110)
    for one in scored:
        console.print(_table(one), markup=False)


def _document(one: RemainderScores) -> dict[str, object]:
    return {"workflow": one.workflow, "runs": one.runs, "scores": _plain(one.scores), "online": _plain(one.online)}


def _plain(scores: Mapping[str, Mapping[str, Scores]]) -> dict[str, object]:
    return {
        quantity: {name: dataclasses.asdict(score) for name, score in by_name.items()}
        for quantity, by_name in scores.items()
    }


def _table(one: RemainderScores) -> Table:
    title = f"{one.workflow or '(no name)'}: {one.runs} conversations; losses as shares of the table's in brackets"
    table = Table(title=Text(title), title_justify="left", box=None, padding=(0, 1), header_style="dim")
    table.add_column("rest of the run")
    table.add_column("forecaster")
    for head in ("pinball", ".5", ".9", ".99", "cover .9", "5-95 %"):
        table.add_column(head, justify="right")
    for quantity in QUANTITIES:
        base = one.scores[quantity][TABLE]
        for name, score in one.scores[quantity].items():
            table.add_row(quantity, name, *_told(score, None if name == TABLE else base))
        for name, score in one.online.get(quantity, {}).items():
            table.add_row(quantity, f"online, {name}", *_told(score, None))
    return table


def _told(score: Scores, base: Scores | None) -> list[str]:
    losses = (score.mean_pinball, *score.pinball)
    bases = losses if base is None else (base.mean_pinball, *base.pinball)
    shares = ("" if base is None or not b else f" ({a / b:.2f})" for a, b in zip(losses, bases, strict=True))
    told = [f"{loss:.4g}{share}" for loss, share in zip(losses, shares, strict=True)]
    return [*told, f"{score.coverage[1]:.1%}", f"{score.interval_90:.1%}"]
