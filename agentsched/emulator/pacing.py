"""How far from due chunks are written: the emulator's own check that it is a stopwatch worth believing."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

__all__ = ["PacingHistogram"]

_EDGES_S = tuple(1e-5 * 1.1**step for step in range(121))  # 10 us to about 1 s, 10 % apart


class PacingHistogram:
    """Counts of the distance between the instant a chunk was written and the instant it was due, seconds.

    A chunk may be early (see `Conductor`); it counts as much as one that is late by the same amount.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._counts = [0] * (len(_EDGES_S) + 1)
        self.count = 0
        self.early = 0
        self.worst_s = 0.0
        self.sum_s = 0.0

    def add(self, late_s: float) -> None:
        """Count one chunk; a negative lateness is earliness."""
        if late_s < 0.0:
            self.early += 1
            late_s = -late_s
        self._counts[bisect_left(_EDGES_S, late_s)] += 1
        self.count += 1
        self.sum_s += late_s
        if late_s > self.worst_s:
            self.worst_s = late_s

    def quantile_s(self, share: float) -> float:
        """Return the distance that this share of the chunks stayed below, to within 10 %; 0 without chunks."""
        wanted = share * self.count
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return min(self.worst_s, _EDGES_S[index]) if index < len(_EDGES_S) else self.worst_s
        return 0.0

    def merge(self, other: PacingHistogram) -> None:
        """Add another histogram's counts."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self.count += other.count
        self.early += other.early
        self.sum_s += other.sum_s
        self.worst_s = max(self.worst_s, other.worst_s)

    def summary(self) -> dict[str, Any]:
        """Return the figures that matter, seconds."""
        return {
            "chunks": self.count,
            "early_share": self.early / self.count if self.count else 0.0,
            "mean_s": self.sum_s / self.count if self.count else 0.0,
            "p50_s": self.quantile_s(0.5),
            "p95_s": self.quantile_s(0.95),
            "p99_s": self.quantile_s(0.99),
            "worst_s": self.worst_s,
        }
