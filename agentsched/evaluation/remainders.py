"""How well what follows a call is forecast on a trace: on held-out conversations, after learning from the others.

The calls of a conversation are taken as one chain: traces of this kind know no branches. The second judgement is
online: each conversation is forecast by what was learned from those before it, as a scheduler would.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import ModelCall, RunInfo
from agentsched.core.forecast import QUANTILES
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.remainder import RemainderForecast, RunHistory
from agentsched.evaluation.feeding import walk
from agentsched.evaluation.scores import LEVELS, Scores, scores_of
from agentsched.evaluation.trace import TraceRun
from agentsched.forecast.features import packed_features
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.forecast.remainder_learner import RemainderLearner

__all__ = ["BARE", "COLD", "OURS", "QUANTITIES", "TABLE", "RemainderScores", "evaluate_remainders"]

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]

QUANTITIES = ("calls", "output_tokens", "prompt_tokens")
"""What is forecast of the rest of a run, in this order."""

OURS, COLD, TABLE = "agentsched", "agentsched after 20 runs", "survival table"
BARE = "without correction"
_COLD_RUNS = 20
_FOLDS = 5
_LEAST_RUNS = 2 * _FOLDS
_SNAPSHOTS = 50
"""Online, what was learned is looked at anew whenever there is one run more for each so many."""

_GRID: Array = (np.arange(QUANTILES) + 0.5) / QUANTILES


@dataclass(frozen=True, slots=True)
class RemainderScores:
    """The scores of one workflow.

    Attributes:
        workflow: its name.
        runs: conversations of it.
        scores: quantity -> forecaster -> scores; the forecaster `COLD` saw at most 20 runs.
        online: quantity -> `OURS` or `BARE` -> scores of the runs after the first 20, each forecast by what the earlier
            ones had taught, with and without the correction by coverage; empty if there are no more than 20.
    """

    workflow: str
    runs: int
    scores: Mapping[str, Mapping[str, Scores]]
    online: Mapping[str, Mapping[str, Scores]]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """One call of a run with what was known then and what came."""

    call: ModelCall
    place: int
    output_tokens: int
    truth: Array
    """Shape (3,), as `QUANTITIES`."""


class _SurvivalTable:
    """Quantiles of what followed calls of the same step and position; of the step, or of all, where none did."""

    def __init__(self, runs: Sequence[Sequence[_Asked]]) -> None:
        self._seen: dict[tuple[str, int] | str, list[Array]] = {}
        for run in runs:
            for one in run:
                for key in ((one.call.step, one.place), f"step {one.call.step}", "all"):
                    self._seen.setdefault(key, []).append(one.truth)
        self._made: dict[tuple[str, int] | str, Array] = {}

    def predict(self, one: _Asked) -> Array:
        """Shape (levels, quantities)."""
        keys = ((one.call.step, one.place), f"step {one.call.step}", "all")
        key = next(key for key in keys if key in self._seen)
        if key not in self._made:
            self._made[key] = np.quantile(np.array(self._seen[key]), LEVELS, axis=0)
        return self._made[key]


def evaluate_remainders(runs: Sequence[TraceRun], progress: Progress) -> list[RemainderScores]:
    """Each workflow's conversations in five parts: each part is forecast by what was learned from the other four.

    Workflows of fewer than ten conversations are left out. Parts are made by the conversations' order, not by chance.
    """
    workflows: dict[str, list[list[_Asked]]] = {}
    for number, run in enumerate(runs):
        workflows.setdefault(run.workflow, []).append(_asked(run, number))
    chosen = {name: own for name, own in workflows.items() if len(own) >= _LEAST_RUNS}
    made = []
    for done, (name, own) in enumerate(chosen.items()):
        progress(done, len(chosen))
        made.append(RemainderScores(name, len(own), _scores(own), _online(own)))
    return made


def _scores(runs: Sequence[Sequence[_Asked]]) -> dict[str, dict[str, Scores]]:
    forecasts: dict[str, list[Array]] = {OURS: [], COLD: [], TABLE: []}
    truths: list[Array] = []
    for fold in range(_FOLDS):
        learned = [run for number, run in enumerate(runs) if number % _FOLDS != fold]
        ours, cold, table = _learned(learned), _learned(learned[:_COLD_RUNS]), _SurvivalTable(learned)
        for run in runs[fold::_FOLDS]:
            for one in run:
                truths.append(one.truth)
                forecasts[TABLE].append(table.predict(one))
        for name, known in ((OURS, ours), (COLD, cold)):
            for run in runs[fold::_FOLDS]:
                forecasts[name] += _predicted(known, run)
    return _by_quantity(truths, forecasts)


def _by_quantity(truths: list[Array], forecasts: Mapping[str, list[Array]]) -> dict[str, dict[str, Scores]]:
    truth = np.array(truths)
    by_name = {name: np.array(rows) for name, rows in forecasts.items()}
    return {
        quantity: {name: scores_of(truth[:, k], rows[:, :, k]) for name, rows in by_name.items()}
        for k, quantity in enumerate(QUANTITIES)
    }


def _online(runs: Sequence[Sequence[_Asked]]) -> dict[str, dict[str, Scores]]:
    learner, truths = RemainderLearner(), list[Array]()
    forecasts: dict[str, list[Array]] = {OURS: [], BARE: []}
    known, seen = EmpiricalRemainders(), 0
    for number, run in enumerate(runs):
        if number >= _COLD_RUNS:
            if number - seen >= max(1, number // _SNAPSHOTS):
                known, seen = learner.snapshot() or known, number
            truths += [one.truth for one in run]
            forecasts[OURS] += _predicted(known, run)
            forecasts[BARE] += _predicted(replace(known, offsets={}), run)
        _teach(learner, run)
    return _by_quantity(truths, forecasts) if truths else {}


def _asked(run: TraceRun, number: int) -> list[_Asked]:
    spent = np.array([(1.0, call.output_tokens, call.input_tokens) for call in run.calls])
    rest = np.cumsum(spent[::-1], axis=0)[::-1] - spent
    asked: list[_Asked] = []
    for place, call, _ in walk(run, number):
        parents = (asked[-1].call.call_id,) if asked else ()
        features = packed_features(run.calls[place].prompt)
        told = replace(call, parents=parents, features=features)
        asked.append(_Asked(told, place, run.calls[place].output_tokens, rest[place]))
    return asked


def _learned(runs: Sequence[Sequence[_Asked]]) -> EmpiricalRemainders:
    learner = RemainderLearner()
    for run in runs:
        _teach(learner, run)
    known = learner.snapshot()
    assert known is not None
    return known


def _teach(learner: RemainderLearner, run: Sequence[_Asked]) -> None:
    for one in run:
        learner.call_ended(_ended(one))
    first = run[0].call
    info = RunInfo(first.run_id, first.workflow, 0.0)
    learner.run_closed(RunClosed(info, float(len(run)), "ok", len(run), len(run), 0, 0, 0.0))


def _ended(one: _Asked) -> CallEnded:
    return CallEnded(
        call=one.call,
        arrived_at=float(one.place),
        ended_at=one.place + 1.0,
        status="ok",
        endpoint=None,
        attempts=1,
        retries=0,
        queued_s=0.0,
        ttft_s=None,
        input_tokens=one.call.input_tokens,
        output_tokens=one.output_tokens,
        cached_input_tokens=None,
        cost_usd=0.0,
    )


def _predicted(known: EmpiricalRemainders, run: Sequence[_Asked]) -> list[Array]:
    """The forecasts of a run's calls, each of shape (levels, quantities)."""
    history, made = RunHistory(), []
    for one in run:
        history.arrived(one.call.step, 0.0)
        forecast = known.predict(one.call, history)
        assert forecast is not None
        made.append(_quantiles(forecast))
        history.answered(one.call.step, one.call.input_tokens, one.output_tokens)
    return made


def _quantiles(forecast: RemainderForecast) -> Array:
    samples = np.sort(np.stack([forecast.calls, forecast.output_tokens, forecast.prompt_tokens]), axis=1)
    return np.stack([np.interp(LEVELS, _GRID, row) for row in samples], axis=1)
