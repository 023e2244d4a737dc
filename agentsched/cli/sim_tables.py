"""Results for people: tables, and figures with their intervals; and the pictures, which need matplotlib."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click
from rich.table import Table

from agentsched.sim.intervals import Estimate

__all__ = ["number", "percent", "plain_table", "plots"]


def plain_table(head: Sequence[str]) -> Table:
    """A table without lines; all columns but the first and ``about`` are numbers."""
    made = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    for number, title in enumerate(head):
        made.add_column(title, justify="left" if number == 0 or title == "about" else "right")
    return made


def percent(one: Estimate, *, sign: bool = False) -> str:
    """A share with half its interval."""
    mean = f"{100 * one.mean:+.1f}" if sign else f"{100 * one.mean:.1f}"
    return f"{mean} %" if one.half is None else f"{mean} ± {100 * one.half:.1f} %"


def number(one: Estimate) -> str:
    """A figure with half its interval."""
    return f"{one.mean:.3g}" if one.half is None else f"{one.mean:.3g} ± {one.half:.2g}"


def plots(name: str = "plots") -> Any:
    """The room's pictures, which alone need matplotlib."""
    try:
        return import_module(f"agentsched.sim.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "agentsched":
            raise
        raise click.ClickException(
            f"--out needs {error.name}, which is not installed; try: pip install 'agentsched[sim]'"
        ) from None
