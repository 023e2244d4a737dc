"""Output length: what was learned of it, as an immutable snapshot that answers in microseconds.

A call belongs to groups, each inside the wider one before it: everything, the model, the workflow, the step, the step
with this model, and then, by one of several *views* of the run so far, calls that came about alike. Each group's
forecast is ready made, already shrunk toward the wider groups (`agentsched.forecast.length_learner`), so that
predicting is looking up the narrowest group that is known, with the view that has forecast this step best of late,
and correcting it by the calibration of the step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import ModelCall
from agentsched.core.forecast import QuantileForecast
from agentsched.core.remainder import RunHistory
from agentsched.forecast.calibration import corrected, offset_of
from agentsched.forecast.network_inputs import network_inputs
from agentsched.forecast.quantile_net import TrainedLengths

__all__ = [
    "CALIBRATED_BY",
    "PLAIN",
    "PRIOR_OUTPUT_TOKENS",
    "TRAINED",
    "VIEWS",
    "EmpiricalLengths",
    "LengthKey",
    "Scope",
    "calibration_groups",
    "length_keys",
    "view_keys",
]

Array = NDArray[np.float64]

PRIOR_OUTPUT_TOKENS = QuantileForecast.lognormal(150.0, 1.0)
"""What is believed of any answer before one was seen: median 150 tokens, 90 % between 29 and 777."""

_HINT_SPREAD = 0.4
"""Log-standard-deviation around a length that the user hinted at."""

LengthKey = tuple[str, ...]
"""(workflow, step, model), an empty text standing for "any"; then a view's name and what it distinguishes."""

Scope = tuple[str, str, str]
"""(workflow, step, model), an empty text standing for "any"."""

Answers = Sequence[tuple[str, int]]
"""Step and output tokens of a run's answers before a call, newest last."""

PLAIN = "step"
"""The view that looks at the step alone."""

TRAINED = "network"
"""The forecaster that was trained, where there is one: it stands among the views, and forecasts where it does best."""

_SIZES = tuple(str(size) for size in range(64))


def length_keys(workflow: str, step: str, model: str) -> tuple[LengthKey, ...]:
    """The groups a call belongs to, widest first: all, model, workflow, (workflow, step), (workflow, step, model).

    Each is there once, also where a part is unknown, that is, empty.
    """
    keys = (("", "", ""), ("", "", model), (workflow, "", ""), (workflow, step, ""), (workflow, step, model))
    return keys if workflow and step and model else tuple(dict.fromkeys(keys))


CALIBRATED_BY = 4
"""Groups that a forecast is calibrated with where all names are known."""


def calibration_groups(workflow: str, step: str, model: str) -> tuple[Scope, ...]:
    """The groups that a forecast is calibrated with, widest first, each once."""
    groups = (("", "", ""), (workflow, "", ""), (workflow, step, ""), (workflow, step, model))
    return groups if workflow and step and model else tuple(dict.fromkeys(groups))


def _half_octave(tokens: int) -> str:
    """Sizes from 1 token on in steps of a factor of the square root of 2 (1, 2, 3, 4, 6, 8, ... apart)."""
    if tokens <= 1:
        return "0"
    octave = tokens.bit_length() - 1
    return _SIZES[min(2 * octave + (tokens * tokens >= 2 << (2 * octave)), 63)]


def _own(plain: LengthKey, tokens_in: int, answers: Answers, own: int | None) -> tuple[LengthKey, ...]:
    """Calls of the step whose last answer in the same run was about as long."""
    return ((*plain, "own", "" if own is None else _half_octave(own)),)


def _sequence(plain: LengthKey, tokens_in: int, answers: Answers, own: int | None) -> tuple[LengthKey, ...]:
    """Calls that follow the same step, whose answer was about as long, and the same before that."""
    if not answers:
        return ((*plain, "first"),)
    step, tokens = answers[-1]
    size = _half_octave(tokens)
    after = (*plain, "after", step)
    if len(answers) == 1:
        return after, (*after, size), (*after, size, "first")
    before, earlier = answers[-2]
    return after, (*after, size), (*after, size, before, _half_octave(earlier))


def _prompt(plain: LengthKey, tokens_in: int, answers: Answers, own: int | None) -> tuple[LengthKey, ...]:
    """Calls whose prompt is about as long, within a factor of 2."""
    return ((*plain, "prompt", _SIZES[min(max(0, tokens_in).bit_length(), 63)]),)


VIEWS: Mapping[str, Callable[[LengthKey, int, Answers, int | None], tuple[LengthKey, ...]]] = MappingProxyType(
    {"own": _own, "sequence": _sequence, "prompt": _prompt}
)
"""Name -> the groups inside (workflow, step, model) that the view sees a call in, widest first."""


def view_keys(view: str, call: ModelCall, answers: Answers, own: int | None) -> tuple[LengthKey, ...]:
    """The groups of a call in a view beyond `length_keys`, widest first; none for `PLAIN`.

    Args:
        view: one of `VIEWS`, or `PLAIN`.
        call: the call.
        answers: what the run was answered before it, newest last; the last two are looked at.
        own: output tokens of the run's last answer of the same step; None: there was none.
    """
    look = VIEWS.get(view)
    return () if look is None else look((call.workflow, call.step, call.model), call.input_tokens, answers, own)


_NO_GROUPS: Mapping[LengthKey, QuantileForecast] = MappingProxyType({})
_NO_VIEWS: Mapping[Scope, str] = MappingProxyType({})
_NO_OFFSETS: Mapping[Scope, Array] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class EmpiricalLengths:
    """A snapshot of what was learned.

    Attributes:
        groups: the forecast of each known group, shrunk toward the wider ones.
        views: which view to use, by `calibration_groups`, the narrowest that is there.
        offsets: corrections by the same groups, see `agentsched.forecast.calibration`.
        trained: the trained forecaster behind the view `TRAINED`; None: there is none.
    """

    groups: Mapping[LengthKey, QuantileForecast] = field(default_factory=lambda: _NO_GROUPS)
    views: Mapping[Scope, str] = field(default_factory=lambda: _NO_VIEWS)
    offsets: Mapping[Scope, Array] = field(default_factory=lambda: _NO_OFFSETS)
    trained: TrainedLengths | None = None

    def predict(self, call: ModelCall, history: RunHistory) -> QuantileForecast:
        """The forecast of the call's output tokens, not capped by its ``max_tokens``."""
        if call.hinted_output_tokens is not None:
            return QuantileForecast.lognormal(float(max(1, call.hinted_output_tokens)), _HINT_SPREAD)
        raw = self.uncorrected(self.view_of(call), call, history.answers, history.last_output.get(call.step))
        if not self.offsets:
            return raw
        return corrected(raw, offset_of(self.offsets, calibration_groups(call.workflow, call.step, call.model)))

    def view_of(self, call: ModelCall) -> str:
        """The view that forecasts this call."""
        views = self.views
        workflow, step = call.workflow, call.step
        for scope in ((workflow, step, call.model), (workflow, step, ""), (workflow, "", ""), ("", "", "")):
            view = views.get(scope)
            if view is not None:
                return view
        return PLAIN

    def uncorrected(self, view: str, call: ModelCall, answers: Answers, own: int | None) -> QuantileForecast:
        """The forecast of one view, hints and calibration left aside; for the arguments see `view_keys`."""
        if view == TRAINED and self.trained is not None:
            return self.trained.predict(network_inputs(call, answers, own))
        groups = self.groups
        for key in reversed(view_keys(view, call, answers, own)):
            known = groups.get(key)
            if known is not None:
                return known
        for key in reversed(length_keys(call.workflow, call.step, call.model)):
            known = groups.get(key)
            if known is not None:
                return known
        return PRIOR_OUTPUT_TOKENS
