"""The calls of one workflow's past runs as a table to draw futures from, weighted by how alike they are to a call.

A past call counts for more the nearer it stood to where the call stands (a kernel whose width grows with the position),
the more alike the two are by a learned index of what follows (a second kernel), and if both are of the same step; what
a step lacks in like calls it borrows from the others of the workflow.
Runs that were cut short say "at least so much": their weight moves to those that went further (Kaplan and Meier 1958,
redistribution to the right after Efron 1967).
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from agentsched.core.forecast import QUANTILES, normal_quantiles
from agentsched.forecast.outlook import calls_unknown

__all__ = ["Index", "PastCalls"]

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]

_FEW = 8.0
"""So much weight of like calls of the same step is enough: more of them count no more against other steps."""

_NEAR, _NEAR_GROWTH = 1.0, 0.2
"""Width of the kernel of positions in calls, at the start of a run and more per call made."""

_LIKE = 0.5
"""Width of the kernel of indices, in standard deviations of the index."""

_OTHERS = 0.5
"""Weight of the whole workflow's calls beside those of the same step."""

_SMOOTH = 0.6
"""Width of the smoothing of futures, in standard deviations times runs to the power of -1/5 (Silverman 1986)."""

_NOISE: Array = normal_quantiles(QUANTILES)[np.argsort((np.arange(QUANTILES) * 27 + 9) % QUANTILES)]
"""Normal quantiles in a fixed order, another one than those in which levels are asked for."""

_MIDDLE: Array32 = np.array([0.16, 0.84], dtype=np.float32)
"""Between these levels a normal distribution has two standard deviations."""

_UNSEEN_LENGTH = 3.0
"""Among n runs the longest to come is taken to be longer than the longest seen by this share over n."""


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """A linear guess of log(1 + calls that follow), for telling which past calls are alike.

    Attributes:
        numbers: weights of 1, position, log position, log prompt tokens, log output so far, log count of the step.
        steps: per step, in the order of the table's codes.
        previous: likewise, of the step before.
        words: per bucket of hashed words; empty: prompts are not looked at.
        spread: standard deviation of the index over past calls.
    """

    numbers: tuple[float, ...]
    steps: tuple[float, ...]
    previous: tuple[float, ...]
    words: Array
    spread: float

    def of(
        self, position: int, input_tokens: int, output_so_far: int, count: int, step: int, previous: int, words: float
    ) -> float:
        """The index of a call; steps by their codes (-1: unknown), ``words`` from `words_score`."""
        base, place, log_place, log_prompt, log_output, log_count = self.numbers
        total = base + place * position + log_place * math.log1p(position) + words
        total += log_prompt * math.log1p(input_tokens) + log_output * math.log1p(output_so_far)
        total += log_count * math.log1p(count)
        if step >= 0:
            total += self.steps[step]
        return total + self.previous[previous] if previous >= 0 else total


@dataclass(frozen=True, slots=True, eq=False)
class PastCalls:
    """An immutable table, one row per past call, in ascending order of the calls that followed.

    Attributes:
        codes: step -> its code.
        step, position, index: of each row, float32, shape (n,).
        work: what followed, float32, shape (n, 4), columns as in `agentsched.forecast.call_graph.WORK`; of prompts
            what goes beyond `carried` times the row's own prompt in each of the calls.
        whole: 1 where that is all, 0 where the run was cut short; None: none was. float32, shape (n,).
        last_positions: per step code, ascending: where each run had the step for the last time; -1: any step.
        per_call: the mean work of a call, shape (4,).
        carried: the share of a call's own prompt that each call after it has as well.
        longest: calls of the longest run.
        most_calls: the length at which runs of this workflow are stopped; inf: none is known.
        learned: how the index is made; None: there is none.
        left: optional step -> a table like this one of what followed the step, a row for each of its first calls.
    """

    codes: Mapping[str, int]
    step: Array32
    position: Array32
    index: Array32
    work: Array32
    whole: Array32 | None
    last_positions: Mapping[int, tuple[float, ...]]
    per_call: Array
    carried: float
    longest: float
    most_calls: float
    learned: Index | None
    left: "Mapping[str, PastCalls]" = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for name in ("step", "position", "index", "work", "whole"):
            held = getattr(self, name)
            if held is not None and held.dtype != np.float32:
                object.__setattr__(self, name, held.astype(np.float32))

    def runs_so_far(self, code: int, position: int) -> float:
        """How many runs came about this far with this step; those that did so with any count half."""
        far = 0.8 * position - 1.0
        own, any_step = self.last_positions.get(code, ()), self.last_positions[-1]
        return max(len(own) - bisect_left(own, far), 0.5 * (len(any_step) - bisect_left(any_step, far)))

    def weights(self, code: int, position: int, index: float | None) -> Array32:
        """How much each row counts, shape (n,)."""
        far: Array32 = self.position - np.float32(position)
        far *= np.float32(1.0 / _width(position))
        far *= far
        if index is not None and self.learned is not None:
            unlike: Array32 = self.index - np.float32(index)
            unlike *= np.float32(1.0 / (_LIKE * self.learned.spread))
            unlike *= unlike
            far += unlike
        far -= far.min()
        far *= np.float32(-0.5)
        near: Array32 = np.exp(far, out=far)
        if len(self.codes) > 1:
            same = self.step == np.float32(code)
            own = float(np.dot(near, same)) if code >= 0 else 0.0
            if own > 0.0:
                borrowed = _OTHERS / float(np.add.reduce(near))
                share: Array32 = same * np.float32(min(1.0, _FEW / own))
                share += np.float32(borrowed)
                near *= share
        return near

    def draw(self, weights: Array32, position: int, levels: Array32, runs: float, prompt: int) -> Array:
        """The futures at these levels of the weighted rows, smoothed, shape (len(levels), 4).

        Args:
            weights: as from `weights`.
            position: where the call stands.
            levels: float32, at most QUANTILES, spread evenly over 0 to 1 in any order.
            runs: how many runs the rows come from.
            prompt: tokens of the call's own prompt.
        """
        sums = np.add.accumulate(weights)
        if self.whole is None:
            places = sums.searchsorted(levels * np.float32(sums.item(-1)))
        else:
            places = _kaplan_meier(weights, sums, self.whole).searchsorted(levels)
        last = weights.size - 1
        drawn: Array = self.work.take(places, axis=0, mode="clip").astype(np.float64)
        prompts = drawn[:, 1]
        prompts += (self.carried * prompt) * drawn[:, 2]
        np.maximum(prompts, 0.0, out=prompts)
        drawn *= self._noise(sums, runs)[: len(drawn), None]
        most = self._most_after(position)
        np.multiply(drawn, np.minimum(1.0, most / np.maximum(drawn[:, 2:3], 1.0)), out=drawn)
        np.rint(drawn[:, 2], out=drawn[:, 2])
        if self.whole is not None and self.whole.item(last) == 0.0:
            beyond = places > last
            if beyond.any():
                drawn[beyond] += self._unseen_rest(position + drawn[beyond, 2])
        return drawn

    def _noise(self, sums: Array32, runs: float) -> Array:
        """Factors around 1 by which futures are smoothed, as wide as the middle of the weighted rows and few runs ask.

        Few runs leave holes, and end too early: a run to come is like one of them, not the same.
        """
        low, high = sums.searchsorted(_MIDDLE * sums[-1])
        last = sums.size - 1
        spread = math.log(
            (1.0 + self.work.item(4 * min(high, last) + 2)) / (1.0 + self.work.item(4 * min(low, last) + 2))
        )
        noise: Array = np.exp((0.5 * _SMOOTH * max(1.0, runs) ** -0.2 * spread) * _NOISE)
        return noise

    def _most_after(self, position: int) -> float:
        """More calls than this no run has after so many: neighbours that stood earlier may have had more to come."""
        if position < self.most_calls < math.inf:
            return self.most_calls - position - 1.0
        longest = self.longest * (1.0 + _UNSEEN_LENGTH / len(self.last_positions[-1]))
        return max(longest - position - 1.0, _width(position))

    def _unseen_rest(self, positions: Array) -> Array:
        """How runs that were cut short here went on, unseen, shape (len(positions), 4)."""
        levels = (np.arange(len(positions)) + 0.5) / len(positions)
        rest: Array = np.outer(1.0 + calls_unknown(positions, levels), self.per_call)
        return rest


def _width(position: int) -> float:
    return _NEAR + _NEAR_GROWTH * position


def _kaplan_meier(weights: Array32, sums: Array32, whole: Array32) -> Array32:
    """The CDF at each row once the weight of rows that are not whole has moved to the right."""
    at_risk = sums[-1] - sums + weights
    over = np.minimum(weights * whole / np.maximum(at_risk, np.float32(1e-30)), np.float32(1.0))
    result: Array32 = np.float32(1.0) - np.multiply.accumulate(np.float32(1.0) - over)
    return result
