"""The latest answers of one group of calls, as a distribution: bounded, and aware of answers that were cut off."""

import numpy as np
from numpy.typing import NDArray

from agentsched.core.forecast import LEVELS, QUANTILES, QuantileForecast

__all__ = ["AnswerMemory", "shrunk"]

Array = NDArray[np.float64]

_FIRST_CAPACITY = 8
_CAPACITY = 256
"""Answers remembered."""

_MOST_TOKENS = 1_000_000_000
"""What a server that counts more than this says is nonsense, and must not break the memory."""

_REFRESH_AFTER = 1 / 16
"""The quantiles are made anew once this share of the remembered answers is new."""

_BEYOND: Array = np.exp(np.array((0.15, 0.45, 0.8, 1.4)))
"""Where cut answers would have ended that are longer than all that were seen whole: up to four times the cut."""


class AnswerMemory:
    """A ring of output lengths in tokens; a negative one was cut off there, and would have been longer."""

    __slots__ = ("_next", "_quantiles", "_ring", "_stale", "count", "cut")

    def __init__(self) -> None:
        self._ring: NDArray[np.int32] = np.zeros(_FIRST_CAPACITY, dtype=np.int32)
        self._next = 0
        self._quantiles: Array | None = None
        self._stale = 0
        self.count = 0
        self.cut = False
        """Whether any of them was cut off."""

    def add(self, tokens: int, *, cut: bool) -> None:
        """Remember one more answer in place of the oldest."""
        ring = self._ring
        if self._next == ring.size:
            if ring.size < _CAPACITY:
                ring = self._ring = np.concatenate((ring, np.zeros_like(ring)))
            else:
                self._next = 0
        tokens = min(tokens, _MOST_TOKENS)
        ring[self._next] = -tokens if cut else tokens
        self._next += 1
        self.count = min(self.count + 1, _CAPACITY)
        self.cut = self.cut or cut
        self._stale += 1

    def keep(self, latest: int) -> None:
        """Forget all but the latest answers."""
        count = min(latest, self.count)
        kept = np.take(self._ring, np.arange(self._next - count, self._next), mode="wrap")
        self._ring = np.zeros(_FIRST_CAPACITY, dtype=np.int32)
        self._next = self.count = 0
        self.cut, self._quantiles = False, None
        for tokens in kept.tolist():
            self.add(abs(tokens), cut=tokens < 0)

    def copy(self) -> "AnswerMemory":
        """Another memory of the same answers."""
        made = AnswerMemory()
        made._ring, made._next, made.count, made.cut = self._ring.copy(), self._next, self.count, self.cut
        return made

    @property
    def stale(self) -> bool:
        """Whether enough came since the quantiles were made that they should be made anew."""
        return self._quantiles is None or self._stale > self.count * _REFRESH_AFTER

    def quantiles(self) -> Array:
        """The quantiles of a forecast from these answers alone, shape (QUANTILES,); there must be one at least."""
        if self._quantiles is None or self.stale:
            seen = np.sort(self._ring[: self.count].astype(np.float64))
            values, mass = _survival(seen) if self.cut else (seen, None)
            self._quantiles, self._stale = _levels(values, mass), 0
        return self._quantiles


def _levels(values: Array, mass: Array | None) -> Array:
    """Quantiles at `LEVELS` of ascending values with these probabilities (None: the same)."""
    place = (np.arange(values.size) + 0.5) / values.size if mass is None else np.cumsum(mass) - mass / 2
    return np.interp(LEVELS, place, values)


def _survival(seen: Array) -> tuple[Array, Array]:
    """Values and probabilities of the Kaplan-Meier estimate.

    What is left over beyond the longest answer, when that was cut off, is spread above it.
    """
    order = np.lexsort((seen < 0, np.abs(seen)))
    tokens, whole = np.abs(seen)[order], (seen > 0)[order]
    at_risk = np.arange(tokens.size, 0, -1)
    alive = np.cumprod(np.where(whole, 1.0 - 1.0 / at_risk, 1.0)).astype(np.float64)
    mass = np.concatenate(((1.0,), alive[:-1])) - alive
    rest = alive.item(-1)
    if rest <= 0.0:
        return tokens[whole], mass[whole]
    values = np.concatenate((tokens[whole], tokens[-1] * _BEYOND))
    return values, np.concatenate((mass[whole], np.full(_BEYOND.size, rest / _BEYOND.size)))


def shrunk(prior: QuantileForecast, chain: list[tuple[AnswerMemory, float]]) -> QuantileForecast:
    """The forecast of the last group in a chain, shrunk toward the wider ones before it.

    Args:
        prior: stands before the widest group.
        chain: groups, widest first, each with what is believed beforehand of it in answers: n answers weigh
            n / (n + strength) against the wider groups. Of a wider group only the answers count that are not the
            next one's too: one answer is no evidence twice.
    """
    parts, weights = [prior.values], [1.0]
    for place, (memory, strength) in enumerate(chain):
        inner = chain[place + 1][0].count if place + 1 < len(chain) else 0
        own = memory.count - inner
        if own > 0:
            weight = own / (own + strength)
            weights = [earlier * (1.0 - weight) for earlier in weights]
            parts.append(memory.quantiles())
            weights.append(weight)
    values = np.concatenate(parts)
    mass = np.repeat(np.array(weights) / QUANTILES, QUANTILES)
    order = values.argsort(kind="stable")
    return QuantileForecast(_levels(values[order], mass[order]))
