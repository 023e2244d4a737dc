"""What a client tells the others, as bytes.

JSON: ``[version, {endpoint key: [figures]}]``. Endpoints go by a key made of what they are, as every process may name
them otherwise; no address, no credential and nothing of a prompt is in it. Figures have four digits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from hashlib import blake2b
from urllib.parse import urlsplit

import orjson

from agentsched.core.endpoint import Endpoint
from agentsched.core.load import EndpointLoad
from agentsched.core.shared import EndpointKnowledge

__all__ = ["decoded", "encoded", "endpoint_key"]

_VERSION = 2

_LOAD = tuple(item.name for item in fields(EndpointLoad) if item.name != "endpoint")
_KNOWLEDGE = tuple(item.name for item in fields(EndpointKnowledge) if item.name != "endpoint")
_PORTS = {"http": 80, "https": 443}
_LOOPBACK, _LOOPBACK_TOO = "localhost", ("127.0.0.1", "::1")
_IDLE = EndpointLoad("", 0.0)
_MOST = 1e12


def endpoint_key(endpoint: Endpoint, host: str) -> str:
    """What names an endpoint among all clients: its server and model.

    Args:
        endpoint: whose key is asked for.
        host: where its address leads there and nowhere else: this machine's name for a loopback address, else empty.
    """
    text = "\n".join((host, _address(endpoint.base_url), endpoint.model))
    return blake2b(text.encode(), digest_size=9).hexdigest()


def _address(base_url: str) -> str:
    """The same for all ways of writing down one address; the usual names of the loopback are one.

    Other addresses of 127.0.0.0/8 and names below .localhost stay what they are: other servers may listen there.
    """
    url = urlsplit(base_url)
    host = url.hostname or ""
    host = _LOOPBACK if host in _LOOPBACK_TOO else f"[{host}]" if ":" in host else host
    port = "" if url.port in (None, _PORTS.get(url.scheme)) else f":{url.port}"
    return f"{url.scheme}://{host}{port}{url.path.rstrip('/')}"


def encoded(loads: Iterable[EndpointLoad], knowledge: Iterable[EndpointKnowledge], keys: Mapping[str, str]) -> bytes:
    """What is told of the endpoints whose names ``keys`` translates."""
    busy = {load.endpoint: load for load in loads}
    told: dict[str, list[float | None]] = {}
    for known in knowledge:
        load = busy.pop(known.endpoint, _IDLE)
        told[keys[known.endpoint]] = [*_figures(load, _LOAD), *_figures(known, _KNOWLEDGE)]
    for name, load in busy.items():
        told[keys[name]] = [*_figures(load, _LOAD), *_figures(EndpointKnowledge(name), _KNOWLEDGE)]
    return orjson.dumps([_VERSION, told])


def _figures(value: object, names: tuple[str, ...]) -> list[float | None]:
    figures = [getattr(value, name) for name in names]
    return [None if figure is None else float(f"{figure:.4g}") for figure in figures]


def decoded(content: bytes, names: Mapping[str, str]) -> tuple[tuple[EndpointLoad, ...], tuple[EndpointKnowledge, ...]]:
    """Load and knowledge of those endpoints that are known here; ``names``: key -> name.

    Raises:
        ValueError: it is none of this version's contents.
    """
    version, told = _pair(orjson.loads(content))
    if version != _VERSION or not isinstance(told, dict):
        raise ValueError(f"not contents of version {_VERSION}")
    loads, knowledge = [], []
    for key, figures in told.items():
        name = names.get(key)
        if name is not None:
            load, known = _read(name, figures)
            loads.append(load)
            knowledge.append(known)
    return tuple(loads), tuple(knowledge)


def _pair(value: object) -> tuple[object, object]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("not a version and what it has")
    return value[0], value[1]


def _read(name: str, figures: object) -> tuple[EndpointLoad, EndpointKnowledge]:
    if not isinstance(figures, list) or len(figures) != len(_LOAD) + len(_KNOWLEDGE):
        raise ValueError(f"other figures than {', '.join(_LOAD + _KNOWLEDGE)}")
    load = {item: _checked(figure) for item, figure in zip(_LOAD, figures, strict=False)}
    known = {item: _checked(figure) for item, figure in zip(_KNOWLEDGE, figures[len(_LOAD) :], strict=True)}
    given = {item: figure for item, figure in known.items() if figure is not None}
    return (
        EndpointLoad(
            name,
            load.pop("in_flight") or 0.0,
            load.pop("prefill_tokens") or 0.0,
            queue_stake_per_s=load.pop("queue_stake_per_s") or 0.0,
            **load,
        ),
        EndpointKnowledge(name, **given),
    )


def _checked(figure: object) -> float | None:
    if figure is None:
        return None
    if isinstance(figure, bool) or not isinstance(figure, (int, float)) or not 0.0 <= figure < _MOST:
        raise ValueError("a figure is not a plausible number")
    return float(figure)
