"""Speed-weighted least outstanding requests: needs no forecast, and is what the others fall back to."""

import numpy as np

from agentsched.core.decision import Choice, Situation

__all__ = ["SpeedWeightedLeastOutstanding"]


class SpeedWeightedLeastOutstanding:
    """Send the call where (calls in flight + 1) / speed is least, speed being 1 / TPOT of the idle endpoint.

    Weighted least-connection scheduling, as in Linux Virtual Server (W. Zhang, 1998), with the decode speed as weight.
    """

    name = "weighted_least_outstanding"

    def choose(self, situation: Situation) -> Choice:
        """Place the call; a place that is not ready counts as the calls that its wait would have served."""
        states = situation.states
        waiting = states.ready_in_s / states.tpot_alone_s / max(1.0, situation.output_tokens.mean)
        scores = -(states.in_flight + 1.0 + waiting) * states.tpot_alone_s
        return Choice(int(np.argmax(scores)), scores)
