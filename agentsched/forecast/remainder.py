"""What still follows a call in its run: from past runs, from the workflow's structure, or from nothing but a prior."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import ModelCall
from agentsched.core.forecast import QUANTILES, QuantileForecast
from agentsched.core.remainder import RemainderForecast, RunHistory
from agentsched.forecast.features import words_score
from agentsched.forecast.outlook import PRIOR_WORK_PER_CALL, StructureOutlook, calls_unknown, spread_work
from agentsched.forecast.past_calls import PastCalls
from agentsched.forecast.rest_calibration import moved

__all__ = ["WHOLE_RUN", "EmpiricalRemainders", "RemainderKey"]

Array = NDArray[np.float64]

RemainderKey = tuple[str, str]
"""(workflow, step)."""

WHOLE_RUN = ""
"""Stands for the step before the first call: what follows it is the whole run."""

_ORDER: NDArray[np.intp] = np.argsort((np.arange(QUANTILES) * 13 + 3) % QUANTILES)
"""The fixed order in which futures are told; another one than those of lengths and of noise."""

_LEVELS: Array = (np.arange(QUANTILES) + 0.5) / QUANTILES
_LEVELS_IN_ORDER: Array = _LEVELS[_ORDER]
_LEVELS_IN_ORDER_32 = _LEVELS_IN_ORDER.astype(np.float32)

_OUTLOOK_RUNS = 0.15
"""What is believed without any past run counts as much as this many of them."""


@dataclass(frozen=True, slots=True)
class EmpiricalRemainders:
    """A snapshot of what was learned. The default knows nothing and says so.

    Attributes:
        groups: for each (workflow, step) the seconds from the end of such a call to the end of its run.
        workflows: the past calls of each workflow.
        outlooks: what the structures of each workflow say, where its frameworks told them.
        offsets: of workflows that lost coverage, how far levels are moved; see `RestCalibrator.offsets`.
        guess: whether a workflow of which nothing is known is given the prior instead of no forecast.
    """

    groups: Mapping[RemainderKey, QuantileForecast] = field(default_factory=lambda: MappingProxyType({}))
    workflows: Mapping[str, PastCalls] = field(default_factory=lambda: MappingProxyType({}))
    outlooks: Mapping[str, tuple[StructureOutlook, ...]] = field(default_factory=lambda: MappingProxyType({}))
    offsets: Mapping[str, Array] = field(default_factory=lambda: MappingProxyType({}))
    guess: bool = False

    def predict(self, call: ModelCall, history: RunHistory) -> RemainderForecast | None:
        """The forecast for this call, the last one in ``history``; None where nothing is known.

        What the user said (``call.remaining_calls``) goes before everything else.
        """
        past = self.workflows.get(call.workflow)
        if call.remaining_calls is not None:
            return _as_hinted(call.remaining_calls, _per_call(past, call))
        if past is None and not self.guess and call.workflow not in self.outlooks:
            return None
        futures = self.futures(call, history)
        offsets = self.offsets.get(call.workflow)
        if past is not None and offsets is not None:
            futures = moved(futures, offsets, past.per_call)
            np.minimum(futures[2], max(0.0, past.most_calls - len(history.steps)), out=futures[2])
        return RemainderForecast(*futures)

    def after_leaving(self, call: ModelCall, history: RunHistory, step: str) -> RemainderForecast | None:
        """What follows if this optional step is left out, of which the call is the first; None: nothing is known.

        What the user said goes before: the calls that are to come are then taken to be none of the step's.
        """
        past = self.workflows.get(call.workflow)
        if call.remaining_calls is not None:
            return _as_hinted(call.remaining_calls, _per_call(past, call))
        left = None if past is None else past.left.get(step)
        if past is None or left is None:
            return None
        position = max(0, len(history.steps) - 1)
        code = left.codes.get(call.step, -1)
        weights = left.weights(code, position, _index(left, call, history, position, code))
        runs = left.runs_so_far(code, position)
        futures = _by_quantity(left.draw(weights, position, _LEVELS_IN_ORDER_32, runs, call.input_tokens))
        offsets = self.offsets.get(call.workflow)
        if offsets is not None:
            futures = moved(futures, offsets, past.per_call)
        return RemainderForecast(*futures)

    def futures(self, call: ModelCall, history: RunHistory) -> Array:
        """What is believed, whatever the user said and before correction, shape (4, QUANTILES)."""
        past = self.workflows.get(call.workflow)
        position = max(0, len(history.steps) - 1)
        if past is None:
            return _by_quantity(self._unseen(call, history, position, None, _LEVELS_IN_ORDER))
        code = past.codes.get(call.step, -1)
        runs = past.runs_so_far(code, position)
        weight = _OUTLOOK_RUNS / (_OUTLOOK_RUNS + runs)
        unseen = int(QUANTILES * weight + 0.5)
        weights = past.weights(code, position, _index(past, call, history, position, code))
        if not unseen:
            return _by_quantity(past.draw(weights, position, _LEVELS_IN_ORDER_32, runs, call.input_tokens))
        seen = QUANTILES - unseen
        drawn = np.empty((QUANTILES, 4))
        levels = (np.arange(seen) + 0.5) / seen
        drawn[:seen] = past.draw(weights, position, levels.astype(np.float32), runs, call.input_tokens)
        levels = (np.arange(unseen) + 0.5) / unseen
        drawn[seen:] = self._unseen(call, history, position, past, levels)
        return _by_quantity(drawn[_ORDER])

    def _unseen(
        self, call: ModelCall, history: RunHistory, position: int, past: PastCalls | None, levels: Array
    ) -> Array:
        """Futures from a structure that has the step, else from the prior, shape (len(levels), 4)."""
        count = history.counts.get(call.step, 1)
        calls = calls_unknown(position, levels)
        for outlook in self.outlooks.get(call.workflow, ()):
            expected = outlook.after(call.step, position, count)
            if expected is not None:
                calls = expected[(levels * QUANTILES).astype(np.intp)]
                break
        most = float("inf") if past is None else past.most_calls - position - 1.0
        return spread_work(np.minimum(calls, most) if most >= 0.0 else calls, _per_call(past, call))

    def rest_s(self, workflow: str, step: str) -> QuantileForecast | None:
        """The forecast of the seconds that follow a call of this step; None until such a run was seen to its end."""
        return self.groups.get((workflow, step))


def _index(past: PastCalls, call: ModelCall, history: RunHistory, position: int, code: int) -> float | None:
    learned = past.learned
    if learned is None:
        return None
    previous = past.codes.get(history.steps[-2], -1) if position else -1
    words = words_score(call.features, learned.words)
    count = history.counts.get(call.step, 1)
    return learned.of(position, call.input_tokens, history.output_tokens, count, code, previous, words)


def _per_call(past: PastCalls | None, call: ModelCall) -> Array:
    """What a call of this workflow costs on average; prompts never less than the one at hand if none was seen."""
    if past is not None:
        return past.per_call
    costs = PRIOR_WORK_PER_CALL.copy()
    costs[1] = max(costs[1], call.input_tokens)
    return costs


def _as_hinted(calls: float, per_call: Array) -> RemainderForecast:
    return RemainderForecast(*_by_quantity(spread_work(np.full(QUANTILES, calls), per_call)))


def _by_quantity(futures: Array) -> Array:
    """Futures of shape (QUANTILES, 4) with one row per quantity."""
    return np.ascontiguousarray(futures.T)
