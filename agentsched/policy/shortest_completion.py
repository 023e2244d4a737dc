"""Shortest expected completion, with the toll that a newcomer's load takes from those already running."""

from typing import ClassVar

import numpy as np

from agentsched.core.decision import Choice, Situation
from agentsched.policy.options import number
from agentsched.policy.space import Between, Space

__all__ = ["ShortestExpectedCompletion"]

_WORST_ERROR_RATE = 0.8
"""Error rates above this count as this: a penalty without a cap would never let an endpoint come back."""


class ShortestExpectedCompletion:
    """argmin of T_i / (1 - e_i) + toll * n_i (b_i L + N_i / prate_i), in seconds.

    T_i is the expected completion time of this call at i, e_i its recent error rate (a failed try is repeated, so the
    expected time is that of a geometric series), n_i the calls in flight there, each of which is slowed by b_i per
    token of this one and by the time its prompt is read: the latency toll of decision 6.

    Args:
        toll: weight of the harm done to others; 0 is the selfish rule.

    Raises:
        ConfigError: ``toll`` is no finite number from 0 on.
    """

    name = "shortest_expected_completion"
    space: ClassVar[Space] = {"toll": Between(0.02, 10.0, log=True)}

    def __init__(self, toll: float = 1.0) -> None:
        self._toll = number("toll", toll, 0.0, 1e308)

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        states, tokens = situation.states, situation.output_tokens.mean
        cost = max(0.0, tokens - 1.0) * situation.tpot_s
        cost += situation.ttft_s
        cost /= 1.0 - np.minimum(states.error_rate, _WORST_ERROR_RATE)
        harm = situation.uncached_tokens / states.prefill_tokens_per_s
        harm += states.tpot_per_batch_s * tokens
        harm *= states.in_flight
        cost += self._toll * harm
        return Choice(int(cost.argmin()), -cost)
