"""The latest answers with what a trained forecaster sees of them, for it to be trained on."""

import numpy as np
from numpy.typing import NDArray

from agentsched.forecast.network_inputs import INPUTS

__all__ = ["ExampleRing"]


class ExampleRing:
    """The latest ``most`` examples, in single precision: 2 kB each. Not thread-safe.

    Attributes:
        seen: how many there have been in all.
    """

    def __init__(self, most: int) -> None:
        self._inputs: NDArray[np.float32] = np.zeros((most, INPUTS), dtype=np.float32)
        self._tokens: NDArray[np.float64] = np.zeros(most)
        self._cut: NDArray[np.bool_] = np.zeros(most, dtype=bool)
        self.seen = 0

    def add(self, inputs: NDArray[np.float64], tokens: int, cut: bool) -> None:
        """One more answer; for the arguments see `agentsched.forecast.length_learner.LengthLearner.examples`."""
        place = self.seen % self._tokens.size
        self._inputs[place], self._tokens[place], self._cut[place] = inputs, tokens, cut
        self.seen += 1

    def latest(self) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_]]:
        """Copies of inputs, shape (n, INPUTS), output tokens and whether they were cut off there, oldest first."""
        most = self._tokens.size
        order = np.arange(max(0, self.seen - most), self.seen) % most
        return self._inputs[order], self._tokens[order], self._cut[order]
