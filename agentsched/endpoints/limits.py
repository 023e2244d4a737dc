"""What servers say of their limits: ``Retry-After`` and ``x-ratelimit-*``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["Limits", "limits_of", "retry_after_s"]

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S = 86400.0
"""A server is left in peace for a day at most; longer rests are cut to this, longer resets are no durations."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is left of requests and tokens, and seconds until they are whole again; None where it was not said."""

    remaining_requests: float | None
    reset_requests_s: float | None
    remaining_tokens: float | None
    reset_tokens_s: float | None


def retry_after_s(headers: Mapping[str, str], wall_now: float) -> float | None:
    """How long the server asks to be left in peace, seconds; None if it does not say or cannot be read.

    Reads ``retry-after-ms``, and ``retry-after`` as seconds or as an HTTP date (RFC 9110, section 10.2.3).
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(_LONGEST_S, milliseconds / 1000.0)
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return min(_LONGEST_S, seconds)
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # HTTP dates are in GMT, also where they do not say so
            date = date.replace(tzinfo=UTC)
        return min(_LONGEST_S, max(0.0, date.timestamp() - wall_now))
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def limits_of(headers: Mapping[str, str]) -> Limits | None:
    """The ``x-ratelimit-*`` headers; None if nothing is used up: only then they matter before the next call."""
    requests = _number(headers.get("x-ratelimit-remaining-requests"))
    tokens = _number(headers.get("x-ratelimit-remaining-tokens"))
    if (requests is None or requests > 0) and (tokens is None or tokens > 0):
        return None
    return Limits(
        requests,
        _duration(headers.get("x-ratelimit-reset-requests")),
        tokens,
        _duration(headers.get("x-ratelimit-reset-tokens")),
    )


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if 0.0 <= value < float("inf") else None


def _duration(text: str | None) -> float | None:
    """``"6m0s"``, ``"20ms"``, ``"1.5"`` in seconds; None for more than a day: some servers send an instant instead."""
    seconds = _number(text)
    if seconds is None and text is not None:
        parts = _PART.findall(text)
        if parts and not _PART.sub("", text).strip():
            seconds = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    return None if seconds is None or seconds > _LONGEST_S else seconds
