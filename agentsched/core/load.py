"""What one client has at an endpoint, as it is told to other clients."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["EndpointLoad", "combined_loads"]


@dataclass(frozen=True, slots=True)
class EndpointLoad:
    """Load at one endpoint: a client's own, when it tells of it; that of all others together, when it is told.

    Attributes:
        endpoint: the endpoint's name.
        in_flight: calls running there.
        prefill_tokens: prompt tokens sent there that still await a first token.
        stake_per_s: what the calls running there lose per second of delay, in expected goodput (the sum of their
            slopes); None: unknown, as where the load was read from the server's metrics.
        stake_mean_per_s: the same, averaged over about 20 s; None: unknown.
        stake_tokens: output tokens that these calls still await, averaged with their stakes as weights; None: unknown.
        queue_stake_per_s: what calls that wait for a slot or a rate limit there lose per second.
    """

    endpoint: str
    in_flight: float
    prefill_tokens: float = 0.0
    stake_per_s: float | None = None
    stake_mean_per_s: float | None = None
    stake_tokens: float | None = None
    queue_stake_per_s: float = 0.0


def combined_loads(clients: Iterable[Iterable[EndpointLoad]]) -> tuple[EndpointLoad, ...]:
    """The load of several clients together, one entry for each endpoint that any of them names.

    A stake is unknown where any part of it is.
    """
    parts: dict[str, list[EndpointLoad]] = {}
    for loads in clients:
        for load in loads:
            parts.setdefault(load.endpoint, []).append(load)
    return tuple(_sum(endpoint, loads) for endpoint, loads in parts.items())


def _sum(endpoint: str, loads: list[EndpointLoad]) -> EndpointLoad:
    stake = _total(load.stake_per_s for load in loads)
    tokens = None
    if stake is not None:
        weighted = _total(
            None if load.stake_tokens is None or load.stake_per_s is None else load.stake_tokens * load.stake_per_s
            for load in loads
        )
        tokens = None if weighted is None else weighted / stake if stake > 0.0 else 0.0
    return EndpointLoad(
        endpoint,
        sum(load.in_flight for load in loads),
        sum(load.prefill_tokens for load in loads),
        stake,
        _total(load.stake_mean_per_s for load in loads),
        tokens,
        sum(load.queue_stake_per_s for load in loads),
    )


def _total(values: Iterable[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total
