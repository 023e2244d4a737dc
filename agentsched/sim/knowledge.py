"""What clients know of output lengths and of what follows a call, at first or for good; `learning` adds to it."""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import ModelCall
from agentsched.core.forecast import QUANTILES, QuantileForecast, normal_quantiles
from agentsched.core.optional import step_of_visit
from agentsched.core.protocols import LengthPredictor, RemainderPredictor
from agentsched.core.remainder import RemainderForecast, RunHistory
from agentsched.forecast.calibration import corrected, offset_of
from agentsched.forecast.length import EmpiricalLengths, Scope, calibration_groups
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.sim.averages import Averages
from agentsched.sim.plan import CallPlan, RunPlan
from agentsched.sim.rests import certain_rest, last_calls, rests_of
from agentsched.sim.scenario import Scenario
from agentsched.sim.workload import step_outputs
from agentsched.sim.workload_format import Lognormal

__all__ = ["Book", "Knowledge", "OneLength", "predictors"]

_Z = normal_quantiles(QUANTILES)


class Knowledge(StrEnum):
    """Where forecasts come from."""

    STUDY = "study"
    """Lengths from a predictor with a lognormal error, remainders from the averages of each step."""
    LEARNED = "learned"
    """Both from what the client itself has seen, by the learners that run live; at first it knows nothing."""
    CONSTANT = "constant"
    """One length for every call, the mean, with the spread that calibration gives it as answers come, as live;
    remainders as in the study."""
    POINT = "point"
    """The same length for every call, taken for certain; remainders as in the study."""
    RANDOM = "random"
    """A length drawn from the step's distribution, whatever the true one is; remainders as in the study."""
    ORACLE = "oracle"
    """True lengths and true remainders."""


class Book:
    """Which plan stands behind an open call: what predictors with foresight look into."""

    __slots__ = ("_plans", "_rests", "_runs")

    def __init__(self) -> None:
        self._plans: dict[str, CallPlan] = {}
        self._runs: dict[str, RunPlan] = {}
        self._rests: dict[str, NDArray[np.float64]] = {}

    def expect(self, run_id: str, plan: RunPlan) -> None:
        """A run is going to be made."""
        self._runs[run_id] = plan

    def rest(self, call: ModelCall) -> RemainderForecast:
        """What follows an open call in its run."""
        rests = self._rests.get(call.run_id)
        if rests is None:
            plan = self._runs[call.run_id]
            rests = self._rests[call.run_id] = rests_of(plan.calls, plan.tail_s)
        return certain_rest(rests[call.call_index])

    def left(self, call: ModelCall, step: str) -> RemainderForecast | None:
        """What follows the optional step of an open call; None: it is in none of that name."""
        visit = next((visit for visit in call.optional if step_of_visit(visit) == step), None)
        if visit is None:
            return None
        last = last_calls(self._runs[call.run_id].calls)[visit]
        return self.rest(replace(call, call_index=last))

    def open(self, call_id: str, plan: CallPlan) -> None:
        """A call is being made."""
        self._plans[call_id] = plan

    def close(self, call_id: str) -> None:
        """A call is over."""
        del self._plans[call_id]

    def plan(self, call_id: str) -> CallPlan:
        """The plan behind an open call."""
        return self._plans[call_id]


class _NoisyLengths:
    """Bayes' posterior of a length, from the step's lognormal and one lognormal reading of the true length.

    With prior log L ~ N(log m, s^2) and a reading log L + e z, z standard normal, the posterior of log L is normal with
    mean (1 - w) log m + w (log L + e z) and variance s^2 (1 - w), w = s^2 / (s^2 + e^2).
    """

    def __init__(self, book: Book, scenario: Scenario) -> None:
        self._book = book
        self._error = scenario.knowledge.length_error
        self._bounds = float(scenario.outputs.least), float(scenario.outputs.most)
        self._steps = {step: self._known(prior) for step, prior in step_outputs(scenario).items()}

    def _known(self, prior: Lognormal) -> tuple[float, float, NDArray[np.float64]]:
        """What the posteriors of a step's calls share: (1 - w) log m, w, and the deviations from their means."""
        variance = prior.sigma**2
        weight = variance / (variance + self._error**2) if variance > 0.0 else 0.0
        return (1.0 - weight) * float(np.log(prior.median)), weight, sqrt(variance * (1.0 - weight)) * _Z

    def predict(self, call: ModelCall, history: RunHistory) -> QuantileForecast:
        """The forecast for this call."""
        plan = self._book.plan(call.call_id)
        fixed, weight, deviations = self._steps[call.workflow, call.step]
        tokens = deviations + (fixed + weight * (float(np.log(plan.output_tokens)) + self._error * plan.noise))
        np.exp(tokens, out=tokens)
        np.maximum(tokens, self._bounds[0], out=tokens)
        return QuantileForecast(np.minimum(tokens, self._bounds[1], out=tokens))


class _TrueLengths:
    """The length itself."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def predict(self, call: ModelCall, history: RunHistory) -> QuantileForecast:
        """The forecast for this call."""
        return QuantileForecast.constant(self._book.plan(call.call_id).output_tokens)


class OneLength:
    """One length for all, corrected by what calibration has found so far: nothing, or an offset for each quantile."""

    def __init__(self, tokens: float, offsets: Mapping[Scope, NDArray[np.float64]] | None = None) -> None:
        self.tokens, self.forecast = tokens, QuantileForecast.constant(tokens)
        self._offsets = {} if offsets is None else offsets

    def predict(self, call: ModelCall, history: RunHistory) -> QuantileForecast:
        """The same forecast for every call of a step."""
        groups = calibration_groups(call.workflow, call.step, call.model)
        return corrected(self.forecast, offset_of(self._offsets, groups))


class _RandomLengths:
    """A length that such a call might have, told with certainty."""

    def __init__(self, book: Book, scenario: Scenario) -> None:
        self._book, self._priors = book, step_outputs(scenario)

    def predict(self, call: ModelCall, history: RunHistory) -> QuantileForecast:
        """The forecast for this call."""
        prior = self._priors[call.workflow, call.step]
        drawn = prior.median * float(np.exp(prior.sigma * self._book.plan(call.call_id).noise))
        return QuantileForecast.constant(max(1.0, drawn))


class _AverageRemainders:
    """What follows calls of the same step, and what follows optional steps."""

    def __init__(self, averages: Averages) -> None:
        self._rests, self._left = averages.rests, averages.left

    def predict(self, call: ModelCall, history: RunHistory) -> RemainderForecast | None:
        """The forecast for a call of this step."""
        return self._rests.get((call.workflow, call.step))

    def after_leaving(self, call: ModelCall, history: RunHistory, step: str) -> RemainderForecast | None:
        """The forecast of what follows this optional step."""
        return self._left.get((call.workflow, step))


class _TrueRemainders:
    """What follows a call."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def predict(self, call: ModelCall, history: RunHistory) -> RemainderForecast | None:
        """The forecast for this call."""
        return self._book.rest(call)

    def after_leaving(self, call: ModelCall, history: RunHistory, step: str) -> RemainderForecast | None:
        """The forecast of what follows this optional step."""
        return self._book.left(call, step)


def predictors(
    knowledge: Knowledge, book: Book, scenario: Scenario, averages: Averages, rests: Knowledge | None = None
) -> tuple[LengthPredictor, RemainderPredictor]:
    """What a client's scheduler is given at its start.

    Args:
        knowledge: where forecasts come from.
        book: what predictors with foresight look into.
        scenario: what is simulated.
        averages: of the scenario.
        rests: where forecasts of what follows a call come from; None: as ``knowledge`` says.
    """
    return _lengths(knowledge, book, scenario, averages), _rests(rests or knowledge, book, averages)


def _lengths(knowledge: Knowledge, book: Book, scenario: Scenario, averages: Averages) -> LengthPredictor:
    match knowledge:
        case Knowledge.STUDY:
            return _NoisyLengths(book, scenario)
        case Knowledge.ORACLE:
            return _TrueLengths(book)
        case Knowledge.RANDOM:
            return _RandomLengths(book, scenario)
        case Knowledge.LEARNED:
            return EmpiricalLengths()
        case _:
            return OneLength(averages.output_tokens)


def _rests(knowledge: Knowledge, book: Book, averages: Averages) -> RemainderPredictor:
    match knowledge:
        case Knowledge.ORACLE:
            return _TrueRemainders(book)
        case Knowledge.LEARNED:
            return EmpiricalRemainders(guess=True)
        case _:
            return _AverageRemainders(averages)
