"""LiteLLM's two common routing strategies, as its Router (1.80 to 1.109) documents and does them."""

from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import FailureKind, Observation
from agentsched.core.decision import Choice, Decision, Situation
from agentsched.errors import ConfigError
from agentsched.policy.chance import fractions
from agentsched.policy.options import number
from agentsched.policy.ready import best_ready
from agentsched.policy.space import Between, Space

__all__ = ["LiteLLMLatency", "LiteLLMShuffle"]

_TIMEOUT_S = 1000.0
"""What LiteLLM notes for an attempt that timed out, seconds."""

_FORGOTTEN_S = 3600.0
"""An endpoint that has not answered for so long counts as new, seconds (``ttl``)."""

_KEPT = 10
"""Latencies kept of each endpoint (``max_latency_list_size``)."""


@dataclass(slots=True)
class _Seen:
    """What was measured of an endpoint: seconds per output token of whole answers, and times to first token."""

    at: float = 0.0
    per_token_s: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    ttft_s: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def latency_s(self, stream: bool) -> float:
        """What a call of this kind is compared by."""
        known = self.ttft_s if stream and self.ttft_s else self.per_token_s
        return sum(known) / len(known) if known else 0.0


class LiteLLMLatency:
    """``latency-based-routing``: any endpoint whose mean recent latency is within a buffer of the lowest.

    The mean is over the last ten answers: time to first token for streams, else duration per output token. Who has not
    answered yet counts as 0 and is tried first; a timeout counts as 1000 s. Nothing is known of calls in flight.

    Args:
        buffer: share of the lowest latency by which others may exceed it (``lowest_latency_buffer``, by default 0).

    Raises:
        ConfigError: ``buffer`` is no number from 0 to 1000.
    """

    name = "litellm_latency"
    reads_speeds = False
    space: ClassVar[Space] = {"buffer": Between(0.0, 2.0)}

    def __init__(self, buffer: float = 0.0) -> None:
        self._buffer = number("buffer", buffer, 0.0, 1000.0)
        self._seen: dict[str, _Seen] = {}

    def remember(self, record: Decision | Observation) -> None:
        """Learn how long an answer took."""
        if not isinstance(record, Observation):
            return
        silent = record.status == FailureKind.SILENT.value
        if record.status != "ok" and not silent:
            return
        seen = self._seen.setdefault(record.endpoint, _Seen())
        seen.at = record.started_at + record.e2e_s
        seen.per_token_s.append(_TIMEOUT_S if silent else record.e2e_s / max(1, record.output_tokens))
        if record.stream and record.ttft_s is not None:
            seen.ttft_s.append(record.ttft_s)

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        ready = situation.states.ready_in_s
        known_since = situation.now - _FORGOTTEN_S
        seen = [self._seen.get(name) for name in situation.names]
        latencies = np.array(
            [0.0 if one is None or one.at < known_since else one.latency_s(situation.call.stream) for one in seen]
        )
        lowest = float(latencies[ready <= ready.min()].min())
        lots = fractions(situation.call.call_id, len(situation.names))
        return best_ready(
            situation.states, np.where(latencies <= lowest * (1.0 + self._buffer), lots, -1.0 - latencies)
        )


class LiteLLMShuffle:
    """``simple-shuffle``, LiteLLM's default: at random, by weight, else by requests, else by tokens per minute.

    The first of the three that any ready endpoint has decides for all; those that lack it then get nothing.

    Args:
        weights: e.g. ``"small=3 large=1"``: weights by endpoint; who is not named has none.

    Raises:
        ConfigError: ``weights`` cannot be read.
    """

    name = "litellm_shuffle"
    reads_speeds = False

    def __init__(self, weights: str = "") -> None:
        self._weights = _read_weights(weights)

    def choose(self, situation: Situation) -> Choice:
        """Place the call: the largest of log(u) / weight is drawn with a chance in proportion to its weight."""
        lots = fractions(situation.call.call_id, len(situation.names))
        weights = self._weights_of(situation)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return best_ready(situation.states, np.where(weights > 0.0, np.log(1.0 - lots) / weights, -np.inf))

    def _weights_of(self, situation: Situation) -> NDArray[np.float64]:
        """The weights that decide, in proportion, the largest of a ready endpoint being 1."""
        states = situation.states
        ready = states.ready_in_s <= states.ready_in_s.min()
        given = np.array([self._weights.get(name, 0.0) for name in situation.names])
        largest = float(given[ready].max())
        if largest > 0.0:
            return given / largest
        for interval_s in (states.request_s, states.token_s):
            limited = interval_s > 0.0
            if (limited & ready).any():
                shortest = float(interval_s[limited & ready].min())
                longer = np.maximum(interval_s, shortest)
                return np.where(limited, shortest / longer, 0.0)
        return np.ones(len(situation.names))


def _read_weights(text: object) -> dict[str, float]:
    weights: dict[str, float] = {}
    allowed = 'e.g. "small=3 large=1"'
    if not isinstance(text, str):
        raise ConfigError("not a text", field="policy.weights", given=text, allowed=allowed)
    for part in text.split():
        name, _, value = part.rpartition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = -1.0
        if not name or not 0.0 <= weight < 1e12:
            raise ConfigError("not a weight", field="policy.weights", given=part, allowed=allowed)
        weights[name] = weight
    return weights
