"""SwarmX's router with predictions that are the wrong way round after a drift, and the tasks it is tried with."""

from collections.abc import Mapping
from math import erf, exp, inf, sqrt

import numpy as np

from agentsched.core.call import Observation
from agentsched.core.decision import Choice, Decision, Situation
from agentsched.errors import ConfigError
from agentsched.policy.options import number
from agentsched.policy.ready import best_ready

__all__ = ["BEFORE", "SHAPES", "DriftRouter", "draw_task", "mean_s", "predicted_s"]


BEFORE = "before"
SHAPES = ("four-peak", "weighted")
"""What the tasks are like after the drift: four peaks, or the two peaks in other shares and longer."""

_MEDIANS_S, _SIGMA, _SPLIT_S = (10.0, 40.0), 0.3, 20.0
_LONG_SHARE = {BEFORE: 0.2, "four-peak": 0.8, "weighted": 0.8}
_FACTORS: dict[str, tuple[float, float, float, float]] = {
    BEFORE: (0.1, 0.1, 0.1, 0.1),
    "four-peak": (0.15, 0.35, 0.45, 0.65),
    "weighted": (2.0, 2.0, 2.0, 2.0),
}
"""By half of a peak, from the shortest on."""


def draw_task(rng: np.random.Generator, shape: str) -> tuple[str, float]:
    """A task: its step, which is what a predictor can tell of it, and its seconds of service."""
    long = float(rng.uniform()) < _LONG_SHARE[shape]
    base_s = 0.0
    while base_s == 0.0 or (base_s > _SPLIT_S) is not long:
        base_s = _MEDIANS_S[long] * float(rng.lognormal(0.0, _SIGMA))
    half = 2 * long + (base_s > _MEDIANS_S[long])
    return f"{shape}-{half if shape == 'four-peak' else int(long)}", base_s * _FACTORS[shape][half]


def predicted_s(shape: str) -> Mapping[str, float]:
    """Mean seconds of service of each step, ascending, the few tasks beyond the split aside.

    The halves below and above the median m of a lognormal with sigma s have the means m exp(s^2 / 2) (1 -+ erf(s / sqrt
    2)).
    """
    lean = erf(_SIGMA / sqrt(2.0))
    halves = [median * exp(_SIGMA**2 / 2.0) * (1.0 + side * lean) for median in _MEDIANS_S for side in (-1.0, 1.0)]
    scaled = [half * factor for half, factor in zip(halves, _FACTORS[shape], strict=True)]
    if shape != "four-peak":
        scaled = [0.5 * (scaled[0] + scaled[1]), 0.5 * (scaled[2] + scaled[3])]
    return {f"{shape}-{k}": seconds for k, seconds in enumerate(scaled)}


def mean_s(shape: str) -> float:
    """Mean seconds of service of a task."""
    means = list(predicted_s(shape).values())
    long, per_peak = _LONG_SHARE[shape], len(means) // 2
    return ((1.0 - long) * sum(means[:per_peak]) + long * sum(means[per_peak:])) / per_peak


class DriftRouter:
    """The instance that is predicted to have done its queue, and this task, first; a task goes there at once.

    SwarmX (its released harness): each instance's queue is the sum of the predictions of its tasks; after the drift
    the predictor takes short tasks for long ones and long ones for short, until it is trained again. Here a task's
    prediction is the mean of its step, of the mirrored step while the predictor is wrong.

    Args:
        shape: of the tasks after the drift, one of `SHAPES`.
        retrain_after: completions of such tasks after which predictions are right; inf: never, 0: they always are.
        scale: seconds of service of every task are multiplied by it.

    Raises:
        ConfigError: an option is unknown or out of range.
    """

    name = "drift_router"

    def __init__(self, shape: str = "four-peak", retrain_after: float = inf, scale: float = 1.0) -> None:
        if shape not in SHAPES:
            raise ConfigError("unknown", field="policy.shape", given=shape, allowed=", ".join(SHAPES))
        if retrain_after != inf:
            number("retrain_after", retrain_after, 0.0, 1e9)
        self._retrain_after = retrain_after
        scale = number("scale", scale, 1e-6, 1e6)
        right = predicted_s(shape)
        mirrored = dict(zip(right, list(right.values())[::-1], strict=True))
        self._before = {step: scale * s for step, s in predicted_s(BEFORE).items()}
        self._right = {step: scale * s for step, s in right.items()}
        self._wrong = {step: scale * s for step, s in mirrored.items()}
        self._completed = 0
        self._queues: dict[str, dict[str, float]] = {}
        self._free_at: dict[str, float] = {}

    def _prediction_s(self, step: str) -> float:
        known = self._before.get(step)
        if known is not None:
            return known
        table = self._wrong if self._completed < self._retrain_after else self._right
        return table.get(step, 0.0)

    def remember(self, record: Decision | Observation) -> None:
        """Note what was sent, and learn from what is done."""
        if isinstance(record, Decision):
            seconds = self._prediction_s(record.step)
            self._queues.setdefault(record.endpoint, {})[record.attempt_id] = seconds
            self._free_at[record.endpoint] = max(record.at, self._free_at.get(record.endpoint, 0.0)) + seconds
            return
        self._completed += record.step in self._right
        queue = self._queues[record.endpoint]
        queue.pop(record.attempt_id, None)
        # What has just ended tells when the next one begins, whatever was predicted of it.
        self._free_at[record.endpoint] = record.started_at + record.e2e_s + sum(queue.values())

    def choose(self, situation: Situation) -> Choice:
        """Place the task."""
        free_at, now = self._free_at, situation.now
        waits_s = np.array([free_at.get(name, 0.0) for name in situation.names], np.float64)
        return best_ready(situation.states, -np.maximum(0.0, waits_s - now))
