"""What travels between processes: W3C ``baggage`` and ``traceparent`` headers, and the same in the environment.

An instant means nothing on another machine, so the wire says how many seconds remain; the receiver counts them from
the arrival. Formats: W3C Baggage (2024) and W3C Trace Context (level 1).
"""

import logging
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast
from urllib.parse import quote, unquote

from agentsched.clock import monotonic
from agentsched.workflow.inner import limit_around
from agentsched.workflow.scope import Run

__all__ = ["Arrival", "Headers", "environment_arrival", "propagated_env", "propagated_headers", "read_headers"]

logger = logging.getLogger("agentsched")

Headers = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]
"""Headers as a mapping, or as pairs (ASGI gives pairs of bytes); names in any case, several of one name allowed."""

ENV_BAGGAGE = "AGENTSCHED_BAGGAGE"
ENV_TRACEPARENT = "TRACEPARENT"

MAX_BAGGAGE_BYTES = 8192
"""The size of a baggage header that every receiver must take (W3C Baggage, 3.3.2)."""
MAX_MEMBERS = 64
"""The number of its entries that every receiver must take."""
MAX_NAME_CHARS = 128
MAX_REMAINING_S = 1e8
"""More than three years is no deadline but a mistake."""
MIN_REMAINING_S = 1e-3
"""What is left of a budget that was spent on the way: it cannot be zero, and nothing can be done in it."""

_ARRIVED_AT = monotonic()

_PREFIX = "agentsched."
_RUN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


@dataclass(frozen=True, slots=True)
class Arrival:
    """What another process said about the run that reaches into this one; None: it did not say.

    Attributes:
        remaining_s: seconds that were left on arrival, more than zero.
        run_id: its run.
        workflow: that run's workflow.
        step: the step it was in.
        priority: see `SLO`.
        tenant: see `SLO`.
        trace_id: its trace; empty if there was none.
    """

    remaining_s: float | None = None
    run_id: str | None = None
    workflow: str | None = None
    step: str | None = None
    priority: int | None = None
    tenant: str | None = None
    trace_id: str = ""


def propagated_headers(run: Run | None, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """A copy of ``headers`` that also says what is left of ``run`` in the caller's place; see ``agentsched.propagate``.

    Entries of others stay, unless the header would become larger than receivers must take: then its last ones go.
    """
    made = dict(headers or {})
    if run is None:
        return made
    names = {name.lower(): name for name in made}
    baggage = names.get("baggage", "baggage")
    made[baggage] = _joined(_entries_of(run), made.get(baggage, ""))
    if "traceparent" not in names:
        made["traceparent"] = _traceparent_of(run)
    return made


def propagated_env(run: Run | None, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """A copy of ``env`` (None: this process's) that says what is left of ``run``; see ``agentsched.propagate_env``."""
    made = dict(os.environ if env is None else env)
    if run is not None:
        made[ENV_BAGGAGE] = _joined(_entries_of(run), "")
        made.setdefault(ENV_TRACEPARENT, _traceparent_of(run))
    return made


def _entries_of(run: Run) -> list[str]:
    limit_at = limit_around(run)
    values = {
        "remaining_s": None if limit_at is None else f"{max(0.0, limit_at - run.clock()):.3f}",
        "run": run.run_id,
        "workflow": _cleaned(run.workflow),
        "step": _cleaned(run.step or ""),
        "priority": str(run.slo.priority) if run.slo.priority else None,
        "tenant": _cleaned(run.slo.tenant),
    }
    return [f"{_PREFIX}{key}={quote(value, safe='', errors='replace')}" for key, value in values.items() if value]


def _joined(ours: list[str], before: str) -> str:
    others = [member for member in map(str.strip, before.split(",")) if member and not _key_of(member)]
    while others and (len(ours) + len(others) > MAX_MEMBERS or len(",".join(others + ours)) > MAX_BAGGAGE_BYTES):
        others.pop()
    return ",".join(others + ours)


def _key_of(member: str) -> str:
    """Which of our entries this member of a baggage header is; empty if it is somebody else's."""
    key = member.partition("=")[0].strip()
    return key.removeprefix(_PREFIX) if key.startswith(_PREFIX) else ""


def _traceparent_of(run: Run) -> str:
    if not run.trace_id:
        trace_id = next((outer.trace_id for outer in run.lineage() if outer.trace_id), "") or os.urandom(16).hex()
        for each in run.lineage():
            each.trace_id = each.trace_id or trace_id
    return f"00-{run.trace_id}-{os.urandom(8).hex()}-01"


def _cleaned(name: str) -> str:
    """A name fit for logs and labels: printable, of bounded length."""
    text = name[:MAX_NAME_CHARS]
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def read_headers(headers: Headers) -> Arrival | None:
    """What ``headers`` say about a run; None if they say nothing.

    Whatever cannot be used is left out, with one warning that names it; nothing is raised.
    """
    return _read(_values(headers, "baggage"), _values(headers, "traceparent"))


def _values(headers: Headers, name: str) -> str:
    # Not every collection of headers is a Mapping, but every one that is no list of pairs has items().
    items = getattr(headers, "items", None)
    pairs = cast(Iterable[tuple[object, object]], headers if items is None else items())
    return ",".join(_text(value) for key, value in pairs if _text(key).lower() == name)


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def environment_arrival(now: float) -> Arrival | None:
    """What the process that started this one said about its run in ``AGENTSCHED_BAGGAGE``; None: nothing.

    Args:
        now: the instant from which ``remaining_s`` of the answer counts. The time since this module was imported,
            which stands for the arrival, has been taken off.
    """
    baggage = os.environ.get(ENV_BAGGAGE)
    if not baggage:
        return None
    arrival = _read_once(baggage, os.environ.get(ENV_TRACEPARENT, ""))
    if arrival is None or arrival.remaining_s is None:
        return arrival
    return replace(arrival, remaining_s=max(MIN_REMAINING_S, arrival.remaining_s - (now - _ARRIVED_AT)))


def _read(baggage: str, traceparent: str) -> Arrival | None:
    said: dict[str, str] = {}
    for member in baggage.split(","):
        key = _key_of(member.strip())
        if key:
            said[key] = unquote(member.partition("=")[2].partition(";")[0].strip(), errors="replace")
    if not said:
        return None
    trace = _TRACEPARENT.fullmatch(traceparent)
    arrival = Arrival(
        remaining_s=_remaining(said.get("remaining_s")),
        run_id=_matching(_RUN_ID, said.get("run")),
        workflow=_cleaned(said.get("workflow", "")) or None,
        step=_cleaned(said.get("step", "")) or None,
        priority=_priority(said.get("priority")),
        tenant=_cleaned(said.get("tenant", "")) or None,
        trace_id=trace.group(1) if trace else "",
    )
    unused = {key: said[key][:60] for key, field in _CHECKED.items() if key in said and getattr(arrival, field) is None}
    if traceparent and not trace:
        unused["traceparent"] = traceparent[:60]
    if unused:
        logger.warning("ignoring what another process sent about its run, as it cannot be used: %r", unused)
    return arrival


_read_once = lru_cache(maxsize=4)(_read)
"""For the environment, which every run looks at: what cannot be used is warned of once."""

_CHECKED = {"remaining_s": "remaining_s", "run": "run_id", "priority": "priority"}


def _remaining(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return max(MIN_REMAINING_S, seconds) if math.isfinite(seconds) and seconds <= MAX_REMAINING_S else None


def _matching(pattern: re.Pattern[str], text: str | None) -> str | None:
    return text if text is not None and pattern.fullmatch(text) else None


def _priority(text: str | None) -> int | None:
    if text is None or not re.fullmatch(r"-?[0-8]", text, re.ASCII):
        return None
    return int(text)
