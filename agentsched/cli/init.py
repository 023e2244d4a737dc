"""``agentsched init``: a commented configuration to start from."""

import json
from pathlib import Path

import click

from agentsched.cli.output import json_option, print_json
from agentsched.cli.pool import FIRST_PORT, embedded_config
from agentsched.errors import ConfigError
from agentsched.settings import DEFAULT_FILE, settings_schema
from agentsched.settings.edit import write_safely
from agentsched.settings.migration import migrate_litellm

__all__ = ["command"]

_HEAD = """\
# yaml-language-server: $schema={schema}
# The configuration of agentsched. Every key: docs/configuration.md; what it means: agentsched check.
"""

_STARTER = """\
version: 1

# The OpenAI-compatible servers that may be called. ${NAME} and ${NAME:-default} are read from the environment.
endpoints:
  - name: openai
    base_url: ${OPENAI_BASE_URL:-https://api.openai.com/v1}
    model: gpt-4.1-mini
    api_key: ${OPENAI_API_KEY}
    quality: 0.8                           # from 0 to 1, compared with SLO(min_quality=...)
    price: {input: 0.40, output: 1.60}     # USD per million tokens: fill in what you pay
    # rpm: 500                             # requests per minute
    # tpm: 200000                          # tokens per minute

  # - name: gpu
  #   base_url: http://localhost:8000/v1
  #   model: llama-3.1-8b
  #   kind: vllm                           # openai, azure, vllm, sglang, llama_cpp, llm-d, dynamo, ...
  #   quality: 0.6
  #   max_concurrency: 64
  #   profile: {ttft_s: 0.05, tpot_s: 0.01, tpot_per_batch_s: 0.0001, prefill_tokens_per_s: 10000}
  #                                        # measured and written by: agentsched probe --write

# Which endpoints may answer for a model name that your code asks for. Without a group: those whose model equals it.
groups:
  # gpt-4.1-mini: {endpoints: [openai, gpu], min_quality: 0.5}
  # "*": [openai]                          # every other name

"""

_EMBEDDED = """\
version: 1

# The emulated servers of `agentsched pool up`: one model on four unequal GPUs, on this machine.
endpoints:
{endpoints}
# Every model name that your code asks for is served by them.
groups:
  "*": [{names}]

"""

_EMULATED = """\
  - name: {name}
    base_url: http://127.0.0.1:{port}/v1
    model: {model}
    api_key: none
    kind: {kind}
    profile: {profile}
    max_concurrency: {slots}
    price: {{input: {input:g}, output: {output:g}}}
    metrics_url: http://127.0.0.1:{port}/metrics

"""

_RULES = """\
log:
  path: agentsched-log.jsonl               # read by: agentsched report, agentsched explain

# Rules and their defaults; see docs/configuration.md.
# policy: {name: deadline_aware}
# retry: {max_attempts: 4, budget: 0.2}
# breaker: {failures: 5, cooldown: 2s}
# stream: {connect_timeout: 5s, idle_timeout: 30s}
# hedge: {max_extra: 0.05, min_gain: 0.15}
"""


@click.command("init")
@click.argument("path", type=click.Path(path_type=Path), default=DEFAULT_FILE)
@click.option("--force", is_flag=True, help="Overwrite PATH if it is there.")
@click.option("--from-litellm", "litellm", type=click.Path(path_type=Path), help="Convert this LiteLLM config.yaml.")
@click.option("--embedded", is_flag=True, help="For the embedded pool of `agentsched pool up`.")
@json_option
def command(path: Path, force: bool, litellm: Path | None, embedded: bool, as_json: bool) -> None:
    """Write a commented configuration to PATH (pool.yaml), and its JSON Schema for editors beside it.

    It asks nothing and overwrites nothing unless --force is given. Keys are never written: the file refers to
    environment variables.
    """
    if litellm is not None and embedded:
        raise click.UsageError("--from-litellm and --embedded exclude each other")
    if not path.parent.is_dir():
        raise ConfigError("there is no such folder", field="PATH", given=str(path.parent))
    if path.exists() and not force:
        raise ConfigError("is there already", file=str(path), allowed="--force to overwrite it, or another PATH")
    schema = path.with_name(f"{path.stem}.schema.json")
    warnings: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    if litellm is not None:
        made = migrate_litellm(litellm)
        warnings, variables = made.warnings, made.variables
        body = "".join(f"# {litellm.name}: {warning}\n" for warning in warnings) + made.text
    else:
        body = (_embedded() if embedded else _STARTER) + _RULES
    write_safely(path, _HEAD.format(schema=schema.name) + body)
    write_safely(schema, json.dumps(settings_schema(), indent=2) + "\n")
    if as_json:
        print_json({"path": str(path), "schema": str(schema), "warnings": warnings, "variables": variables})
    _say(path, schema, warnings, variables, litellm)


def _embedded() -> str:
    config = embedded_config(FIRST_PORT)
    entries = [
        _EMULATED.format(
            name=endpoint.name,
            port=endpoint.port,
            model=endpoint.model,
            kind=endpoint.kind,
            profile=endpoint.profile.name,
            slots=getattr(endpoint.profile, "max_slots", 64),
            input=endpoint.price.input,
            output=endpoint.price.output,
        )
        for endpoint in config.endpoints
    ]
    return _EMBEDDED.format(endpoints="".join(entries), names=", ".join(endpoint.name for endpoint in config.endpoints))


def _say(path: Path, schema: Path, warnings: tuple[str, ...], variables: tuple[str, ...], litellm: Path | None) -> None:
    click.echo(f"wrote {path} and {schema}", err=True)
    for warning in warnings:
        click.echo(f"{litellm}: {warning}", err=True)
    for variable in variables:
        click.echo(f"set {variable}: its key stood in the LiteLLM file and was not copied", err=True)
    click.echo(f"next: edit it, then agentsched check {path}", err=True)
