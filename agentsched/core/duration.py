"""Durations as people write them, in seconds."""

import math
import re
from datetime import timedelta

from agentsched.errors import ConfigError

__all__ = ["Duration", "parse_duration"]

Duration = float | int | str | timedelta
"""What is accepted where a duration is asked for: ``20``, ``"20s"``, ``"1m30s"``, ``timedelta(seconds=20)``."""

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h)", re.IGNORECASE)
_UNREADABLE = 1e300
_ALLOWED = 'a {} number of seconds,{} or text such as "20s", "1.5m", "250ms", "1m30s"'


def parse_duration(value: Duration, *, field: str, zero: bool = False) -> float:
    """Turn a duration into seconds.

    Args:
        value: see `Duration`.
        field: the name of the field, for the error.
        zero: whether no time at all is a duration too.

    Returns:
        Seconds, finite and greater than zero (with ``zero``: or equal to it).

    Raises:
        ConfigError: the value is of another type, not finite, negative, zero where that is none, or cannot be read.
    """
    seconds = _seconds(value)
    if seconds is None or not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not zero):
        python = "" if isinstance(value, (str, int, float)) else " a timedelta,"  # files and command lines have none
        allowed = _ALLOWED.format("non-negative" if zero else "positive", python)
        raise ConfigError("not a usable duration", field=field, given=value, allowed=allowed)
    return seconds


def _seconds(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value) if abs(value) < _UNREADABLE else math.inf
    if isinstance(value, str):
        return _seconds_of_text(value.strip())
    return None


def _seconds_of_text(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip():
        return None
    return sum(float(number) * _UNIT_S[unit.lower()] for number, unit in parts)
