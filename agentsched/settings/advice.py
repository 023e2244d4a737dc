"""What is valid in a configuration and yet probably not meant."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from agentsched.core.endpoint import Endpoint, Group, Pool
from agentsched.settings.values import Settings

__all__ = ["Advice", "advise", "is_loopback"]


@dataclass(frozen=True, slots=True)
class Advice:
    """One remark: what it is about (``endpoint gpu``, ``group gpt-4.1``) and what to think of."""

    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"


def advise(settings: Settings) -> tuple[Advice, ...]:
    """Look for what is probably not meant; nothing is contacted."""
    pool = settings.pool
    remarks = [Advice("configuration", warning) for warning in settings.warnings]
    for endpoint in pool.endpoints:
        subject = f"endpoint {endpoint.name}"
        remarks += [Advice(subject, text) for text in (*_transport(endpoint), *_reach(endpoint, pool))]
    for model, group in pool.groups.items():
        remarks += [Advice(f"group {model}", text) for text in _group(group, pool)]
    return tuple(remarks)


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine, going by its name."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _transport(endpoint: Endpoint) -> Iterator[str]:
    url = urlsplit(endpoint.base_url)
    if is_loopback(endpoint.base_url):
        return
    if url.scheme == "http":
        what = "prompts travel" if endpoint.api_key is None else "prompts and the key travel"
        yield f"{what} unencrypted to {url.hostname} (http)"
    if not endpoint.tls.verify:
        yield f"anybody who answers for {url.hostname} is believed (tls.verify: false)"
    if endpoint.api_key is None and (url.scheme == "https" or endpoint.kind in ("openai", "azure")):
        yield "has no api_key"


def _reach(endpoint: Endpoint, pool: Pool) -> Iterator[str]:
    grouped = {name for group in pool.groups.values() for name in group.endpoints}
    if not pool.groups or endpoint.name in grouped:
        return
    if endpoint.model in pool.groups:
        yield f"is in no group, and the group {endpoint.model!r} stands for its model: no request reaches it"
    else:
        yield f"is in no group: only requests for the model {endpoint.model!r} reach it"


def _group(group: Group, pool: Pool) -> Iterator[str]:
    members = [endpoint for endpoint in pool.endpoints if endpoint.name in group.endpoints]
    usable = [endpoint for endpoint in members if endpoint.quality >= group.min_quality]
    if not usable:
        yield f"none of its endpoints reaches min_quality {group.min_quality:g}: its requests fail"
    for endpoint in members:
        if usable and endpoint not in usable:
            below = f"quality {endpoint.quality:g} is below min_quality {group.min_quality:g}"
            yield f"{endpoint.name} is never used: its {below}"
    qualities = sorted({endpoint.quality for endpoint in usable})
    if len(qualities) > 1 and group.min_quality == 0.0:
        low, high = qualities[0], qualities[-1]
        yield f"mixes qualities from {low:g} to {high:g}: any of them may answer, unless min_quality is set"
