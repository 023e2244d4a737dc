"""Who may serve a call, whatever their state: model groups, capabilities, quality, context length, pins."""

import math

from agentsched.core.call import Failure, FailureKind, ModelCall
from agentsched.core.endpoint import Pool

__all__ = ["Candidates"]

_MOST_KINDS = 1024
"""Kinds of calls whose candidates are remembered."""


class Candidates:
    """Answers for one pool; what does not depend on a call's size is worked out once per kind of call."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[tuple[str, frozenset[str], float, str | None], tuple[tuple[int, ...], float]] = {}

    def of(self, call: ModelCall) -> tuple[int, ...]:
        """Indices of the endpoints that may serve the call."""
        kind = (call.model, call.needs, call.min_quality, call.pinned)
        known = self._known.get(kind)
        if known is None:
            if len(self._known) >= _MOST_KINDS:
                self._known.clear()
            able = tuple(i for i in self._pool.serving(call.model) if self._suits(i, call))
            known = self._known[kind] = able, min((self._room(i) for i in able), default=math.inf)
        able, least_room = known
        size = call.input_tokens + (call.max_tokens or 0)
        return able if size <= least_room else tuple(i for i in able if size <= self._room(i))

    def _room(self, i: int) -> float:
        room = self._pool.endpoints[i].context_tokens
        return math.inf if room is None else room

    def _suits(self, i: int, call: ModelCall) -> bool:
        endpoint = self._pool.endpoints[i]
        pinned_elsewhere = call.pinned is not None and call.pinned != endpoint.name
        return not pinned_elsewhere and endpoint.can(call.needs) and endpoint.quality >= call.min_quality

    @staticmethod
    def lack(call: ModelCall) -> Failure:
        """What nobody in the pool offers, for people."""
        needs = ", ".join(sorted(call.needs)) or "nothing special"
        where = f" at endpoint {call.pinned!r}" if call.pinned else ""
        return Failure(
            FailureKind.INCAPABLE,
            f"nobody{where} serves model {call.model!r} with {needs}, {call.input_tokens} prompt tokens"
            f" and quality of at least {call.min_quality:g}",
        )
