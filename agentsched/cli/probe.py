"""``agentsched probe``: measure the endpoints, show what was found, write it back."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from agentsched.cli.output import (
    CONFIGURATION_HELP,
    configured,
    json_option,
    path_argument,
    people,
    print_json,
    progress,
)
from agentsched.cli.probe_calls import session
from agentsched.cli.prober import Plan, Probed, changes_for, probe
from agentsched.core.duration import parse_duration
from agentsched.core.endpoint import Endpoint
from agentsched.errors import ConfigError
from agentsched.settings import Settings
from agentsched.settings.advice import is_loopback
from agentsched.settings.edit import update_endpoints

__all__ = ["command"]

_EPILOG = "The formulas behind the figures: docs/configuration.md, and the docstring of agentsched.cli.probe_fit."


@click.command(
    "probe",
    epilog=_EPILOG,
    help=f"Measure the endpoints of a configuration with a few real requests.\n\n{CONFIGURATION_HELP}",
)
@path_argument
@click.option("--endpoint", "names", multiple=True, help="Only this endpoint; can be given several times.")
@click.option("--write", is_flag=True, help="Write what was found into the file (what it was is kept as .bak).")
@click.option("--yes", is_flag=True, help="Do not ask before requests to other machines, which may cost money.")
@click.option("--timeout", default="60s", show_default=True, help="Time for each request.")
@json_option
def command(path: Path | None, names: tuple[str, ...], write: bool, yes: bool, timeout: str, as_json: bool) -> None:
    """Probe, show, write."""
    timeout_s = parse_duration(timeout, field="--timeout")
    settings = configured(path)
    endpoints = _chosen(settings, names)
    plan = Plan()
    _agree(endpoints, plan, yes)
    found = asyncio.run(_probe_all(endpoints, plan, timeout_s))
    changes = {probed.endpoint.name: changes_for(probed) for probed in found}
    changes = {name: values for name, values in changes.items() if values}
    backup = update_endpoints(settings, changes) if write and changes else None
    if as_json:
        documents = [{**_document(probed), "changes": changes.get(probed.endpoint.name, {})} for probed in found]
        print_json({"path": _text(settings.source), "backup": _text(backup), "endpoints": documents})
    else:
        _show(found)
    if backup is not None:
        progress().print(f"wrote {settings.source} (before: {backup})")
    elif changes and not as_json:
        progress().print("nothing was written; --write puts the figures into the file")
    if not all(probed.reachable for probed in found):
        click.get_current_context().exit(1)


def _chosen(settings: Settings, names: Sequence[str]) -> list[Endpoint]:
    known = {endpoint.name: endpoint for endpoint in settings.pool.endpoints}
    for name in names:
        if name not in known:
            raise ConfigError("unknown endpoint", field="--endpoint", given=name, allowed=", ".join(known))
    return [known[name] for name in names] if names else list(known.values())


def _agree(endpoints: Sequence[Endpoint], plan: Plan, yes: bool) -> None:
    """Say what it will cost, and ask unless everything is on this machine."""
    elsewhere = [endpoint for endpoint in endpoints if not is_loopback(endpoint.base_url)]
    cost_usd = sum(plan.cost_usd(endpoint) for endpoint in endpoints)
    out = progress()
    out.print(
        f"about {plan.requests} requests to each of {len(endpoints)} endpoints, by their prices at most ${cost_usd:.4f}"
    )
    unpriced = [endpoint.name for endpoint in elsewhere if endpoint.price.output == 0]
    if unpriced:
        out.print(f"no price is configured for {', '.join(unpriced)}: what they charge is not in this figure")
    if elsewhere and not yes:
        click.confirm(f"send them to {', '.join(endpoint.name for endpoint in elsewhere)}?", abort=True, err=True)


async def _probe_all(endpoints: Sequence[Endpoint], plan: Plan, timeout_s: float) -> list[Probed]:
    """One endpoint after the other: those that share a machine must not slow each other."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<16}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[doing]}", markup=False),
    )
    found = []
    async with session(timeout_s) as http:
        with Progress(*columns, console=progress()) as display:
            for endpoint in endpoints:
                task = display.add_task(endpoint.name, total=plan.steps, doing="")

                def step(what: str, task: Any = task) -> None:
                    display.advance(task)
                    display.update(task, doing=what)

                probed = await probe(endpoint, http, plan, on_step=step)
                display.update(task, completed=plan.steps, doing="done" if probed.reachable else probed.detail)
                found.append(probed)
    return found


def _document(probed: Probed) -> dict[str, object]:
    return {
        "name": probed.endpoint.name,
        "reachable": probed.reachable,
        "detail": probed.detail,
        "model_listed": probed.listed,
        "context_tokens": probed.context_tokens,
        "stream": asdict(probed.stream),
        "usage_in_stream": asdict(probed.usage),
        "figures": asdict(probed.figures),
        "abilities": {name: asdict(finding) for name, finding in probed.abilities.items()},
        "requests": probed.requests,
        "input_tokens": probed.input_tokens,
        "output_tokens": probed.output_tokens,
        "cost_usd": probed.cost_usd,
    }


def _show(found: Sequence[Probed]) -> None:
    speed = Table(
        "endpoint", "reachable", "model", "ttft", "tpot alone", "tpot at 4", "prefill tok/s", box=None, pad_edge=False
    )
    for probed in found:
        figures = probed.figures
        listed = {True: "listed", False: "not listed", None: "no list"}[probed.listed]
        speed.add_row(
            probed.endpoint.name,
            "yes" if probed.reachable else "no",
            listed,
            _seconds(figures.ttft_s),
            _seconds(figures.tpot_alone_s),
            _seconds(figures.tpot_together_s),
            "?" if figures.prefill_tokens_per_s is None else f"{figures.prefill_tokens_per_s:.0f}",
        )
    out = people(pipe_width=160)
    out.print(speed)
    out.print()
    for probed in found:
        findings = {"stream": probed.stream, "usage in the stream": probed.usage, **probed.abilities}
        for words, able in (("can", True), ("cannot", False), ("unknown", None)):
            names = [name for name, finding in findings.items() if finding.able is able]
            if names and probed.reachable:
                out.print(f"{probed.endpoint.name}: {words}: {', '.join(names)}", markup=False)
    for probed in found:
        if not probed.reachable:
            out.print(f"{probed.endpoint.name}: {probed.detail}", markup=False)


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value * 1000:.1f} ms"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
