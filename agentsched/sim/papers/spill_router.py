"""The spill of SwarmX's caption: the first pool while it has room, then the second; room is kept for priority."""

import numpy as np

from agentsched.core.decision import Choice, Situation
from agentsched.policy.options import number
from agentsched.policy.ready import best_ready

__all__ = ["SpillRouter"]


class SpillRouter:
    """The emptiest instance of the first pool, or of the next one if the first is full.

    Pools are told apart by their declared quality, the highest first. A pool counts as full for calls without priority
    when it has but the reserve left.

    Args:
        reserve: share of an instance's slots that is kept for calls with a priority above 0.

    Raises:
        ConfigError: the reserve is no share.
    """

    name = "spill_router"

    def __init__(self, reserve: float = 0.25) -> None:
        self._reserve = number("reserve", reserve, 0.0, 1.0)

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        states = situation.states
        share = 1.0 if situation.call.priority > 0 else 1.0 - self._reserve
        rank = np.where(states.in_flight < share * states.slots, 2.0 * states.quality, -1.0)
        return best_ready(states, rank - states.in_flight / (states.slots + 1.0))
