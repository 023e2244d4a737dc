"""What may follow a call where no run was seen: from the workflow's structure, or from nothing but how far it has come.

A loop that has gone on for long is expected to go on for longer: the chance of another round after c of them is
(1 + c) / (2 + c), Laplace's rule of succession; without a structure the calls to come follow a Lomax law whose scale
grows with the calls made.

A visit of a step makes as many calls as the structure says at most, one and further ones at the odds of a loop. Where
it does not say, for a step may be any code, the visit makes none with probability 1/4, else one and each further one
with probability 1/4: one on average. That bounds nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from agentsched.core.forecast import QUANTILES, normal_quantiles
from agentsched.core.structure import EdgeKind, WorkflowStructure

__all__ = ["PRIOR_WORK_PER_CALL", "StructureOutlook", "calls_unknown", "spread_work"]

Array = NDArray[np.float64]

PRIOR_WORK_PER_CALL: Array = np.array([250.0, 1000.0, 1.0, 0.5])
"""What a call is taken to cost before one was seen: output tokens, prompt tokens, itself, seconds before it."""

_TAIL = 1.5
"""Exponent of the law of the calls to come: their mean exists, their variance does not."""

_HEAD_START = 2.0
"""Calls that a run which has not begun is as good as having made."""

_FACTORS: Array = np.exp(0.6 * normal_quantiles(QUANTILES))[np.argsort((np.arange(QUANTILES) * 21 + 9) % QUANTILES)]
"""How the work of a call varies around its mean: lognormal, median 1, in a fixed permutation."""

_FAN_WIDTH = 3.0
"""Branches of a fan-out whose number is not known."""

_LONGEST = 128
"""Calls beyond which a path is not followed."""

_SOME = 0.75
_MORE = 0.25
"""Where it is not known how many calls a step makes: the chance that a visit makes any, and of each further one."""

_UNLIKELY = 1e-6
"""Numbers of calls with a smaller chance are left out."""

_ROUNDS = (0, 1, 3, 7, 15)
"""Rounds for which the outlook is worked out; between them the lower one holds."""


def calls_unknown(position: float | Array, levels: Array) -> Array:
    """Calls still to come after ``position`` calls at these probability levels, shape as ``levels``, whole numbers."""
    result: Array = np.floor((position + _HEAD_START) * ((1.0 - levels) ** (-1.0 / _TAIL) - 1.0))
    return result


def spread_work(calls: Array, per_call: Array) -> Array:
    """Work for so many calls each, shape (len(calls), 4), with columns as in `agentsched.forecast.call_graph.WORK`.

    Args:
        calls: numbers of calls, at most QUANTILES of them.
        per_call: what a call costs on average, shape (4,).
    """
    work: Array = np.outer(calls, per_call)
    work *= _FACTORS[: len(calls), None]
    work[:, 2] = calls
    return work


@dataclass(frozen=True, slots=True)
class StructureOutlook:
    """Calls on the critical path after each step, as a workflow's structure has it.

    Attributes:
        calls: step -> for each of the numbers of rounds 0, 1, 3, 7, 15 the QUANTILES quantiles.
        most: calls that a whole run makes at most, inf if that is not bounded.
    """

    calls: Mapping[str, Array]
    most: float

    @classmethod
    def of(cls, structure: WorkflowStructure) -> "StructureOutlook":
        """Work it out; some milliseconds per step."""
        most = _most_calls(structure)
        horizon = int(min(most, _LONGEST))
        levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
        by_rounds = [_calls_after(structure, rounds, horizon) for rounds in _ROUNDS]
        quantiles = {
            node: np.stack([np.searchsorted(cdfs[node], levels - 1e-9).astype(np.float64) for cdfs in by_rounds])
            for node in structure.nodes
        }
        return cls(MappingProxyType(quantiles), most)

    def after(self, step: str, position: int, count: int) -> Array | None:
        """Calls still to come, QUANTILES equally likely numbers in ascending order; None: the step is none of its.

        Args:
            step: the step of the call at hand.
            position: calls that the run has made before it.
            count: how often the step has come, this call included.
        """
        known = self.calls.get(step)
        if known is None:
            return None
        rounds = sum(count - 1 >= bound for bound in _ROUNDS) - 1
        result: Array = np.minimum(known[max(0, rounds)], max(0.0, self.most - position - 1))
        return result


def _most_calls(structure: WorkflowStructure) -> float:
    """Calls of a whole run, inf unless it is known of every step how many it makes, and how often one comes."""
    if any(node not in structure.calls for node in structure.nodes):
        return math.inf
    visits = [structure.bounds.get(node, math.inf) for node in structure.nodes]
    counts = [structure.calls[node] for node in structure.nodes]
    most = math.fsum(count * visit for count, visit in zip(counts, visits, strict=True) if count)
    return most if structure.max_steps is None else min(most, structure.max_steps * max(counts, default=0))


def _calls_after(structure: WorkflowStructure, rounds: int, horizon: int) -> dict[str, Array]:
    """CDFs of the calls after a call of each step, by iteration from "none" until nothing changes or the horizon is
    reached."""
    onward = {node: _Onward.of(structure, node, rounds) for node in structure.nodes}
    none = np.ones(horizon + 1)
    cdfs = dict.fromkeys(structure.nodes, none)
    for _ in range(2 * horizon + len(onward)):
        # what follows an edge: the target's own calls, then what follows the target
        arrivals = {node: _then(cdfs[node], onward[node].visit) for node in structure.nodes}
        fresh = {node: onward[node].cdf(arrivals, none) for node in structure.nodes}
        if all(np.abs(fresh[node] - cdfs[node]).max() < _UNLIKELY for node in fresh):
            break
        cdfs = fresh
    return {node: _then(cdfs[node], onward[node].rest) for node in structure.nodes}


_Numbers = tuple[tuple[int, float], ...]
"""Numbers of calls and how likely each is."""


def _numbers(first: int, most: float, again: float) -> _Numbers:
    """``first`` calls, and up to ``most`` while the odds hold."""
    found: list[tuple[int, float]] = []
    chance, calls = 1.0, first
    while calls < most and chance * again > _UNLIKELY:
        found.append((calls, chance * (1.0 - again)))
        chance, calls = chance * again, calls + 1
    return (*found, (calls, chance))


def _visit(most: int | None, again: float) -> _Numbers:
    """The calls of one visit."""
    if most is None:
        return (0, 1.0 - _SOME), *((calls, _SOME * chance) for calls, chance in _numbers(1, math.inf, _MORE))
    return _numbers(min(1, most), most, again)


def _rest_of_visit(most: int | None, rounds: int) -> _Numbers:
    """The calls that a visit makes after the one at hand, the step's call number ``rounds`` + 1.

    How many of these the visit has made itself is not seen: as many as it may.
    """
    if most is None:
        return _numbers(0, math.inf, _MORE)
    made = rounds % most + 1 if most else 1
    return _numbers(0, max(0, most - made), made / (1.0 + made))


def _then(rest: Array, numbers: _Numbers) -> Array:
    """The CDF of so many calls plus ``rest``."""
    total = np.zeros_like(rest)
    for calls, chance in numbers:
        if calls < rest.size:
            total[calls:] += chance * rest[: rest.size - calls]
    total[-1] = 1.0
    return total


@dataclass(frozen=True, slots=True)
class _Onward:
    """How a run goes on after a step: one of several ways, each a set of branches side by side."""

    ways: tuple[tuple[float, tuple[tuple[str, float], ...]], ...]
    """(probability, ((target, how many side by side), ...)); no targets: the run ends."""
    visit: _Numbers
    """Calls of one visit of the step."""
    rest: _Numbers
    """Calls of the visit at hand that are still to come."""

    @classmethod
    def of(cls, structure: WorkflowStructure, node: str, rounds: int) -> "_Onward":
        """The ways on from ``node`` after so many rounds of it."""
        edges = structure.after(node)
        always = tuple(
            (edge.target, _FAN_WIDTH if edge.kind is EdgeKind.FAN_OUT else 1.0)
            for edge in edges
            if edge.kind is not EdgeKind.CONDITIONAL
        )
        ways = [((edge.target, 1.0), *always) for edge in edges if edge.kind is EdgeKind.CONDITIONAL]
        if not ways and always:
            ways = [always]
        if node in structure.ends or not ways:
            ways = [*ways, ()]
        back = [any(_reaches(structure, target, node) for target, _ in way) for way in ways]
        again = (1.0 + rounds) / (2.0 + rounds)
        if any(back) and not all(back):
            chances = [again / sum(back) if loops else (1.0 - again) / (len(back) - sum(back)) for loops in back]
        else:
            chances = [1.0 / len(ways)] * len(ways)
        most = structure.calls.get(node)
        return cls(tuple(zip(chances, ways, strict=True)), _visit(most, again), _rest_of_visit(most, rounds))

    def cdf(self, arrivals: Mapping[str, Array], none: Array) -> Array:
        """The CDF of the calls on the longest branch: products side by side, mixtures over the ways."""
        total = np.zeros_like(none)
        for chance, branches in self.ways:
            longest = none
            for target, copies in branches:
                longest = longest * arrivals[target] ** copies
            total = total + chance * longest
        return total


def _reaches(structure: WorkflowStructure, start: str, goal: str) -> bool:
    seen, open_nodes = {start}, [start]
    while open_nodes:
        node = open_nodes.pop()
        if node == goal:
            return True
        for edge in structure.after(node):
            if edge.target not in seen:
                seen.add(edge.target)
                open_nodes.append(edge.target)
    return False
