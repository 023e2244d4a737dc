"""How well output lengths are forecast on a trace: online, and learned from some conversations and tried on others."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import ModelCall
from agentsched.core.forecast import QUANTILES, QuantileForecast
from agentsched.core.remainder import RunHistory
from agentsched.evaluation.baselines import Baseline, Boosted, GlobalQuantiles, StepQuantiles
from agentsched.evaluation.feeding import Feeder, walk
from agentsched.evaluation.prompts import Embedder, PromptGuess, words
from agentsched.evaluation.scores import LEVELS, Scores, scores_of
from agentsched.evaluation.trace import TraceRun
from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.network_inputs import network_inputs
from agentsched.forecast.quantile_net import TrainedLengths
from agentsched.training.examples import ExampleBook, Examples

__all__ = ["OURS", "UNCALIBRATED", "ScoredCalls", "evaluate_online", "evaluate_split", "examples_of"]

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Told now and then: calls done, calls in all."""

OURS, UNCALIBRATED = "agentsched", "agentsched, uncalibrated"
Train = Callable[[Examples], Mapping[str, TrainedLengths]]
"""Makes forecasters, by name, from examples."""

_TEST_SHARE = 5
"""One conversation in so many is held out."""

_TELL_EVERY = 500


@dataclass(frozen=True, slots=True)
class ScoredCalls:
    """Calls with their forecasts.

    Attributes:
        outcomes: tokens, shape (n,).
        forecasts: at `LEVELS`, by forecaster, shape (n, 5).
        workflows: of each call.
        levels: the level that the outcome had in our calibrated forecast, in [0, 1], shape (n,).
        drifts: how often a change of lengths was noticed.
    """

    outcomes: Array
    forecasts: Mapping[str, Array]
    workflows: tuple[str, ...]
    levels: Array
    drifts: int

    def scores(self, chosen: NDArray[np.bool_] | None = None) -> dict[str, Scores]:
        """The scores of every forecaster, on all calls or on the chosen ones."""
        rows = np.ones(self.outcomes.size, dtype=bool) if chosen is None else chosen
        return {name: scores_of(self.outcomes[rows], made[rows]) for name, made in self.forecasts.items()}

    def since_switch(self) -> NDArray[np.intp]:
        """How many calls of the same workflow came before each call, shape (n,)."""
        seen: dict[str, int] = {}
        places = []
        for workflow in self.workflows:
            places.append(seen.get(workflow, 0))
            seen[workflow] = places[-1] + 1
        return np.array(places, dtype=np.intp)


class _Collector:
    """Gathers forecasts and outcomes."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Array]] = {}
        self._outcomes: list[int] = []
        self._workflows: list[str] = []
        self._levels: list[float] = []

    def add(
        self,
        run: TraceRun,
        place: int,
        ours: tuple[QuantileForecast, QuantileForecast],
        others: Mapping[str, Array],
    ) -> None:
        tokens = run.calls[place].output_tokens
        self._outcomes.append(tokens)
        self._workflows.append(run.workflow)
        self._levels.append(_level(ours[0], tokens))
        for name, forecast in zip((OURS, UNCALIBRATED), ours, strict=True):
            row = np.array([forecast.quantile(level) for level in LEVELS])
            self._rows.setdefault(name, []).append(row)
        for name, row in others.items():
            self._rows.setdefault(name, []).append(row)

    def scored(self, drifts: int) -> ScoredCalls:
        return ScoredCalls(
            np.array(self._outcomes, dtype=np.float64),
            {name: np.array(rows) for name, rows in self._rows.items()},
            tuple(self._workflows),
            np.array(self._levels),
            drifts,
        )


def evaluate_online(runs: Sequence[TraceRun], boosting: str | None, progress: Progress) -> ScoredCalls:
    """Forecast every call from those before it, in the trace's order, then learn from it.

    Args:
        runs: the trace.
        boosting: the package of the boosted baseline; None: without that baseline.
        progress: see `Progress`.
    """
    feeder, gathered, baselines = Feeder(), _Collector(), _baselines(boosting)
    total, done = sum(len(run.calls) for run in runs), 0
    for number, run in enumerate(runs):
        for place, call, history in feeder.play(run, number):
            gathered.add(run, place, _ours(feeder.known, call, history), _asked(baselines, run, place))
            for baseline in baselines.values():
                baseline.learn(run, place)
            done += 1
            if done % _TELL_EVERY == 0:
                progress(done, total)
    return gathered.scored(feeder.drifts)


def evaluate_split(
    runs: Sequence[TraceRun],
    boosting: str | None,
    progress: Progress,
    train: Train | None = None,
    embed: Embedder | None = None,
) -> ScoredCalls | None:
    """Learn from four conversations in five, in order, and forecast the fifth without learning from it.

    None where either part would be empty. A conversation's part follows from its name, not from chance.

    Args:
        runs: the trace.
        boosting: the package of the boosted baseline; None: without that baseline.
        progress: see `Progress`.
        train: makes further forecasters from the conversations that are learned from; None: without them.
        embed: makes vectors of prompts, by which boosted trees forecast as well, beside others that see hashed words;
            None: without both. It needs ``boosting``.

    Raises:
        ConfigError: ``embed`` fails.
    """
    numbered = list(enumerate(runs))
    tried = [(number, run) for number, run in numbered if zlib.crc32(run.run_id.encode()) % _TEST_SHARE == 0]
    if not tried or len(tried) == len(runs):
        return None
    chosen = {number for number, _ in tried}
    learned = [(number, run) for number, run in numbered if number not in chosen]
    feeder, gathered, baselines = Feeder(), _Collector(), _baselines(boosting, refit=False, embed=embed)
    book = ExampleBook()
    for done, (number, run) in enumerate(learned):
        for place, call, history in feeder.play(run, number):
            if train is not None:
                _note(book, call, history, run.calls[place].output_tokens)
            for baseline in baselines.values():
                baseline.learn(run, place)
        if done % _TELL_EVERY == 0:
            progress(done, len(runs))
    for baseline in baselines.values():
        if isinstance(baseline, Boosted):
            baseline.fit()
    trained = {} if train is None else train(book.examples())
    for number, run in tried:
        for place, call, history in walk(run, number):
            asked = _asked(baselines, run, place) | _of_trained(trained, call, history)
            gathered.add(run, place, _ours(feeder.known, call, history), asked)
    return gathered.scored(feeder.drifts)


def examples_of(runs: Sequence[TraceRun]) -> Examples:
    """All calls of a trace as examples to train on, in order."""
    book = ExampleBook()
    for number, run in enumerate(runs):
        for place, call, history in walk(run, number):
            _note(book, call, history, run.calls[place].output_tokens)
    return book.examples()


def _note(book: ExampleBook, call: ModelCall, history: RunHistory, tokens: int) -> None:
    book.add(call, tuple(history.answers), history.last_output.get(call.step), tokens)


def _of_trained(trained: Mapping[str, TrainedLengths], call: ModelCall, history: RunHistory) -> dict[str, Array]:
    if not trained:
        return {}
    inputs = network_inputs(call, tuple(history.answers), history.last_output.get(call.step))
    made = {name: _capped(one.predict(inputs), call) for name, one in trained.items()}
    return {name: np.array([one.quantile(level) for level in LEVELS]) for name, one in made.items()}


def _ours(known: EmpiricalLengths, call: ModelCall, history: RunHistory) -> tuple[QuantileForecast, QuantileForecast]:
    """The forecast, and what it would be without its calibration, both capped by the call's ``max_tokens``."""
    raw = replace(known, offsets={})
    return _capped(known.predict(call, history), call), _capped(raw.predict(call, history), call)


def _baselines(boosting: str | None, *, refit: bool = True, embed: Embedder | None = None) -> dict[str, Baseline]:
    made: dict[str, Baseline] = {"global quantiles": GlobalQuantiles(), "per-step quantiles": StepQuantiles()}
    if boosting is not None:
        made["boosted quantiles"] = Boosted(boosting, refit=refit)
        for name, one in () if embed is None else (("words", words), ("embeddings", embed)):
            made[f"boosted, with {name}"] = Boosted(boosting, refit=refit, prompts=PromptGuess(one))
    return made


def _asked(baselines: Mapping[str, Baseline], run: TraceRun, place: int) -> dict[str, Array]:
    return {name: baseline.predict(run, place) for name, baseline in baselines.items()}


def _capped(forecast: QuantileForecast, call: ModelCall) -> QuantileForecast:
    if call.max_tokens is None:
        return forecast
    return QuantileForecast(np.minimum(forecast.values, float(call.max_tokens)))


def _level(forecast: QuantileForecast, tokens: float) -> float:
    """The share of a forecast below what came, half of what equals it counted."""
    below = int(forecast.values.searchsorted(tokens, side="left"))
    upto = int(forecast.values.searchsorted(tokens, side="right"))
    return (below + upto) / (2 * QUANTILES)
