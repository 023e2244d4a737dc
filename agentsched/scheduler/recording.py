"""Events and actions as JSON lines, exactly: what a live scheduler did can be done again by a fresh one.

One line is ``{"now": seconds, "event": ..., "actions": [...]}``. Values that JSON lacks carry a tag: ``{"!": "Name"}``
for a dataclass, ``!tuple``, ``!set``, ``!array``, ``!map``. Floats survive because JSON prints them shortest-exact.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

from agentsched.core import call, decision, forecast, records
from agentsched.errors import ConfigError
from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.scheduler import actions, events
from agentsched.scheduler.actions import Action
from agentsched.scheduler.events import Event
from agentsched.scheduler.scheduler import Scheduler

__all__ = ["decode", "encode", "encode_line", "first_difference", "read_lines"]

_CLASSES: dict[str, type] = {
    name: value
    for module in (call, decision, records, events, actions)
    for name, value in vars(module).items()
    if isinstance(value, type) and (is_dataclass(value) or issubclass(value, Enum))
} | {cls.__name__: cls for cls in (EmpiricalLengths, EmpiricalRemainders, forecast.QuantileForecast)}


def encode(value: Any) -> Any:
    """The JSON form of an event, an action, or anything inside one."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"!enum": [type(value).__name__, value.value]} if isinstance(value, Enum) else value
    if is_dataclass(value) and not isinstance(value, type):
        return {"!": type(value).__name__} | {f.name: encode(getattr(value, f.name)) for f in fields(value)}
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
        ConfigError: a tag or a class name is unknown.
    """
    if not isinstance(value, dict):
        return value
    tag = next(iter(value))
    inner = value[tag]
    if tag == "!":
        known = _CLASSES.get(inner)
        if known is None:
            raise ConfigError("unknown class in a recording", given=inner, allowed="a recording of this version")
        return known(**{name: decode(item) for name, item in value.items() if name != "!"})
    if tag == "!tuple":
        return tuple(decode(item) for item in inner)
    if tag == "!set":
        return frozenset(inner)
    if tag == "!array":
        return np.array(inner, dtype=np.float64)
    if tag == "!map":
        return {decode(key): decode(item) for key, item in inner}
    if tag == "!enum":
        return _CLASSES[inner[0]](inner[1])
    raise ConfigError("unknown tag in a recording", given=tag, allowed="a recording of this version")


def encode_line(event: Event, now: float, done: Iterable[Action]) -> str:
    """One line of a recording, without its newline."""
    line = {"now": now, "event": encode(event), "actions": [encode(action) for action in done]}
    return json.dumps(line, separators=(",", ":"))


def read_lines(lines: Iterable[str]) -> Iterator[tuple[Event, float, list[Any]]]:
    """The events of a recording with their instants and the still encoded actions."""
    for line in lines:
        held = json.loads(line)
        yield decode(held["event"]), held["now"], held["actions"]


def first_difference(lines: Iterable[str], fresh: Scheduler) -> str | None:
    """Feed a recording to a fresh scheduler; None if it acts exactly as recorded, else where it first differs."""
    for number, (event, now, recorded) in enumerate(read_lines(lines), start=1):
        acted = [json.loads(json.dumps(encode(action))) for action in fresh.handle(event, now=now)]
        if acted != recorded:
            return f"line {number}: {type(event).__name__} at {now}: {acted} instead of {recorded}"
    return None
