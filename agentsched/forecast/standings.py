"""Which of several forecasters does best where: recent losses per group, narrow groups leaning on wide ones."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Standings"]

Array = NDArray[np.float64]
Scope = tuple[str, str, str]

_MEMORY = 0.99
"""A loss weighs this much less with every later one of its group."""

_BORROWED = 20.0
"""A group's wider group counts as much as this many of its own losses."""

_LEAD = 0.98
"""A rival takes over only when its loss is below this share of the leader's."""

_MOST_GROUPS = 4096


class _Tally:
    __slots__ = ("leader", "losses", "weight")

    def __init__(self, count: int) -> None:
        self.losses: Array = np.zeros(count)
        self.weight = 0.0
        self.leader = 0

    def rename(self, old: Sequence[str], new: Sequence[str]) -> None:
        """The same losses for other forecasters: those of the first one for who was not compared yet."""
        leader = old[self.leader]
        self.losses = self.losses[[old.index(name) if name in old else 0 for name in new]]
        self.leader = new.index(leader) if leader in new else 0


class Standings:
    """Compares the same forecasters in every group. The first of them leads until another one is shown to be better.

    Args:
        names: the forecasters.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._tallies: dict[Scope, _Tally] = {}

    def best(self, scopes: Sequence[Scope]) -> str:
        """The leader of the narrowest of these groups that is known."""
        for scope in reversed(scopes):
            tally = self._tallies.get(scope)
            if tally is not None:
                return self.names[tally.leader]
        return self.names[0]

    def update(self, scopes: Sequence[Scope], losses: Array) -> None:
        """Count one outcome.

        Args:
            scopes: the groups it belongs to, widest first.
            losses: of each forecaster, in the order of ``names``, shape (forecasters,). Groups lend each other
                proportions, not sizes.
        """
        wider: Array | None = None
        for scope in scopes:
            tally = self._tallies.pop(scope, None) or _Tally(len(self.names))
            self._tallies[scope] = tally
            tally.losses *= _MEMORY
            tally.losses += losses
            tally.weight = tally.weight * _MEMORY + 1.0
            leaned = tally.losses
            if wider is not None:
                leaned = leaned + wider * (_BORROWED / tally.weight * (float(np.add.reduce(leaned)) / leaned.size))
            first = int(leaned.argmin())
            if leaned.item(first) < _LEAD * leaned.item(tally.leader):
                tally.leader = first
            wider = leaned / max(float(np.add.reduce(leaned)) / leaned.size, 1e-9)
        while len(self._tallies) > _MOST_GROUPS:
            del self._tallies[next(iter(self._tallies))]

    def compare(self, names: Sequence[str]) -> None:
        """Compare these forecasters from now on, the first one as before; who is new begins level with the first."""
        for tally in self._tallies.values():
            tally.rename(self.names, names)
        self.names = tuple(names)

    def give(self, workflow: str, taker: "Standings") -> None:
        """Hand over what is known of a workflow's groups to another one."""
        for scope in [scope for scope in self._tallies if scope[0] == workflow]:
            taker._tallies[scope] = self._tallies.pop(scope)
            taker._tallies[scope].rename(self.names, taker.names)

    def chosen(self) -> dict[Scope, str]:
        """The leader of every group."""
        return {scope: self.names[tally.leader] for scope, tally in self._tallies.items()}
