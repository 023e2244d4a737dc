"""``agentsched pool up``: the embedded pool, until it is stopped."""

from pathlib import Path

import click
from rich.table import Table

from agentsched.cli.output import json_option, people, print_json, progress
from agentsched.emulator.config import EmulatorConfig, load_config
from agentsched.emulator.defaults import default_config
from agentsched.emulator.pool import Emulator
from agentsched.emulator.process import run_pool
from agentsched.errors import ConfigError
from agentsched.settings.dump import yaml_text
from agentsched.settings.edit import write_safely

__all__ = ["FIRST_PORT", "command", "embedded_config"]

FIRST_PORT = 8101
"""The default pool's first port; its endpoints take consecutive ones, so that a written pool.yaml stays true."""

_WRITTEN_BY = "# Written by `agentsched pool up`: the addresses of a running pool.\n"


@click.group("pool")
def command() -> None:
    """Run the embedded pool: emulated LLM servers on this machine."""


@command.command("up")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of the emulated endpoints.")
@click.option(
    "--port",
    type=click.IntRange(0, 65000),
    default=FIRST_PORT,
    show_default=True,
    help="First port of the default pool; 0 takes free ones.",
)
@click.option("--write-pool", type=click.Path(path_type=Path), help="Write a matching pool.yaml to this file.")
@json_option
def up(config: Path | None, port: int, write_pool: Path | None, as_json: bool) -> None:
    """Serve emulated LLM servers on the loopback interface until interrupted.

    Without --config: four endpoints of one model on unequal hardware. `agentsched init --embedded` writes the
    configuration that goes with it.
    """
    if write_pool is not None:
        _refuse_foreign(write_pool)
    served = load_config(config) if config is not None else embedded_config(port)

    def ready(pool: Emulator) -> None:
        if write_pool is not None:
            write_safely(write_pool, _WRITTEN_BY + yaml_text(pool.pool_config()))
            progress().print(f"wrote {write_pool}")
        _tell(pool, as_json)

    run_pool(served, on_ready=ready)


def embedded_config(first_port: int) -> EmulatorConfig:
    """The default pool on consecutive ports from ``first_port`` on; 0: on free ones."""
    config = default_config()
    if first_port == 0:
        return config
    endpoints = [
        endpoint.model_copy(update={"port": first_port + index}) for index, endpoint in enumerate(config.endpoints)
    ]
    return config.model_copy(update={"endpoints": tuple(endpoints)})


def _refuse_foreign(path: Path) -> None:
    """What we did not write ourselves is not overwritten."""
    if not path.parent.is_dir():
        raise ConfigError("there is no such folder", field="--write-pool", given=str(path.parent))
    try:
        foreign = path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(_WRITTEN_BY)
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise ConfigError(message, field="--write-pool", given=str(path)) from error
    if foreign:
        raise ConfigError(
            "the file is there and was not written by this command", field="--write-pool", given=str(path)
        )


def _tell(pool: Emulator, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "endpoints": {name: pool.url(name) for name in pool.names},
                "control_url": pool.control_url,
                "pool": pool.pool_config(),
            }
        )
        return
    table = Table("endpoint", "base_url", "model", "profile", box=None, pad_edge=False)
    for endpoint in pool.config.endpoints:
        table.add_row(endpoint.name, pool.url(endpoint.name), endpoint.model, endpoint.profile.name)
    people(pipe_width=160).print(table)
    progress().print("running; Ctrl-C stops it")
