"""Tail-aware routing, the rule of SwarmX: the least of a high quantile of queueing plus service."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from agentsched.core.decision import Choice, Situation
from agentsched.core.forecast import LEVELS, QUANTILES, normal_quantiles
from agentsched.policy.options import flag, number
from agentsched.policy.space import Between, Space

__all__ = ["TailAware"]

_NORMAL: NDArray[np.float64] = normal_quantiles(QUANTILES)
_MIXED: NDArray[np.intp] = np.argsort((np.arange(QUANTILES) * 7 + 11) % QUANTILES)
"""A fixed permutation: makes aligned sums of quantiles sums of independent samples."""


class TailAware:
    """argmin over endpoints of the ``percentile`` of queueing time plus service time.

    SwarmX (its paper and released code) keeps a distribution of the time until an instance is free and one of the
    task's service time, and compares instances by a quantile of their sum. It adds quantile to quantile, which is the
    sum of two quantities that are always large together, and its released code never uses the target quantile. An LLM
    endpoint serves many calls at once: here queueing is the predicted time to first token with a lognormal scatter,
    service the forecast output length at the predicted pace.

    Args:
        percentile: the quantile that is compared, from .01 to .99.
        independent: corrected: queueing and service add up as independent quantities.
        queue_spread: log-standard-deviation of the time to first token around its prediction.

    Raises:
        ConfigError: an option is out of range.
    """

    name = "tail_aware"
    space: ClassVar[Space] = {"percentile": Between(0.3, 0.99), "queue_spread": Between(0.05, 1.5, log=True)}

    def __init__(self, percentile: float = 0.95, independent: bool = False, queue_spread: float = 0.5) -> None:
        self._percentile = number("percentile", percentile, 0.01, 0.99)
        self._independent = flag("independent", independent)
        factors = np.exp(number("queue_spread", queue_spread, 0.0, 5.0) * _NORMAL)
        self._queue_factors = factors[_MIXED] if self._independent else factors
        self._queue_factor = float(np.interp(self._percentile, LEVELS, factors))

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        lengths = np.maximum(0.0, situation.output_tokens.values - 1.0)
        if self._independent:
            sums = np.multiply.outer(situation.tpot_s, lengths)
            sums += np.multiply.outer(situation.ttft_s, self._queue_factors)
            sums.sort(axis=1)
            tails_s = _interpolated(sums, self._percentile)
        else:
            long = max(0.0, situation.output_tokens.quantile(self._percentile) - 1.0)
            tails_s = situation.ttft_s * self._queue_factor + situation.tpot_s * long
        return Choice(int(tails_s.argmin()), -tails_s)


def _interpolated(ordered: NDArray[np.float64], percentile: float) -> NDArray[np.float64]:
    """The quantile of each row of ascending samples, shape (n,)."""
    place = min(max(percentile * QUANTILES - 0.5, 0.0), QUANTILES - 1.0)
    below = int(place)
    low, high = ordered[:, below], ordered[:, min(below + 1, QUANTILES - 1)]
    share = place - below
    return low if share == 0.0 else (1.0 - share) * low + share * high
