"""Instances that do one task at a time, and arrivals that fill an interval: what SwarmX's experiments share."""

import numpy as np

__all__ = ["AT_ONCE", "HELD", "SERIAL", "TOKENS_PER_S", "spread_over"]

TOKENS_PER_S = 100.0
SERIAL = {
    "step_base_s": 1 / TOKENS_PER_S,
    "step_per_sequence_s": 0.0,
    "step_per_kv_token_s": 0.0,
    "prefill_tokens_per_s": 1e6,
    "max_slots": 1,
    "kv_tokens": 1_000_000,
}
"""One task at a time, in order of arrival; a second of service is 100 tokens."""

AT_ONCE = "at once"
"""Whether a router commits a task to an instance when it arrives..."""
HELD = "when one is free"
"""... or holds it until an instance can begin."""


def spread_over(rng: np.random.Generator, count: int, seconds: float) -> list[float]:
    """Arrivals of a Poisson process that has so many of them in so many seconds; the last one comes at the end."""
    gaps = rng.exponential(1.0, count)
    times: list[float] = (np.cumsum(gaps) * (seconds / gaps.sum())).tolist()
    return times
