"""What a client tells others of its endpoints beyond its load, and what it makes of what they tell.

Only what a client saw itself is told, never what it was told: else a rest that one of them saw would be passed round,
a little longer each time, for ever.
"""

from agentsched.core.shared import LONG_AGO_S, EndpointKnowledge
from agentsched.scheduler.endpoint_table import EndpointTable
from agentsched.scheduler.events import OthersKnow

__all__ = ["first_hand", "take_over"]

_SEEN_LATELY_S = 5.0
"""Who had tokens from an endpoint within this time does not believe others that it is out of order, seconds."""

_NEWCOMER = 4.0
"""Who has learned an endpoint's speed from fewer answers takes over what others have learned ..."""

_TRUST = 8.0
"""... and lets it count as so many of its own at most: hosts differ in their way to the server."""

_NEWER_S = 0.25
"""A pace that others saw is believed if it is newer by this much: ages are known no better, seconds."""


def first_hand(table: EndpointTable, now: float) -> tuple[EndpointKnowledge, ...]:
    """What this client has seen of each endpoint that it has used."""
    return tuple(_of(table, i, now) for i in range(len(table.endpoints)) if _used(table, i, now))


def _used(table: EndpointTable, i: int, now: float) -> bool:
    closed = max(table.gates.blocked_until.item(i), table.gates.open_until.item(i)) > now
    return closed or table.speeds.heard[i] > 0 or table.gates.spent(i, now) != (0.0, 0.0)


def _of(table: EndpointTable, i: int, now: float) -> EndpointKnowledge:
    requests, tokens = table.gates.spent(i, now)
    return EndpointKnowledge(
        table.endpoints[i].name,
        rest_s=max(0.0, table.gates.blocked_until.item(i) - now),
        broken_s=max(0.0, table.gates.open_until.item(i) - now),
        requests=requests,
        tokens=tokens,
        tpot_s=table.rows.tpot_alone_s.item(i),
        tpot_count=min(table.speeds.heard[i], table.speeds.pace_count[i] - 1.0),
        ttft_idle_s=table.rows.ttft_idle_s.item(i),
        ttft_count=min(table.speeds.heard[i], table.speeds.ttft_count[i] - 1.0),
        pace_s=table.rows.tpot_s.item(i),
        pace_calls=table.rows.tpot_in_flight.item(i),
        pace_age_s=min(LONG_AGO_S, now - table.speeds.pace_seen_at[i]),
    )


def take_over(table: EndpointTable, event: OthersKnow, now: float) -> list[int]:
    """Believe others as far as this client does not know better; answers which endpoints are open again by that."""
    told = {known.endpoint: known for known in event.knowledge}
    opened = []
    for i, endpoint in enumerate(table.endpoints):
        known = told.get(endpoint.name, EndpointKnowledge(endpoint.name))
        works = now - table.rows.seen_at.item(i) < _SEEN_LATELY_S
        closed_until = event.at + (known.rest_s if works else max(known.rest_s, known.broken_s))
        if table.gates.told_until[i] > now >= closed_until:
            opened.append(i)
        table.gates.told(i, closed_until=closed_until, requests=known.requests, tokens=known.tokens, at=event.at)
        _take_over_speed(table, i, known)
        _take_over_pace(table, i, known, event.at)
    return opened


def _take_over_speed(table: EndpointTable, i: int, known: EndpointKnowledge) -> None:
    if table.speeds.pace_count[i] < _NEWCOMER <= known.tpot_count and known.tpot_s > 0.0:
        table.speeds.learned_pace(i, known.tpot_s, min(_TRUST, known.tpot_count))
    if table.speeds.ttft_count[i] < _NEWCOMER <= known.ttft_count and known.ttft_idle_s > 0.0:
        table.speeds.learned_ttft(i, known.ttft_idle_s, min(_TRUST, known.ttft_count))


def _take_over_pace(table: EndpointTable, i: int, known: EndpointKnowledge, at: float) -> None:
    """The last look at an endpoint's pace counts, whoever had it: one of many clients has few tokens of its own."""
    seen_at, rows = at - known.pace_age_s, table.rows
    if known.pace_s > 0.0 and seen_at > rows.seen_at.item(i) + _NEWER_S:
        rows.tpot_s[i], rows.tpot_in_flight[i], rows.seen_at[i] = known.pace_s, known.pace_calls, seen_at
