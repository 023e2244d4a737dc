"""How good an answer will be, per step and model, from judged runs; before that, what the endpoints declare.

A step's mean is shrunk toward its model's, and that toward the declared quality. Prompts that read alike (k nearest
neighbours over hashed words) may correct it, but only while that has lost less than going without (docs/forecasts.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import ModelCall
from agentsched.core.quality import QualityForecast
from agentsched.forecast.features import word_rows

__all__ = ["STRENGTH", "EmpiricalQualities", "Judged", "Prompts", "QualityKey"]

Array = NDArray[np.float64]

QualityKey = tuple[str, str, str]
"""(workflow, step, model); workflow and step empty: any."""

STRENGTH = 8.0
"""What is believed without any score of its own counts as so many scores."""

_NEIGHBOURS = 50
_NEIGHBOUR_STRENGTH = 8.0


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores of one group: how many, fading with age, and their mean in [0, 1]."""

    count: float
    mean: float


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Judged prompts: rows of hashed words, shape (n, buckets), and what their scores were off by, shape (n,)."""

    words: Array
    residuals: Array

    def correction(self, features: bytes) -> float:
        """What prompts that read like this one were off by, shrunk toward nothing."""
        if not features or not self.residuals.size:
            return 0.0
        likeness = self.words @ word_rows([features])[0]
        nearest = np.argsort(-likeness, kind="stable")[:_NEIGHBOURS]
        weights = likeness[nearest]
        total = float(weights.sum()) / max(1e-9, float(likeness.max()))
        mean = float(weights @ self.residuals[nearest]) / max(1e-9, float(weights.sum()))
        return mean * total / (total + _NEIGHBOUR_STRENGTH)


@dataclass(frozen=True, slots=True)
class EmpiricalQualities:
    """A snapshot of what was learned.

    Attributes:
        groups: scores by (workflow, step, model).
        models: endpoint -> model.
        prompts: judged prompts, where looking at them has paid; else None.
    """

    groups: Mapping[QualityKey, Judged] = field(default_factory=lambda: MappingProxyType({}))
    models: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    prompts: Prompts | None = None

    def predict(self, call: ModelCall, endpoints: Sequence[str], declared: Array) -> QualityForecast | None:
        """The quality of an answer to ``call`` at each endpoint; None while no score says anything about any of them.

        Args:
            call: the call.
            endpoints: names, in the order of ``declared``.
            declared: quality as configured, in [0, 1].
        """
        if not self.groups:
            return None
        mean, error = declared.astype(np.float64), np.empty(len(endpoints))
        known = False
        for k, endpoint in enumerate(endpoints):
            model = self.models.get(endpoint, endpoint)
            count = STRENGTH
            for key in (("", "", model), (call.workflow, call.step, model)):
                group = self.groups.get(key)
                if group is not None:
                    known = True
                    mean[k] = (STRENGTH * mean[k] + group.count * group.mean) / (STRENGTH + group.count)
                    count = STRENGTH + group.count
            error[k] = (mean[k] * (1.0 - mean[k]) / count) ** 0.5
        if not known:
            return None
        if self.prompts is not None:
            mean = np.minimum(1.0, np.maximum(0.0, mean + self.prompts.correction(call.features)))
        return QualityForecast(mean, error)
