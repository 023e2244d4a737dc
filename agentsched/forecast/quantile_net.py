"""Trained forecasters of output lengths as numpy serves them; torch trains them (`agentsched.training`).

Both put out a monotone set of quantiles on the scale log(1 + tokens): a base, and increments that softplus keeps
positive.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from agentsched.core.forecast import QUANTILES, QuantileForecast
from agentsched.errors import ConfigError
from agentsched.forecast.network_inputs import INPUTS

__all__ = ["ExpertMixture", "QuantileNet", "TrainedLengths"]

Array = NDArray[np.float64]

_MOST = 14.0
"""No forecast exceeds exp(14), 1.2 million tokens, whatever the weights are."""


class TrainedLengths(Protocol):
    """A trained forecaster: side-effect free, microseconds."""

    def predict(self, inputs: Array) -> QuantileForecast:
        """The forecast of the output tokens for a vector from `network_inputs`."""


def _check(made: object, shapes: dict[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        values = getattr(made, name)
        if values.shape != shape:
            raise ConfigError("wrong shape", field=f"weights.{name}", given=values.shape, allowed=str(shape))
        if not np.isfinite(values).all():
            raise ConfigError("not a finite number among the weights", field=f"weights.{name}")


def _softplus(values: Array) -> Array:
    softened: Array = np.logaddexp(values, 0.0)
    return softened


def _tokens(levels: Array) -> QuantileForecast:
    return QuantileForecast(np.expm1(np.clip(levels, 0.0, _MOST)))


@dataclass(frozen=True, slots=True, eq=False)
class QuantileNet:
    """Two hidden layers of rectified units, then base and increments; about 25 us a call.

    Attributes:
        first, first_bias: shapes (INPUTS, h) and (h,).
        second, second_bias: shapes (h, h) and (h,).
        last, last_bias: shapes (h, QUANTILES) and (QUANTILES,): the base and the increments before softplus.
    """

    kind: ClassVar[str] = "network"

    first: Array
    first_bias: Array
    second: Array
    second_bias: Array
    last: Array
    last_bias: Array

    def __post_init__(self) -> None:
        width = self.first_bias.size
        shapes: dict[str, tuple[int, ...]] = {
            "first": (INPUTS, width),
            "first_bias": (width,),
            "second": (width, width),
            "second_bias": (width,),
            "last": (width, QUANTILES),
            "last_bias": (QUANTILES,),
        }
        _check(self, shapes)

    def predict(self, inputs: Array) -> QuantileForecast:
        """See `TrainedLengths`."""
        hidden = np.maximum(inputs @ self.first + self.first_bias, 0.0)
        hidden = np.maximum(hidden @ self.second + self.second_bias, 0.0)
        out = hidden @ self.last + self.last_bias
        out[1:] = _softplus(out[1:])
        return _tokens(np.cumsum(out))


@dataclass(frozen=True, slots=True, eq=False)
class ExpertMixture:
    """Experts that are linear in the inputs, weighed by a gate that sees the same (after GoodServe's predictor).

    The mixture is that of their quantiles: sums of monotone ones with positive weights stay monotone.

    Attributes:
        idf: shape (INPUTS,): factors of the inputs, inverse document frequencies for words, 1 else.
        gate, gate_bias: shapes (INPUTS, e) and (e,).
        experts, experts_bias: shapes (INPUTS, e * QUANTILES) and (e * QUANTILES,).
    """

    kind: ClassVar[str] = "experts"

    idf: Array
    gate: Array
    gate_bias: Array
    experts: Array
    experts_bias: Array

    def __post_init__(self) -> None:
        count = self.gate_bias.size
        shapes: dict[str, tuple[int, ...]] = {
            "idf": (INPUTS,),
            "gate": (INPUTS, count),
            "gate_bias": (count,),
            "experts": (INPUTS, count * QUANTILES),
            "experts_bias": (count * QUANTILES,),
        }
        _check(self, shapes)

    def predict(self, inputs: Array) -> QuantileForecast:
        """See `TrainedLengths`."""
        seen = inputs * self.idf
        used = seen.nonzero()[0]
        seen = seen[used]
        gate = seen @ self.gate[used] + self.gate_bias
        gate = np.exp(gate - gate.max())
        gate /= gate.sum()
        out = (seen @ self.experts[used] + self.experts_bias).reshape(gate.size, QUANTILES)
        out[:, 1:] = _softplus(out[:, 1:])
        return _tokens(gate @ np.cumsum(out, axis=1))
