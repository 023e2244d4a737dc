"""Prefix affinity with bounded load: where the prompt is cached already, unless that place is too busy."""

import math
from typing import ClassVar

import numpy as np

from agentsched.core.decision import Choice, Situation
from agentsched.policy.chance import fractions
from agentsched.policy.options import number
from agentsched.policy.ready import best_ready
from agentsched.policy.space import Between, Space

__all__ = ["PrefixAffinity"]


class PrefixAffinity:
    """The ready endpoint that has most of the prompt in its cache, among those that are not overloaded.

    Cache-aware routing (the SGLang router; Preble, arXiv 2407.00023) bounded as in consistent hashing with bounded
    loads (V. Mirrokni, M. Thorup and M. Zadimoghaddam, SODA 2018): nobody gets more than ``bound`` times the mean of
    the own calls in flight. A prompt of which no more than ``share`` is cached anywhere goes where its prefix hashes to
    (highest random weight), so that later prompts with the same prefix come to the same place.

    Args:
        bound: how many times the mean load an endpoint may have, from 1 on.
        share: share of the prompt that must be cached to be worth following, from 0 to 1.

    Raises:
        ConfigError: an option is out of range.
    """

    name = "prefix_affinity"
    reads_speeds = False
    space: ClassVar[Space] = {"bound": Between(1.01, 8.0, log=True), "share": Between(0.0, 1.0)}

    def __init__(self, bound: float = 1.25, share: float = 0.5) -> None:
        self._bound = number("bound", bound, 1.0, 1e9)
        self._share = number("share", share, 0.0, 1.0)

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        states, call = situation.states, situation.call
        ready = states.ready_in_s <= states.ready_in_s.min()
        most = math.ceil(self._bound * (float(states.in_flight[ready].sum()) + 1.0) / int(ready.sum()))
        cached = situation.cached_tokens / max(1, call.input_tokens)
        key = f"prefix {call.prefix}" if call.prefix else call.call_id
        scores = np.where(cached > self._share, 1.0 + cached, 0.0) + 0.5 * fractions(key, len(situation.names))
        return best_ready(states, np.where(states.in_flight + 1.0 <= most, scores, -1.0 - states.in_flight))
