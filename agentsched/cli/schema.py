"""``agentsched schema``: the JSON Schemas that agentsched publishes."""

import click

from agentsched.cli.output import json_option, print_json
from agentsched.settings import settings_schema
from agentsched.sim.scenario_files import scenario_schema
from agentsched.telemetry.schema import log_schema

__all__ = ["command"]

_SCHEMAS = {"pool": settings_schema, "log": log_schema, "scenario": scenario_schema}


@click.command("schema")
@click.argument("subject", type=click.Choice(list(_SCHEMAS)))
@json_option
def command(subject: str, as_json: bool) -> None:
    """Print the JSON Schema of the configuration (pool), of a line of the decision log (log) or of a scenario file.

    It is JSON with and without --json. In an editor, put this into the first line of the YAML file:
    # yaml-language-server: $schema=pool.schema.json
    """
    print_json(_SCHEMAS[subject]())
