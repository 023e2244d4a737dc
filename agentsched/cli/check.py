"""``agentsched check``: is the configuration right, and what does it mean?"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import aiohttp
import click
from rich.table import Table

from agentsched import clock
from agentsched.cli.check_files import unusable_certificates, unwritable_files
from agentsched.cli.output import CONFIGURATION_HELP, configured, json_option, path_argument, people, print_json
from agentsched.cli.probe_calls import Caller, Refused, session
from agentsched.core.endpoint import Endpoint, Profile
from agentsched.core.shared import Posting
from agentsched.errors import ConfigError, StateUnavailable
from agentsched.scheduler.cold_start import first_profiles
from agentsched.settings import Settings
from agentsched.settings.advice import Advice, advise
from agentsched.state.stores import open_store

__all__ = ["command"]

_CONNECT_S = 5.0
_STATE_S = 10.0


@dataclass(frozen=True, slots=True)
class Contact:
    """What an endpoint said when it was asked for its models.

    Attributes:
        reachable: whether there was an HTTP answer that does not refuse the key.
        detail: what was wrong.
    """

    reachable: bool
    detail: str


@dataclass(frozen=True, slots=True)
class StateContact:
    """What the store of ``state`` said when it was asked.

    Attributes:
        reachable: whether it can be written and read.
        clients: how many processes tell each other there now.
        took_s: seconds of opening it and one exchange.
        detail: what was wrong.
    """

    reachable: bool
    clients: int
    took_s: float | None
    detail: str


@click.command("check", help=f"Validate a configuration and show what it means.\n\n{CONFIGURATION_HELP}")
@path_argument
@click.option("--connect", is_flag=True, help="Also ask every endpoint for its models, and the store of `state`.")
@click.option("--strict", is_flag=True, help="Exit with status 1 if there is any warning.")
@json_option
def command(path: Path | None, connect: bool, strict: bool, as_json: bool) -> None:
    """Read, judge, show."""
    settings = configured(path)
    contacts = asyncio.run(_contact_all(settings.pool.endpoints)) if connect else {}
    state = _contact_state(settings, connect)
    warnings = [*advise(settings), *unwritable_files(settings), *([] if connect else unusable_certificates(settings))]
    if state is not None and state.detail:
        warnings.append(Advice("state", state.detail))
    for name, contact in contacts.items():
        if contact.detail:
            warnings.append(Advice(f"endpoint {name}", contact.detail))
    if as_json:
        print_json(_document(settings, contacts, state, warnings))
    else:
        _show(settings, contacts, state, warnings)
    if strict and warnings:
        click.get_current_context().exit(1)


async def _contact_all(endpoints: tuple[Endpoint, ...]) -> dict[str, Contact]:
    async with session(_CONNECT_S) as http:
        contacts = await asyncio.gather(*(_contact(endpoint, http) for endpoint in endpoints))
    return {endpoint.name: contact for endpoint, contact in zip(endpoints, contacts, strict=True)}


def _contact_state(settings: Settings, connect: bool) -> StateContact | None:
    """Open the shared state and, if asked to ``connect``, use it as a client would; None: there is nothing to tell."""
    if settings.state.backend == "memory":
        return None
    client, began = f"check:{os.getpid()}", clock.monotonic()
    try:
        store = open_store(settings.state.backend, settings.state.url)
        if not connect:
            return None
        others = store.exchange(Posting(client, b""), _STATE_S)
        took_s = clock.monotonic() - began
        store.withdraw(client)
        store.close()
    except (StateUnavailable, ConfigError) as error:
        return StateContact(False, 0, None, str(error))
    return StateContact(True, len(others), took_s, "")


async def _contact(endpoint: Endpoint, http: aiohttp.ClientSession) -> Contact:
    model = endpoint.model
    try:
        entries = await Caller(endpoint, http).models()
    except ConfigError as error:
        return Contact(False, str(error))
    except Refused as refusal:
        if refusal.status in (404, 405, 501):  # there is a server, and it has no list
            return Contact(True, "")
        return Contact(False, str(refusal))
    if entries and model not in {entry.get("id", entry.get("name")) for entry in entries}:
        return Contact(True, f"does not list the model {model!r}")
    return Contact(True, "")


def _document(
    settings: Settings, contacts: Mapping[str, Contact], state: StateContact | None, warnings: list[Advice]
) -> dict[str, object]:
    pool = settings.pool
    return {
        "path": None if settings.source is None else str(settings.source),
        "endpoints": [
            _endpoint(endpoint, profile, contacts)
            for endpoint, profile in zip(pool.endpoints, first_profiles(pool.endpoints), strict=True)
        ],
        "groups": {
            model: {
                "endpoints": list(group.endpoints),
                "min_quality": group.min_quality,
                "used": [pool.endpoints[index].name for index in pool.serving(model)],
            }
            for model, group in pool.groups.items()
        },
        "policy": {"name": settings.policy.name, "options": dict(settings.policy.options)},
        "rules": asdict(settings.rules),
        "log": {name: str(value) if isinstance(value, Path) else value for name, value in asdict(settings.log).items()},
        "state": {
            "backend": settings.state.backend,
            "interval_s": settings.state.interval_s,
            "clients_supposed": settings.state.clients,
            **({} if state is None else asdict(state)),
        },
        "warnings": [asdict(warning) for warning in warnings],
    }


def _endpoint(endpoint: Endpoint, profile: Profile, contacts: Mapping[str, Contact]) -> dict[str, object]:
    contact = contacts.get(endpoint.name)
    shown = {item.name: getattr(endpoint, item.name) for item in fields(endpoint) if item.name != "api_key"}
    return {
        **shown,
        "has_key": endpoint.api_key is not None,
        "profile": asdict(profile),
        "price": asdict(endpoint.price),
        "tls": asdict(endpoint.tls),
        "capabilities": None if endpoint.capabilities is None else sorted(endpoint.capabilities),
        "reachable": None if contact is None else contact.reachable,
    }


def _show(
    settings: Settings, contacts: Mapping[str, Contact], state: StateContact | None, warnings: list[Advice]
) -> None:
    out = people(pipe_width=160)
    tables = (
        _endpoint_table(settings, contacts),
        _figure_table(settings),
        _group_table(settings),
        _rule_table(settings, state),
    )
    for table in tables:
        out.print(table)
        out.print()
    for warning in warnings:
        out.print(f"warning: {warning}", markup=False, soft_wrap=True)
    out.print("no warnings" if not warnings else f"{len(warnings)} warning{'s' * (len(warnings) > 1)}")


def _endpoint_table(settings: Settings, contacts: Mapping[str, Contact]) -> Table:
    table = Table("endpoint", "kind", "base_url", "model", "key", box=None, pad_edge=False)
    if contacts:
        table.add_column("reachable")
    for endpoint in settings.pool.endpoints:
        cells = [endpoint.name, endpoint.kind, endpoint.base_url, endpoint.model, "yes" if endpoint.api_key else "no"]
        if contacts:
            cells.append("yes" if contacts[endpoint.name].reachable else "no")
        table.add_row(*cells)
    return table


def _figure_table(settings: Settings) -> Table:
    table = Table("endpoint", "ttft", "tpot", "prefill", "limits", "USD/M in, out", "quality", box=None, pad_edge=False)
    endpoints = settings.pool.endpoints
    for endpoint, profile in zip(endpoints, first_profiles(endpoints), strict=True):
        limits = {
            "calls": endpoint.max_concurrency,
            "rpm": endpoint.rpm,
            "tpm": endpoint.tpm,
            "context": endpoint.context_tokens,
        }
        table.add_row(
            endpoint.name,
            f"{profile.ttft_s * 1000:.0f} ms",
            f"{profile.tpot_s * 1000:.1f} ms",
            f"{profile.prefill_tokens_per_s:.0f} tok/s",
            ", ".join(f"{value:g} {name}" for name, value in limits.items() if value is not None) or "none",
            f"{endpoint.price.input:g}, {endpoint.price.output:g}",
            f"{endpoint.quality:g}",
        )
    return table


def _group_table(settings: Settings) -> Table:
    pool = settings.pool
    table = Table("requested model", "answered by", "min_quality", box=None, pad_edge=False)
    for model in [*pool.groups, *sorted({endpoint.model for endpoint in pool.endpoints} - set(pool.groups))]:
        names = [pool.endpoints[index].name for index in pool.serving(model)]
        group = pool.groups.get(model)
        table.add_row(model, ", ".join(names) or "nobody", "" if group is None else f"{group.min_quality:g}")
    return table


def _rule(name: str, value: float | bool | None) -> str:
    """A rule's value as the file would say it."""
    if value is None:
        return "learned"
    if isinstance(value, bool):
        return "auto" if value else "never"
    return f"{value:g}" + (" s" if name.endswith(("_s", "_timeout")) else "")


def _rule_table(settings: Settings, state: StateContact | None) -> Table:
    table = Table("rule", "value", box=None, pad_edge=False)
    options = "".join(f", {name} {value}" for name, value in settings.policy.options.items())
    table.add_row("policy", settings.policy.name + options)
    for section in fields(settings.rules):
        rules = getattr(settings.rules, section.name)
        for item in fields(rules):
            value = getattr(rules, item.name)
            table.add_row(f"{section.name}.{item.name.removesuffix('_s')}", _rule(item.name, value))
    table.add_row("log.path", str(settings.log.path or "no log"))
    shared = f"{settings.state.backend}, every {settings.state.interval_s:g} s"
    if state is not None and state.took_s is not None:
        shared += (
            f": reachable in {state.took_s * 1000:.0f} ms, {state.clients} client{'s' * (state.clients != 1)} there"
        )
    if settings.state.backend == "memory":
        shared = "memory: nothing is shared"
    if settings.state.clients > 1:
        shared += f", {settings.state.clients} clients supposed"
    table.add_row("state", shared)
    return table
