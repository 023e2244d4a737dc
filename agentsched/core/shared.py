"""What clients of the same endpoints tell each other, beyond how busy they keep them (`agentsched.core.load`)."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["LONG_AGO_S", "EndpointKnowledge", "Posting", "combined_knowledge"]


LONG_AGO_S = 3600.0
"""The age of what was never seen, or longer ago than it matters, seconds."""


@dataclass(frozen=True, slots=True)
class Posting:
    """What one client tells all others, as a store carries it.

    Attributes:
        client: who tells it; unique among all clients of the store.
        content: what it tells; opaque to the store.
        age_s: seconds since it was posted, by the store's clock; 0 for the client's own.
    """

    client: str
    content: bytes
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class EndpointKnowledge:
    """What a client knows of an endpoint that others would otherwise have to find out at their own expense.

    Attributes:
        endpoint: the endpoint's name.
        rest_s: seconds for which its server still wants nothing sent to it.
        broken_s: seconds for which this client still leaves it alone after failures.
        requests: requests spent in the last 60 s.
        tokens: tokens spent in the last 60 s.
        tpot_s: its time per output token for a call that is alone, seconds.
        tpot_count: answers that this was learned from, capped; 0: nothing was learned.
        ttft_idle_s: its time to first token when idle, seconds.
        ttft_count: answers that this was learned from, capped.
        pace_s: the time per output token that was last seen there, seconds; 0: none was.
        pace_calls: how many calls ran there then, as far as was known.
        pace_age_s: how long ago that was, seconds.
    """

    endpoint: str
    rest_s: float = 0.0
    broken_s: float = 0.0
    requests: float = 0.0
    tokens: float = 0.0
    tpot_s: float = 0.0
    tpot_count: float = 0.0
    ttft_idle_s: float = 0.0
    ttft_count: float = 0.0
    pace_s: float = 0.0
    pace_calls: float = 0.0
    pace_age_s: float = LONG_AGO_S


def combined_knowledge(clients: Iterable[Iterable[EndpointKnowledge]]) -> tuple[EndpointKnowledge, ...]:
    """What several clients know together, one entry for each endpoint that any of them names.

    What was spent adds up, the longest rest counts, of the speeds the one that was learned from most, and of the paces
    the one that was seen last.
    """
    parts: dict[str, list[EndpointKnowledge]] = {}
    for told in clients:
        for one in told:
            parts.setdefault(one.endpoint, []).append(one)
    return tuple(_combined(endpoint, told) for endpoint, told in parts.items())


def _combined(endpoint: str, told: list[EndpointKnowledge]) -> EndpointKnowledge:
    tpot = max(told, key=lambda one: one.tpot_count)
    ttft = max(told, key=lambda one: one.ttft_count)
    pace = min(told, key=lambda one: one.pace_age_s)
    return EndpointKnowledge(
        endpoint,
        rest_s=max(one.rest_s for one in told),
        broken_s=max(one.broken_s for one in told),
        requests=sum(one.requests for one in told),
        tokens=sum(one.tokens for one in told),
        tpot_s=tpot.tpot_s,
        tpot_count=tpot.tpot_count,
        ttft_idle_s=ttft.ttft_idle_s,
        ttft_count=ttft.ttft_count,
        pace_s=pace.pace_s,
        pace_calls=pace.pace_calls,
        pace_age_s=pace.pace_age_s,
    )
