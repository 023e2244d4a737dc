"""Fused choice of model and instance, the rule of RouteBalance: one weighted sum over concrete endpoints."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from agentsched.core.decision import Choice, Situation
from agentsched.errors import ConfigError
from agentsched.policy.options import number
from agentsched.policy.space import Between, Space

__all__ = ["Fused"]

_WEIGHTS = {
    "balanced": (0.25, 0.25, 0.25, 0.25),
    "latency_heavy": (0.1, 0.1, 0.7, 0.1),
    "quality_heavy": (0.7, 0.1, 0.1, 0.1),
    "cost_heavy": (0.1, 0.7, 0.1, 0.1),
}
"""Quality, cost, latency, load. The published settings are known by name only: the figures are ours."""


class Fused:
    """argmax of q Q + c (1 - cost / max cost) + l (1 - latency / max latency) + b (1 - load / max load).

    RouteBalance (its paper and released code) routes to a model and to an instance of it in one step, each term being
    scaled by its maximum over this request's candidates. Its dead reckoning, the count of what it has sent and not yet
    got back, is the scheduler's own ledger here. Its batches, longest first, are more than a socket that places one
    call holds. Candidates below the call's ``min_quality`` or beyond the run's ``max_cost_usd`` are none.

    Args:
        preset: ``balanced``, ``latency_heavy``, ``quality_heavy`` or ``cost_heavy``.
        quality: weight of the declared quality, in place of the preset's.
        cost: weight of the expected cost of this call.
        latency: weight of its expected time.
        load: weight of the own calls in flight.

    Raises:
        ConfigError: the preset is unknown or a weight is no number from 0 on.
    """

    name = "fused"
    space: ClassVar[Space] = {name: Between(0.0, 1.0) for name in ("quality", "cost", "latency", "load")}

    def __init__(
        self,
        preset: str = "balanced",
        quality: float | None = None,
        cost: float | None = None,
        latency: float | None = None,
        load: float | None = None,
    ) -> None:
        if preset not in _WEIGHTS:
            raise ConfigError("unknown", field="policy.preset", given=preset, allowed=", ".join(_WEIGHTS))
        given = {"quality": quality, "cost": cost, "latency": latency, "load": load}
        self._weights = tuple(
            usual if value is None else number(option, value, 0.0, 1e6)
            for (option, value), usual in zip(given.items(), _WEIGHTS[preset], strict=True)
        )

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        states, tokens = situation.states, situation.output_tokens.mean
        quality, cost, latency, load = self._weights
        times_s = situation.ttft_s + max(0.0, tokens - 1.0) * situation.tpot_s
        usd = situation.call.input_tokens * states.price_input_usd + tokens * states.price_output_usd
        scores = quality * states.quality
        scores += cost * _spared(usd)
        scores += latency * _spared(times_s)
        scores += load * _spared(states.in_flight)
        scores[np.isinf(times_s)] = -np.inf
        return Choice(int(scores.argmax()), scores)


def _spared(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - value / the largest finite one; 1 where all are 0."""
    largest = float(np.max(values, where=np.isfinite(values), initial=0.0))
    return np.ones_like(values) if largest <= 0.0 else 1.0 - np.minimum(values, largest) / largest
