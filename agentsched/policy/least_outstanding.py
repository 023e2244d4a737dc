"""Least outstanding requests, plain and weighted by speed: they need no forecast."""

import numpy as np

from agentsched.core.decision import Choice, Situation
from agentsched.policy.chance import fractions
from agentsched.policy.ready import best_ready

__all__ = ["LeastOutstanding", "SpeedWeightedLeastOutstanding"]


class LeastOutstanding:
    """The ready endpoint with the fewest own calls in flight; an equal count is decided by lot.

    ``least_conn`` of NGINX, ``least_request`` of Envoy over all hosts, ``least-busy`` of LiteLLM.
    """

    name = "least_outstanding"
    reads_speeds = False

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        lots = fractions(situation.call.call_id, len(situation.names))
        return best_ready(situation.states, 0.5 * lots - situation.states.in_flight)


class SpeedWeightedLeastOutstanding:
    """Send the call where (calls in flight + 1) / speed is least, speed being 1 / TPOT of the idle endpoint.

    Weighted least-connection scheduling, as in Linux Virtual Server (W. Zhang, 1998), with the decode speed as weight.
    It is what the rules that forecast fall back to.
    """

    name = "weighted_least_outstanding"

    def choose(self, situation: Situation) -> Choice:
        """Place the call; a place that is not ready counts as the calls that its wait would have served."""
        states = situation.states
        waiting = states.ready_in_s / states.tpot_alone_s / max(1.0, situation.output_tokens.mean)
        scores = -(states.in_flight + 1.0 + waiting) * states.tpot_alone_s
        return Choice(int(np.argmax(scores)), scores)
