"""What rules without a notion of time make of places that are not ready: none of them is taken while another is."""

import numpy as np
from numpy.typing import NDArray

from agentsched.core.decision import Choice, EndpointStates

__all__ = ["best_ready"]


def best_ready(states: EndpointStates, scores: NDArray[np.float64]) -> Choice:
    """The best by ``scores`` of those that are ready soonest; the scores of all others become -inf.

    A live proxy does the same: a deployment that cools down or has no slot left is taken off its list.
    """
    ready, shown = states.ready_in_s, scores
    if np.count_nonzero(ready):
        shown = np.where(ready <= ready.min(), scores, -np.inf)
    return Choice(int(shown.argmax()), shown)
