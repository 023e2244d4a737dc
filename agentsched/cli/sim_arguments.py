"""What the commands of ``agentsched sim`` are told on the command line.

Raises ConfigError for what cannot be understood.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from agentsched.core.duration import parse_duration
from agentsched.errors import ConfigError
from agentsched.sim.grid import PolicyChoice
from agentsched.sim.knowledge import Knowledge

__all__ = [
    "KNEES",
    "duration_option",
    "jobs_option",
    "knowledge_option",
    "load_of",
    "loads_of",
    "policy_choice",
    "seeds_of",
    "writable",
]

KNEES = ("s1", "s2", "s3", "s4")
"""The scenarios of the study, which studies of policies take where none is named."""

Command = TypeVar("Command", bound=Callable[..., Any])


def duration_option(command: Command) -> Command:
    """Give a command ``--duration``, in seconds; None: the scenario's own."""

    def seconds(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
        return None if text is None else parse_duration(text, field="--duration")

    told = "For how long runs arrive, e.g. 60s; the scenario's own when left out."
    return click.option("--duration", "duration_s", callback=seconds, help=told)(command)


def knowledge_option(command: Command) -> Command:
    """Give a command ``--knowledge``."""
    return click.option(
        "--knowledge",
        default=Knowledge.STUDY.value,
        show_default=True,
        type=click.Choice([one.value for one in Knowledge]),
        help="Where forecasts come from.",
    )(command)


def jobs_option(command: Command) -> Command:
    """Give a command ``--jobs``."""
    cores = os.cpu_count() or 1
    return click.option(
        "--jobs", type=click.IntRange(1), default=cores, show_default="all cores", help="Processes to use."
    )(command)


def policy_choice(text: str) -> PolicyChoice:
    """What ``NAME[:OPTION=VALUE,...]`` stands for."""
    name, _, rest = text.partition(":")
    options = []
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError("not an option", field="--policy", given=part, allowed="OPTION=VALUE")
        options.append((key, _value(value)))
    return PolicyChoice(name, tuple(options))


def _value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):  # tables show True, as Python does
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def loads_of(text: str | None, option: str = "--load") -> list[float | None]:
    """Runs per second, e.g. ``1,2.5,3``; None: the scenario's own."""
    if text is None:
        return [None]
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError("not a list of numbers", field=option, given=text, allowed="e.g. 1,2.5,3") from None


def load_of(text: str | None, option: str = "--load") -> float | None:
    """Runs per second, e.g. ``2.5``; None: the scenario's own."""
    load, *more = loads_of(text, option)
    if more:
        raise ConfigError("more than one", field=option, given=text, allowed="one number")
    return load


def seeds_of(text: str) -> list[int]:
    """Seeds, e.g. ``1-5`` or ``1,4,7-9``."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            seeds += range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise ConfigError(
                "not a list of seeds", field="--seeds", given=text, allowed="e.g. 1-5 or 1,4,7-9"
            ) from None
    if not seeds:
        raise ConfigError("names no seed", field="--seeds", given=text, allowed="e.g. 1-5 or 1,4,7-9")
    return list(dict.fromkeys(seeds))


def writable(path: Path | None, option: str) -> None:
    """See to it that a file can be written before the work that fills it is begun; it is made if it is not there."""
    if path is None:
        return
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}", field=option, given=str(path)) from error
