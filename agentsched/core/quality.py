"""How good an answer is expected to be, endpoint by endpoint."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Judgement", "QualityForecast"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class QualityForecast:
    """Expected quality at each endpoint and its standard error, both in [0, 1], shape (n,)."""

    mean: Array
    error: Array


@dataclass(frozen=True, slots=True)
class Judgement:
    """A user's score, from 0 to 1, of what a model answered in a step; of the prompt only its hashed words are kept."""

    workflow: str
    step: str
    model: str
    features: bytes
    score: float
