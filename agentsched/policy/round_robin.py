"""Round robin: everybody in turn."""

import numpy as np

from agentsched.core.call import Observation
from agentsched.core.decision import Choice, Decision, Situation
from agentsched.policy.ready import best_ready

__all__ = ["RoundRobin"]


class RoundRobin:
    """The ready endpoint whose last turn lies furthest back (J. Nagle, RFC 970, 1985; the default of NGINX upstreams).

    With the same candidates at every call that is the usual cycle. Where candidates differ from call to call, or one
    was away for a while, everybody still gets one turn before anybody gets a second, and nobody has turns to catch up.
    """

    name = "round_robin"
    reads_speeds = False

    def __init__(self) -> None:
        self._turns = 0
        self._last: dict[str, int] = {}

    def remember(self, record: Decision | Observation) -> None:
        """Note whose turn it was."""
        if isinstance(record, Decision):
            self._turns += 1
            self._last[record.endpoint] = self._turns

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        last = self._last
        return best_ready(situation.states, -np.array([last.get(name, 0) for name in situation.names], np.float64))
