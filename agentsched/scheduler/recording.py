"""Events and actions as JSON lines, exactly: what a live scheduler did can be done again by a fresh one.

One line is ``{"now": seconds, "event": ..., "actions": [...]}``. Values that JSON lacks carry a tag: ``{"!": "Name"}``
for a dataclass, ``!tuple``, ``!set``, ``!array``, ``!map``,
``!bytes``. Floats survive because JSON prints them shortest-exact.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

from agentsched.core import call, decision, forecast, load, records, remainder, shared
from agentsched.errors import ConfigError
from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.outlook import StructureOutlook
from agentsched.forecast.past_calls import Index, PastCalls
from agentsched.forecast.quality import EmpiricalQualities, Judged, Prompts
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.scheduler import actions, events
from agentsched.scheduler.actions import Action
from agentsched.scheduler.events import Event
from agentsched.scheduler.scheduler import Scheduler

__all__ = ["decode", "encode", "encode_line", "first_difference", "read_lines"]

_ALLOWED = "a recording of this version"

_CLASSES: dict[str, type] = {
    name: value
    for module in (call, decision, load, records, remainder, shared, events, actions)
    for name, value in vars(module).items()
    if isinstance(value, type) and (is_dataclass(value) or issubclass(value, Enum))
} | {
    cls.__name__: cls
    for cls in (
        EmpiricalQualities,
        Judged,
        Prompts,
        EmpiricalLengths,
        EmpiricalRemainders,
        PastCalls,
        Index,
        StructureOutlook,
        forecast.QuantileForecast,
    )
}


def encode(value: Any) -> Any:
    """The JSON form of an event, an action, or anything inside one."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"!enum": [type(value).__name__, value.value]} if isinstance(value, Enum) else value
    if is_dataclass(value) and not isinstance(value, type):
        return {"!": type(value).__name__} | {f.name: encode(getattr(value, f.name)) for f in fields(value) if f.init}
    if isinstance(value, bytes):
        return {"!bytes": b64encode(value).decode("ascii")}
    if isinstance(value, np.ndarray):
        return {"!array": value.tolist()}
    if isinstance(value, Mapping):
        return {"!map": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, (frozenset, set)):
        return {"!set": sorted(value)}
    if isinstance(value, (tuple, list)):
        return {"!tuple": [encode(item) for item in value]}
    raise TypeError(f"{type(value).__name__} has no recorded form")


def decode(value: Any) -> Any:
    """The inverse of `encode`.

    Raises:
        ConfigError: a tag or a class is unknown, or a class has other fields than in this version.
    """
    if not isinstance(value, dict):
        return value
    tag = next(iter(value), None)
    if tag == "!":
        return _decode_object(value)
    if tag == "!tuple":
        return tuple(decode(item) for item in value[tag])
    if tag == "!set":
        return frozenset(value[tag])
    if tag == "!bytes":
        return b64decode(value[tag], validate=True)
    if tag == "!array":
        return np.array(value[tag], dtype=np.float64)
    if tag == "!map":
        return {decode(key): decode(item) for key, item in value[tag]}
    if tag == "!enum":
        name, member = value[tag]
        return _known(name)(member)
    raise ConfigError("unknown tag in a recording", given=tag, allowed=_ALLOWED)


def _decode_object(value: dict[str, Any]) -> Any:
    made = _known(value["!"])
    try:
        return made(**{name: decode(item) for name, item in value.items() if name != "!"})
    except TypeError as error:
        raise ConfigError(f"another {made.__name__} in a recording: {error}", allowed=_ALLOWED) from error


def _known(name: object) -> type:
    known = _CLASSES.get(name) if isinstance(name, str) else None
    if known is None:
        raise ConfigError("unknown class in a recording", given=name, allowed=_ALLOWED)
    return known


def encode_line(event: Event, now: float, done: Iterable[Action]) -> str:
    """One line of a recording, without its newline."""
    line = {"now": now, "event": encode(event), "actions": [encode(action) for action in done]}
    return json.dumps(line, separators=(",", ":"))


def read_lines(lines: Iterable[str]) -> Iterator[tuple[Event, float, list[Any]]]:
    """The events of a recording with their instants and the still encoded actions.

    Raises:
        ConfigError: a line is none of a recording; it tells which.
    """
    for number, line in enumerate(lines, start=1):
        try:
            held = json.loads(line)
            yield decode(held["event"]), held["now"], held["actions"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"not readable: {error}", field=f"line {number}", allowed=_ALLOWED) from error


def first_difference(lines: Iterable[str], fresh: Scheduler) -> str | None:
    """Feed a recording to a fresh scheduler; None if it acts exactly as recorded, else where it first differs."""
    for number, (event, now, recorded) in enumerate(read_lines(lines), start=1):
        acted = [json.loads(json.dumps(encode(action))) for action in fresh.handle(event, now=now)]
        if acted != recorded:
            return f"line {number}: {type(event).__name__} at {now}: {acted} instead of {recorded}"
    return None
