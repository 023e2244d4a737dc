"""Latency at each candidate if one more call joins it: TTFT and TPOT from black-box signals (decision 6)."""

import numpy as np
from numpy.typing import NDArray

from agentsched.core.decision import EndpointStates
from agentsched.core.forecast import QUANTILES, normal_quantiles

__all__ = [
    "KNOWN_SPREAD",
    "PACE_MEMORY_S",
    "answer_samples",
    "completion_samples",
    "lognormal_factors",
    "tpot_if_joined",
    "ttft_if_joined",
]

Array = NDArray[np.float64]

PACE_MEMORY_S = 8.0
"""How long a seen token pace is believed before the profile takes over again, seconds."""

KNOWN_SPREAD = 0.15
"""Log-standard-deviation of a latency around its prediction, for a known length, until an endpoint shows its own."""

# Arrays without dimensions: numpy makes one of every scalar, which takes as long as the sum itself.
_ZERO: Array = np.array(0.0)
_ONE: Array = np.array(1.0)
_LEAST_OF_ALONE: Array = np.array(0.8)
_MINUS_MEMORY_S: Array = np.array(-PACE_MEMORY_S)

_NOISE_ORDER: NDArray[np.intp] = np.argsort((np.arange(QUANTILES) * 19 + 7) % QUANTILES)
_NOISE: Array = normal_quantiles(QUANTILES)[_NOISE_ORDER]
"""Standard normal quantiles in a fixed permutation: sorted ones would add up comonotonically with sorted lengths."""

_SCATTER: Array = normal_quantiles(QUANTILES)[np.argsort((np.arange(QUANTILES) * 11 + 5) % QUANTILES)]
"""Standard normal quantiles in another fixed permutation, for what is independent of lengths and noise."""


def tpot_if_joined(states: EndpointStates) -> Array:
    """Predicted time per output token once the call has joined, seconds, shape (n,).

    d = w * max(.8 a, tpot + b (n + 1 - n_seen)) + (1 - w) (a + b (n + 1)), w = exp(-age / 8 s), n with what is known of
    other clients.
    """
    alone, per_batch, joined = states.tpot_alone_s, states.tpot_per_batch_s, states.in_flight_all + _ONE
    profile = alone + per_batch * joined
    result: Array = np.maximum(_LEAST_OF_ALONE * alone, states.tpot_s + per_batch * (joined - states.tpot_in_flight))
    result -= profile
    result *= np.exp(states.seen_age_s / _MINUS_MEMORY_S)
    result += profile
    return result


def ttft_if_joined(states: EndpointStates, uncached_tokens: Array) -> Array:
    """Predicted time to first token once the call has joined, waiting for a place included, seconds, shape (n,)."""
    speed = states.prefill_tokens_per_s
    result: Array = np.maximum(states.prefill_tokens_all / speed, states.excess_ttft_s)
    result += uncached_tokens / speed
    result += states.ttft_idle_s
    result += states.ready_in_s
    return result


def completion_samples(ttft_s: float, tpot_s: float, output_tokens: Array, spread: float = KNOWN_SPREAD) -> Array:
    """Equally likely end-to-end times, seconds, unsorted, for equally likely output lengths of the same shape.

    ``spread`` is the log-standard-deviation of what such predictions were off by for known lengths.
    """
    samples: Array = (ttft_s + np.maximum(0.0, output_tokens - 1.0) * tpot_s) * np.exp(spread * _NOISE)
    return samples


def answer_samples(ttft_s: float, tpot_s: float, output_tokens: Array, factors: Array) -> Array:
    """As `completion_samples`; ``factors``: quantiles of actual over predicted times, shape (QUANTILES,)."""
    samples: Array = output_tokens - _ONE
    np.maximum(samples, _ZERO, out=samples)
    samples *= tpot_s
    samples += ttft_s
    samples *= factors[_NOISE_ORDER]
    return samples


def lognormal_factors(sigma: float) -> Array:
    """Equally likely factors around 1 with this log-standard-deviation, shape (QUANTILES,), in a fixed permutation."""
    factors: Array = np.exp(sigma * _SCATTER)
    return factors
