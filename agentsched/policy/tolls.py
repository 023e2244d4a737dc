"""What a newcomer's load costs those who are there already: marginal prices, so never to be summed into totals."""

import numpy as np
from numpy.typing import NDArray

from agentsched.core.decision import EndpointStates

__all__ = ["latency_toll_s", "toll"]

Array = NDArray[np.float64]


def toll(
    states: EndpointStates,
    reading_s: Array,
    expected_s: Array,
    input_tokens: float,
    output_tokens: float,
    queue_weight: float,
) -> Array:
    """The expected goodput that the call takes from others at each candidate, shape (n,).

    In the batch, g being the stakes of those who run there per second of delay, ge their average over 20 s, r the
    tokens they still await: reading the prompt delays all by reading_s, and each token of ours slows those of theirs
    that are decoded beside it by b,

        reading_s max(g, (g + ge) / 2) + b (min(L, r) g + max(0, L - r) ge).

    In the queue, q being the stakes of those who wait: a slot is held for expected_s, and one of ``slots`` slots comes
    free for them that much later, by expected_s / slots on average; one request of a rate limit is granted every
    request_s, one token every token_s, so all who wait do so longer by request_s + tokens token_s,

        q (expected_s / slots + request_s + (input + L) token_s).
    """
    now, mean = states.stake_per_s, states.stake_mean_per_s
    beside = np.minimum(output_tokens, states.stake_tokens)
    fee: Array = beside * now
    fee += (output_tokens - beside) * mean
    fee *= states.tpot_per_batch_s
    fee += reading_s * np.maximum(now, 0.5 * (now + mean))
    if queue_weight and np.count_nonzero(states.queue_stake_per_s):
        held = np.maximum(0.0, expected_s - states.ready_in_s) / states.slots
        held += states.request_s + (input_tokens + output_tokens) * states.token_s
        fee += queue_weight * states.queue_stake_per_s * np.where(states.ready_in_s < np.inf, held, 0.0)
    return fee


def latency_toll_s(states: EndpointStates, reading_s: Array, output_tokens: float) -> Array:
    """The seconds that the call takes from all who run at each candidate together, shape (n,)."""
    harm: Array = states.tpot_per_batch_s * output_tokens
    harm += reading_s
    harm *= states.in_flight_all
    return harm
