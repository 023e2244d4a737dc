"""What the forecast commands look at: DATA on the command line, and reading it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from agentsched.cli.output import progress
from agentsched.evaluation.trace import TraceRun, read_trace

__all__ = ["DATA_HELP", "data_argument", "traced"]

DATA_HELP = (
    "DATA: decision logs, directories of them, or CSV, JSON Lines or Parquet tables with the columns output_tokens "
    "(required), run_id, workflow, step, model, call_index, input_tokens, max_tokens, start_s, prompt."
)


def data_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the argument ``DATA...`` (argument ``data``)."""
    return click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DATA...")(command)


def traced(data: Sequence[Path]) -> list[TraceRun]:
    """The runs in DATA; on stderr it is told that they are read, and what was left out.

    Raises:
        ConfigError: see `read_trace`.
    """
    told = progress()
    with told.status("reading"):
        return read_trace(data, lambda text: told.print(text, markup=False, soft_wrap=True))
