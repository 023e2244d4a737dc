"""What forecasters are trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import ModelCall
from agentsched.core.forecast import LEVELS
from agentsched.forecast.network_inputs import GENERATED_AT, INPUTS, network_inputs
from agentsched.forecast.quantile_net import TrainedLengths

__all__ = ["ExampleBook", "Examples"]

Array = NDArray[np.float64]

_HELD_BACK = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Calls with their outcomes, oldest first.

    Attributes:
        inputs: shape (n, INPUTS).
        tokens: what came, shape (n,).
        cut: whether the answer was cut off there and would have been longer, shape (n,).
    """

    inputs: Array
    tokens: Array
    cut: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """How many there are."""
        return self.tokens.size

    def part(self, begin: int, end: int) -> "Examples":
        """Those from ``begin`` up to before ``end``."""
        return Examples(self.inputs[begin:end], self.tokens[begin:end], self.cut[begin:end])

    def split(self) -> "tuple[Examples, Examples]":
        """Those to learn from, and the latest 15 %, by which fits are judged."""
        bound = self.size - max(1, int(_HELD_BACK * self.size))
        return self.part(0, bound), self.part(bound, self.size)

    def loss(self, made: TrainedLengths) -> float:
        """The mean pinball loss of a forecaster over all levels, tokens; what exceeds a cut answer costs nothing."""
        forecasts = np.array([made.predict(row).values for row in self.inputs])
        error = self.tokens[:, None] - forecasts
        low = np.where(self.cut[:, None], 0.0, (LEVELS - 1.0) * error)
        return float(np.maximum(LEVELS * error, low).mean())

    def while_streaming(self, rng: np.random.Generator) -> "Examples":
        """These, and each once more at a random place in its answer, its tokens so far among the inputs."""
        inputs = self.inputs.copy()
        inputs[:, GENERATED_AT] = np.log1p(np.floor(self.tokens * rng.uniform(size=self.size))) / 10.0
        return Examples(np.concatenate((self.inputs, inputs)), np.tile(self.tokens, 2), np.tile(self.cut, 2))


class ExampleBook:
    """Gathers examples."""

    def __init__(self) -> None:
        self._inputs: list[Array] = []
        self._tokens: list[int] = []
        self._cut: list[bool] = []

    def add(self, call: ModelCall, answers: Sequence[tuple[str, int]], own: int | None, tokens: int) -> None:
        """One answered call; for the arguments see `network_inputs`."""
        self._inputs.append(network_inputs(call, answers, own))
        self._tokens.append(tokens)
        self._cut.append(call.max_tokens is not None and tokens >= call.max_tokens)

    def examples(self) -> Examples:
        """All of them."""
        inputs = np.array(self._inputs).reshape(len(self._inputs), INPUTS)
        return Examples(inputs, np.array(self._tokens, dtype=np.float64), np.array(self._cut, dtype=bool))
