"""``agentsched``: one table of commands, each loaded when it is called, and what holds for all of them.

Conventions: ``--json`` prints one JSON document on stdout, everything else then goes to stderr. Exit status 0: done;
1: the command says no, or failed; 2: the command line or the configuration is wrong; 130: interrupted; 143: terminated.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from agentsched.errors import AgentschedError, ConfigError

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("agentsched.cli.init", "Write a commented pool.yaml to start from."),
    "check": ("agentsched.cli.check", "Validate a configuration and show what it means."),
    "probe": ("agentsched.cli.probe", "Measure the endpoints and write what was found back."),
    "demo": ("agentsched.cli.demo", "Run an agent workflow with and without deadlines, side by side."),
    "pool": ("agentsched.cli.pool", "Run the embedded pool: emulated LLM servers on this machine."),
    "explain": ("agentsched.cli.explain", "Tell where the deadline of a run went."),
    "report": ("agentsched.cli.report", "Summarise a decision log."),
    "replay": ("agentsched.cli.replay", "Tell how recorded runs would have gone on another pool."),
    "sim": ("agentsched.cli.sim", "Simulate pools and workloads, and compare policies."),
    "bench": ("agentsched.cli.bench", "Measure overhead and behaviour under faults."),
    "forecast": ("agentsched.cli.forecast", "Judge forecasts on recorded calls, and show what is learned from them."),
    "schema": ("agentsched.cli.schema", "Print the JSON Schema of the configuration, the log or a scenario."),
}
"""Name -> (module that has ``command``, what it is for)."""

_EXTRAS = {"demo": "demo", "bench": "bench"}


@contextmanager
def _terminated_in_order() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: its servers are stopped and its temporary folders removed."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Commands(click.Group):
    """A group whose commands are imported when they are called: ``agentsched --help`` loads none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        try:
            command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] == "agentsched":
                raise
            extra = _EXTRAS.get(cmd_name)
            package = f"agentsched[{extra}]" if extra else error.name
            raise click.ClickException(
                f"`agentsched {cmd_name}` needs {error.name}, which is not installed; try: pip install '{package}'"
            ) from None
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _terminated_in_order():
                return super().invoke(ctx)
        except ConfigError as error:
            click.echo(f"agentsched: {error}", err=True)
            ctx.exit(2)
        except AgentschedError as error:
            click.echo(f"agentsched: {error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)


def _version() -> str:
    try:
        return version("agentsched")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "(not installed)"


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"agentsched {_version()}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Deadline-aware scheduling for LLM agents."""
