"""What the commands share of talking to people and to programs."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from agentsched.errors import ConfigError
from agentsched.settings import CONFIG_VARIABLE, DEFAULT_FILE, Settings, from_environment, load_settings

__all__ = [
    "CONFIGURATION_HELP",
    "configured",
    "date",
    "headed",
    "json_option",
    "path_argument",
    "people",
    "print_json",
    "progress",
]

_AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
"""Names of workflows, endpoints and files may hold brackets and colons: nothing in a text means bold or a smiley."""

Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """Give a command ``--json`` (argument ``as_json``)."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(command)


def path_argument(command: Command) -> Command:
    """Give a command the argument ``PATH``: the configuration to use, see `configured`."""
    return click.argument("path", required=False, type=click.Path(path_type=Path))(command)


def configured(path: Path | None) -> Settings:
    """The settings of ``path``, else of the file that ``AGENTSCHED_CONFIG`` names, else of ``pool.yaml`` here.

    Raises:
        ConfigError: it cannot be read or is wrong.
    """
    if path is not None:
        return load_settings(path)
    settings = from_environment()
    if settings is None and not DEFAULT_FILE.exists():
        allowed = f"a path, {CONFIG_VARIABLE}, or one that agentsched init writes"
        raise ConfigError(f"no configuration is named, and no {DEFAULT_FILE} is here", allowed=allowed)
    return settings or load_settings(DEFAULT_FILE)


def print_json(document: object) -> None:
    """Print the one JSON document of a ``--json`` run."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def people(*, pipe_width: int | None = None) -> Console:
    """Where results for people go: stdout.

    Args:
        pipe_width: columns to use where there is no terminal and ``COLUMNS`` says nothing; None: 80.
    """
    console = Console(**_AS_IT_IS)
    if pipe_width is None or console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(**_AS_IT_IS, width=pipe_width)


def progress() -> Console:
    """Where progress and remarks go, also in a ``--json`` run: stderr."""
    return Console(stderr=True, **_AS_IT_IS)


def headed(head: str, rest: str) -> Text:
    """A line that begins in bold."""
    return Text.assemble((head, "bold"), rest)


def date(at_s: float) -> str:
    """An instant, seconds since the Unix epoch, as people write it, in UTC; as seconds where no calendar has it."""
    try:
        return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):  # milliseconds, for example: a log may come from anywhere
        return f"{at_s:g} s"


CONFIGURATION_HELP = f"PATH is a configuration; by default the one that {CONFIG_VARIABLE} names, else ./pool.yaml."
