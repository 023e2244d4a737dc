"""Faults on demand: what can go wrong with an endpoint, when, and for which requests.

A fault comes from the endpoint's configuration, from the control endpoint while it runs, or from the request itself in
the header ``x-emulator-fault`` (``kind`` or ``kind;key=value;...``, e.g. ``cut;after=3``).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentsched.errors import ConfigError

__all__ = ["FAULT_HEADER", "Fault", "FaultBoard", "FaultKind", "parse_fault_header"]

FAULT_HEADER = "x-emulator-fault"

FaultKind = Literal[
    "silent",
    "refuse",
    "stall",
    "drip",
    "drip_comments",
    "cut",
    "malformed_sse",
    "truncated_json",
    "rate_limit",
    "server_error",
    "unavailable",
    "error_in_stream",
    "slow",
]
"""
==================  =================================================================================================
silent              the request is accepted and never answered, not even with headers
refuse              the listener is closed for ``duration_s`` (for ever without it); in a header: connection reset
stall               the body stops for ever after ``after`` chunks (non-stream: after half of it)
drip                the body arrives one byte per ``interval_s``
drip_comments       headers, then nothing but an SSE comment (non-stream: a blank) per ``interval_s``, for ever
cut                 the connection is closed after ``after`` chunks (``clean``: the body ends regularly, but too early)
malformed_sse       after ``after`` chunks comes a line that is no SSE event, and the stream ends
truncated_json      after ``after`` chunks an event holds half a JSON object (non-stream: the body is half the JSON)
rate_limit          429, with ``Retry-After`` if ``retry_after_s`` is given
server_error        500, or ``status``
unavailable         503, with ``Retry-After`` if ``retry_after_s`` is given
error_in_stream     after ``after`` chunks an error object comes in the stream (non-stream: 200 with an error object)
slow                everything arrives, ``factor`` times as late
==================  =================================================================================================
"""


class Fault(BaseModel):
    """One fault and whom it hits.

    Attributes:
        kind: what goes wrong (see `FaultKind`).
        after: content chunks delivered before it goes wrong.
        interval_s: seconds between dripped bytes or comments.
        factor: how many times later everything arrives (slow).
        retry_after_s: value of the ``Retry-After`` header (rate_limit, unavailable); None sends none.
        status: HTTP status (server_error).
        clean: end the body regularly (cut).
        probability: share of the requests that it hits.
        count: how many requests it hits before it is used up; None is no limit.
        start_s: seconds after it was set before it begins to act.
        duration_s: seconds it acts; None is for ever.
        stream: only streams (true), only non-streams (false), or both (none).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: FaultKind
    after: int = Field(default=0, ge=0)
    interval_s: float = Field(default=1.0, gt=0)
    factor: float = Field(default=4.0, gt=0)
    retry_after_s: float | None = Field(default=None, ge=0)
    status: int = Field(default=500, ge=400, le=599)
    clean: bool = False
    probability: float = Field(default=1.0, ge=0, le=1)
    count: int | None = Field(default=None, ge=1)
    start_s: float = Field(default=0.0, ge=0)
    duration_s: float | None = Field(default=None, gt=0)
    stream: bool | None = None


class _Active:
    """A fault on the board, with what is left of it."""

    __slots__ = ("fault", "hits", "since_s")

    def __init__(self, fault: Fault, since_s: float) -> None:
        self.fault = fault
        self.since_s = since_s
        self.hits = 0

    def acts_at(self, now: float) -> bool:
        age = now - self.since_s
        fault = self.fault
        over = fault.duration_s is not None and age >= fault.start_s + fault.duration_s
        return age >= fault.start_s and not over and (fault.count is None or self.hits < fault.count)

    def spent_at(self, now: float) -> bool:
        fault = self.fault
        over = fault.duration_s is not None and now - self.since_s >= fault.start_s + fault.duration_s
        return over or (fault.count is not None and self.hits >= fault.count)


class FaultBoard:
    """The faults set on one endpoint. The first that acts and is drawn hits the request.

    Args:
        rng: the source of chance for ``probability``.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._active: list[_Active] = []

    def add(self, fault: Fault, now: float) -> None:
        """Set a fault; its window counts from ``now``."""
        self._active.append(_Active(fault, now))

    def clear(self) -> None:
        """Take every fault away."""
        self._active.clear()

    def choose(self, *, stream: bool, now: float) -> Fault | None:
        """Return the fault that hits a request arriving now, if any, and count the hit."""
        if not self._active:
            return None
        self._active = [active for active in self._active if not active.spent_at(now)]
        for active in self._active:
            fault = active.fault
            if fault.kind == "refuse" or (fault.stream is not None and fault.stream is not stream):
                continue
            if active.acts_at(now) and (fault.probability >= 1 or self._rng.random() < fault.probability):
                active.hits += 1
                return fault
        return None

    def listing(self, now: float) -> list[dict[str, object]]:
        """Return the faults with their hits, for the control endpoint."""
        return [
            {**active.fault.model_dump(), "hits": active.hits, "acting": active.acts_at(now)} for active in self._active
        ]


def parse_fault_header(text: str) -> Fault:
    """Read ``kind;key=value;...``.

    Raises:
        ConfigError: it does not describe a fault.
    """
    kind, *options = [part.strip() for part in text.split(";") if part.strip()] or [""]
    values: dict[str, str] = {"kind": kind}
    for option in options:
        key, _, value = option.partition("=")
        values[key.strip()] = value.strip()
    try:
        return Fault.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(first["msg"], field=f"{FAULT_HEADER}: {place}", given=text) from None
