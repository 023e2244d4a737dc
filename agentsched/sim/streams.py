"""Where chance comes from: one independent stream for each purpose, so that no policy changes what another draws."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

__all__ = ["Mix", "Stream", "stream"]


class Stream(IntEnum):
    """What a stream of random numbers is for."""

    ARRIVALS = 0
    SHAPES = 1
    """Workflows, loops, widths, prompts, tool times, demands."""
    LENGTHS = 2
    """Output lengths."""
    PREDICTIONS = 3
    """Errors of the length predictor."""
    DEADLINES = 4
    CLIENTS = 5
    """Which client process a run belongs to."""
    BELIEFS = 6
    """Errors of what clients believe of speeds."""
    FAULTS = 7
    HOSTED = 8
    """Latencies of hosted APIs; drawn as calls come, so that they do depend on the policy."""
    STATISTICS = 9
    """Runs drawn to know a scenario's averages."""


def stream(seed: int, purpose: Stream, member: int = 0) -> np.random.Generator:
    """The generator of one purpose; ``member`` tells apart endpoints, for example."""
    return np.random.default_rng([seed, int(purpose), member])


class Mix:
    """Indices drawn by shares.

    Args:
        shares: relative to their sum.
    """

    __slots__ = ("_edges",)

    def __init__(self, shares: Sequence[float]) -> None:
        total, below = sum(shares), 0.0
        self._edges: list[float] = []
        for share in shares:
            below += share / total
            self._edges.append(below)

    def draw(self, rng: np.random.Generator) -> int:
        """An index; the last one takes what rounding leaves. A single one costs no chance."""
        if len(self._edges) == 1:
            return 0
        u = float(rng.random())
        return next((i for i, edge in enumerate(self._edges) if u < edge), len(self._edges) - 1)
