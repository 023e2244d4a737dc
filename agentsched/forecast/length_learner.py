"""Learns output lengths from finished attempts; lives off the hot path and hands out immutable snapshots."""

from collections import deque
from types import MappingProxyType

import numpy as np

from agentsched.core.call import Observation
from agentsched.core.forecast import QuantileForecast
from agentsched.forecast.length import PRIOR_OUTPUT_TOKENS, EmpiricalLengths, LengthKey, length_keys

__all__ = ["LengthLearner"]

_MEMORY = 256
"""Answers remembered per group."""

_SHRINK = 5.0
"""With this many answers a group counts as much as the wider one it stands in."""

_MAX_GROUPS = 4096
"""Groups remembered; beyond it the group that was quiet for longest is forgotten."""


class LengthLearner:
    """Bounded memory of recent answers per group. Not thread-safe: one thread learns."""

    def __init__(self) -> None:
        self._seen: dict[LengthKey, deque[float]] = {}
        self._made: dict[LengthKey, QuantileForecast] = {}
        self._parents: dict[LengthKey, LengthKey | None] = {}
        self._changed: set[LengthKey] = set()

    def learn(self, observation: Observation) -> None:
        """Take one finished attempt; failures and empty answers teach nothing."""
        if observation.status != "ok" or observation.output_tokens <= 0:
            return
        parent: LengthKey | None = None
        for key in length_keys(observation.workflow, observation.step, observation.model):
            lengths = self._seen.pop(key, None)
            if lengths is None:
                lengths = deque(maxlen=_MEMORY)
            lengths.append(float(observation.output_tokens))
            self._seen[key] = lengths
            self._parents[key] = parent
            self._changed.add(key)
            parent = key
        while len(self._seen) > _MAX_GROUPS:
            self._forget(next(iter(self._seen)))

    def _forget(self, key: LengthKey) -> None:
        for store in (self._seen, self._made, self._parents):
            store.pop(key, None)
        self._changed.discard(key)

    def snapshot(self) -> EmpiricalLengths | None:
        """What is believed now; None when nothing was learned since the last snapshot."""
        if not self._changed:
            return None
        for key in sorted(self._changed, key=_place):
            own = QuantileForecast.from_samples(np.fromiter(self._seen[key], dtype=np.float64))
            parent = self._parents[key]
            wider = PRIOR_OUTPUT_TOKENS if parent is None else self._made.get(parent, PRIOR_OUTPUT_TOKENS)
            count = len(self._seen[key])
            self._made[key] = wider.mixed(own, count / (count + _SHRINK))
        self._changed.clear()
        return EmpiricalLengths(MappingProxyType(dict(self._made)))


def _place(key: LengthKey) -> tuple[bool, ...]:
    """Orders groups as `length_keys` does: each after the wider one it stands in, whatever the order of a set."""
    return tuple(bool(part) for part in key)
