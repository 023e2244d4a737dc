"""Situations made by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agentsched.core.call import ModelCall
from agentsched.core.decision import EndpointStates, Situation
from agentsched.core.forecast import QuantileForecast
from agentsched.forecast.latency import tpot_if_joined, ttft_if_joined

IDLE = {
    "in_flight": 0.0,
    "prefill_tokens": 0.0,
    "tpot_s": 0.02,
    "tpot_in_flight": 1.0,
    "seen_age_s": np.inf,
    "excess_ttft_s": 0.0,
    "tpot_alone_s": 0.02,
    "tpot_per_batch_s": 0.0002,
    "prefill_tokens_per_s": 8000.0,
    "ttft_idle_s": 0.3,
    "ready_in_s": 0.0,
    "price_input_usd": 0.0,
    "price_output_usd": 0.0,
    "quality": 1.0,
    "error_rate": 0.0,
    "stake_per_s": 0.0,
    "stake_mean_per_s": 0.0,
    "stake_tokens": 0.0,
    "queue_stake_per_s": 0.0,
    "slots": np.inf,
    "request_s": 0.0,
    "token_s": 0.0,
    "in_flight_all": 0.0,
    "prefill_tokens_all": 0.0,
}

Make = Callable[..., Situation]


def alone(endpoint: dict[str, float]) -> dict[str, float]:
    """Nobody else is known to be there, unless it says so."""
    own = {"in_flight_all": endpoint.get("in_flight", 0.0), "prefill_tokens_all": endpoint.get("prefill_tokens", 0.0)}
    return own | endpoint


@pytest.fixture
def situation() -> Make:
    """One endpoint per dict: what differs from an idle one; keywords: tokens, input_tokens, cached."""

    def make(*endpoints: dict[str, float], tokens: float = 100.0, input_tokens: int = 0, **fields: Any) -> Situation:
        rows = [IDLE | alone(endpoint) for endpoint in endpoints]
        states = EndpointStates(**{name: np.array([row[name] for row in rows]) for name in IDLE})
        cached = np.array(fields.get("cached", [0.0] * len(rows)), dtype=np.float64)
        return Situation(
            call=ModelCall("c", "r", "w", "s", 0, "m", input_tokens=input_tokens),
            names=tuple(f"e{k}" for k in range(len(rows))),
            states=states,
            cached_tokens=cached,
            ttft_s=ttft_if_joined(states, np.maximum(0.0, input_tokens - cached)),
            tpot_s=tpot_if_joined(states),
            output_tokens=QuantileForecast.constant(tokens),
            remainder=None,
            rest_s=None,
            now=100.0,
        )

    return make
