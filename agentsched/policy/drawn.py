"""Rules that draw lots: random, and the better of two drawn at random."""

import numpy as np
from numpy.typing import NDArray

from agentsched.core.decision import Choice, Situation
from agentsched.policy.chance import fractions
from agentsched.policy.options import whole
from agentsched.policy.ready import best_ready

__all__ = ["PowerOfTwo", "Random", "drawn_two"]


class Random:
    """Any ready endpoint, each with the same chance. What every load balancer is compared with.

    Args:
        seed: of the lots, which each call draws by its id.

    Raises:
        ConfigError: ``seed`` is no whole number from 0 on.
    """

    name = "random"
    reads_speeds = False

    def __init__(self, seed: int = 0) -> None:
        self._seed = whole("seed", seed)

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        lots = fractions(situation.call.call_id, len(situation.names), self._seed)
        return best_ready(situation.states, lots)


class PowerOfTwo:
    """The one with fewer own calls in flight of two ready endpoints drawn at random.

    M. Mitzenmacher, The power of two choices in randomized load balancing (IEEE TPDS 2001); the default of Ray Serve's
    request router. An equal count is decided by lot.

    Args:
        seed: of the lots, which each call draws by its id.

    Raises:
        ConfigError: ``seed`` is no whole number from 0 on.
    """

    name = "power_of_two"
    reads_speeds = False

    def __init__(self, seed: int = 0) -> None:
        self._seed = whole("seed", seed)

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        states = situation.states
        lots = fractions(situation.call.call_id, len(situation.names), self._seed)
        return best_ready(states, np.where(drawn_two(situation, lots), -states.in_flight + 0.5 * lots, -np.inf))


def drawn_two(situation: Situation, lots: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which two (or the only one) of the endpoints that are ready soonest have the largest lots, shape (n,)."""
    ready = situation.states.ready_in_s
    among = np.where(ready <= ready.min(), lots, -1.0)
    chosen = np.zeros(among.size, dtype=np.bool_)
    chosen[np.argsort(-among, kind="stable")[:2]] = True
    return chosen & (among >= 0.0)
