"""Peak EWMA: a moving average of latencies that believes bad news at once, times the calls in flight."""

import math
from typing import ClassVar

import numpy as np

from agentsched.core.call import FailureKind, Observation
from agentsched.core.decision import Choice, Decision, Situation
from agentsched.policy.chance import fractions
from agentsched.policy.drawn import drawn_two
from agentsched.policy.options import flag, number
from agentsched.policy.ready import best_ready
from agentsched.policy.space import Between, OneOf, Space

__all__ = ["PeakEwma"]

_UNMEASURED_S = 1e6
"""Cost of an endpoint that has calls in flight but has never answered, seconds: it is left until it does."""

_TIMED = frozenset({"ok", FailureKind.SILENT.value, FailureKind.STALLED.value})
"""Ends of attempts whose duration says something of the endpoint; a refusal is fast, and the breaker's business."""


class PeakEwma:
    """The better, by moving average of latency times (own calls in flight + 1), of two ready endpoints drawn by lot.

    As in Twitter's Finagle (``Balancers.p2cPeakEwma``) and Linkerd: a latency above the average replaces it at once,
    one below it moves it by 1 - exp(-t / decay), and with the time since the last answer it falls towards zero. An
    endpoint without calls in flight that has never answered is tried first. A latency is that of a whole answer.

    Args:
        decay_s: time constant of the average, seconds; Finagle's is 10.
        sampled: draw two, as published; false: look at all.

    Raises:
        ConfigError: ``decay_s`` is no number from .001 to 1e6, or ``sampled`` neither true nor false.
    """

    name = "peak_ewma"
    reads_speeds = False
    space: ClassVar[Space] = {"decay_s": Between(0.5, 200.0, log=True), "sampled": OneOf((True, False))}

    def __init__(self, decay_s: float = 10.0, sampled: bool = True) -> None:
        self._decay_s = number("decay_s", decay_s, 1e-3, 1e6)
        self._sampled = flag("sampled", sampled)
        self._costs: dict[str, tuple[float, float]] = {}

    def remember(self, record: Decision | Observation) -> None:
        """Learn how long an answer took."""
        if not isinstance(record, Observation) or record.status not in _TIMED:
            return
        at, latency_s = record.started_at + record.e2e_s, record.e2e_s
        cost_s, seen_at = self._costs.get(record.endpoint, (0.0, at))
        if latency_s <= cost_s:
            weight = self._weight(at - seen_at)
            latency_s = weight * cost_s + (1.0 - weight) * latency_s
        self._costs[record.endpoint] = (latency_s, at)

    def _weight(self, age_s: float) -> float:
        return math.exp(-max(0.0, age_s) / self._decay_s)

    def _cost_s(self, name: str, now: float) -> float:
        known = self._costs.get(name)
        return 0.0 if known is None else known[0] * self._weight(now - known[1])

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        pending = situation.states.in_flight
        costs_s = np.array([self._cost_s(name, situation.now) for name in situation.names])
        loads = np.where((costs_s == 0.0) & (pending > 0.0), _UNMEASURED_S + pending, costs_s * (pending + 1.0))
        lots = fractions(situation.call.call_id, len(situation.names))
        if self._sampled:
            loads = np.where(drawn_two(situation, lots), loads, np.inf)
        elif not loads.any():
            loads = lots  # nobody has answered yet: not everybody to the first in the list
        return best_ready(situation.states, -loads)
