"""How well output lengths are forecast on a trace: online, and learned from some conversations and tried on others."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import ModelCall, RunInfo
from agentsched.core.forecast import QUANTILES, QuantileForecast
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.remainder import RunHistory
from agentsched.evaluation.baselines import Baseline, Boosted, GlobalQuantiles, StepQuantiles
from agentsched.evaluation.scores import LEVELS, Scores, scores_of
from agentsched.evaluation.trace import TraceRun
from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.length_learner import LengthLearner

__all__ = ["OURS", "UNCALIBRATED", "ScoredCalls", "evaluate_online", "evaluate_split"]

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Told now and then: calls done, calls in all."""

OURS, UNCALIBRATED = "agentsched", "agentsched, uncalibrated"
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


class _Forecaster:
    """The learner as it runs live, fed with a trace."""

    def __init__(self) -> None:
        self.learner = LengthLearner()
        self.known = EmpiricalLengths()
        self._now = 0.0

    def predict(self, call: ModelCall, history: RunHistory) -> tuple[QuantileForecast, QuantileForecast]:
        """The forecast and what it would be without its calibration, both capped by the call's ``max_tokens``."""
        raw = replace(self.known, offsets={})
        return _capped(self.known.predict(call, history), call), _capped(raw.predict(call, history), call)

    def learn(self, call: ModelCall, tokens: int, workflow_run: RunInfo, *, last: bool) -> None:
        arrived, self._now = self._now, self._now + 1.0
        self.learner.call_ended(
            CallEnded(
                call=call,
                arrived_at=arrived,
                ended_at=self._now,
                status="ok",
                endpoint=None,
                attempts=1,
                retries=0,
                queued_s=0.0,
                ttft_s=None,
                input_tokens=call.input_tokens,
                output_tokens=tokens,
                cached_input_tokens=None,
                cost_usd=0.0,
            )
        )
        if last:
            self.learner.run_closed(RunClosed(workflow_run, self._now, "ok", 0, 0, 0, 0, 0.0))
        self.known = self.learner.snapshot() or self.known


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
    """Forecast every call from those before it, in the trace's order, then learn from it."""
    ours, gathered, drifts = _Forecaster(), _Collector(), 0
    baselines = _baselines(boosting)
    total, done = sum(len(run.calls) for run in runs), 0
    for number, run in enumerate(runs):
        history = RunHistory()
        info = RunInfo(_run_id(number), run.workflow, 0.0)
        for place, call in enumerate(_model_calls(run, number)):
            history.arrived(call.step, 0.0)
            gathered.add(run, place, ours.predict(call, history), _asked(baselines, run, place))
            tokens = run.calls[place].output_tokens
            ours.learn(call, tokens, info, last=place == len(run.calls) - 1)
            drifts += len(ours.learner.take_drifts())
            for baseline in baselines.values():
                baseline.learn(run, place)
            history.answered(call.step, call.input_tokens, tokens)
            done += 1
            if done % _TELL_EVERY == 0:
                progress(done, total)
    return gathered.scored(drifts)


def evaluate_split(runs: Sequence[TraceRun], boosting: str | None, progress: Progress) -> ScoredCalls | None:
    """Learn from four conversations in five, in order, and forecast the fifth without learning from it.

    None where either part would be empty. A conversation's part follows from its name, not from chance.
    """
    held_out = [zlib.crc32(run.run_id.encode()) % _TEST_SHARE == 0 for run in runs]
    if all(held_out) or not any(held_out):
        return None
    ours, gathered = _Forecaster(), _Collector()
    baselines = _baselines(boosting, refit=False)
    total, done = len(runs), 0
    for testing in (False, True):
        for number, run in enumerate(runs):
            if held_out[number] is testing:
                _split_run(run, number, ours, baselines, gathered if testing else None)
                done += 1
                if done % _TELL_EVERY == 0:
                    progress(done, total)
        for baseline in baselines.values():
            if isinstance(baseline, Boosted):
                baseline.fit()
    return gathered.scored(0)


def _split_run(
    run: TraceRun, number: int, ours: _Forecaster, baselines: Mapping[str, Baseline], gathered: _Collector | None
) -> None:
    history = RunHistory()
    info = RunInfo(_run_id(number), run.workflow, 0.0)
    for place, call in enumerate(_model_calls(run, number)):
        history.arrived(call.step, 0.0)
        tokens = run.calls[place].output_tokens
        if gathered is not None:
            gathered.add(run, place, ours.predict(call, history), _asked(baselines, run, place))
        else:
            ours.learn(call, tokens, info, last=place == len(run.calls) - 1)
            for baseline in baselines.values():
                baseline.learn(run, place)
        history.answered(call.step, call.input_tokens, tokens)


def _baselines(boosting: str | None, *, refit: bool = True) -> dict[str, Baseline]:
    made: dict[str, Baseline] = {"global quantiles": GlobalQuantiles(), "per-step quantiles": StepQuantiles()}
    if boosting is not None:
        made["boosted quantiles"] = Boosted(boosting, refit=refit)
    return made


def _asked(baselines: Mapping[str, Baseline], run: TraceRun, place: int) -> dict[str, Array]:
    return {name: baseline.predict(run, place) for name, baseline in baselines.items()}


def _run_id(number: int) -> str:
    return f"trace-{number}"


def _model_calls(run: TraceRun, number: int) -> list[ModelCall]:
    return [
        ModelCall(
            call_id=f"trace-{number}-{place}",
            run_id=_run_id(number),
            workflow=run.workflow,
            step=call.step,
            call_index=place,
            model=call.model,
            input_tokens=call.input_tokens,
            max_tokens=call.max_tokens,
        )
        for place, call in enumerate(run.calls)
    ]


def _capped(forecast: QuantileForecast, call: ModelCall) -> QuantileForecast:
    if call.max_tokens is None:
        return forecast
    return QuantileForecast(np.minimum(forecast.values, float(call.max_tokens)))


def _level(forecast: QuantileForecast, tokens: float) -> float:
    """The share of a forecast below what came, half of what equals it counted."""
    below = int(forecast.values.searchsorted(tokens, side="left"))
    upto = int(forecast.values.searchsorted(tokens, side="right"))
    return (below + upto) / (2 * QUANTILES)
