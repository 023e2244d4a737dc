"""What a forecaster of output lengths has to beat: quantiles of everything, of the same step, and boosted trees."""

from bisect import insort
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agentsched.evaluation.prompts import PromptGuess
from agentsched.evaluation.scores import LEVELS
from agentsched.evaluation.trace import TraceRun

__all__ = ["Baseline", "Boosted", "GlobalQuantiles", "StepQuantiles", "boosting_package"]

Array = NDArray[np.float64]

_FIRST_GUESS: Array = np.array((29.0, 150.0, 540.0, 777.0, 1536.0))
"""Before anything was seen: a lognormal of median 150 tokens, at `LEVELS`."""

_ENOUGH = 5
"""Answers of a step from which on they are believed alone."""


class Baseline(Protocol):
    """Forecasts the output of call ``place`` of a run from the calls before it, and from what it was taught."""

    def predict(self, run: TraceRun, place: int) -> Array:
        """The forecast at `LEVELS`, tokens."""

    def learn(self, run: TraceRun, place: int) -> None:
        """Take the call with its outcome."""


class GlobalQuantiles:
    """The quantiles of all answers so far."""

    def __init__(self) -> None:
        self._seen: list[int] = []

    def predict(self, run: TraceRun, place: int) -> Array:
        """See `Baseline`."""
        return _quantiles(self._seen) if self._seen else _FIRST_GUESS

    def learn(self, run: TraceRun, place: int) -> None:
        """See `Baseline`."""
        insort(self._seen, run.calls[place].output_tokens)


class StepQuantiles:
    """The quantiles of all answers of the same step of the workflow so far; while they are few, of all answers."""

    def __init__(self) -> None:
        self._all = GlobalQuantiles()
        self._seen: dict[tuple[str, str], list[int]] = {}

    def predict(self, run: TraceRun, place: int) -> Array:
        """See `Baseline`."""
        seen = self._seen.get((run.workflow, run.calls[place].step), ())
        return _quantiles(seen) if len(seen) >= _ENOUGH else self._all.predict(run, place)

    def learn(self, run: TraceRun, place: int) -> None:
        """See `Baseline`."""
        call = run.calls[place]
        insort(self._seen.setdefault((run.workflow, call.step), []), call.output_tokens)
        self._all.learn(run, place)


def _quantiles(ordered: Sequence[int]) -> Array:
    """Quantiles of ascending values at `LEVELS`, linear between them as numpy's are."""
    last = len(ordered) - 1
    made = []
    for level in LEVELS:
        at = level * last
        low = int(at)
        made.append(ordered[low] + (at - low) * (ordered[min(low + 1, last)] - ordered[low]))
    return np.array(made, dtype=np.float64)


# -- boosted trees ---------------------------------------------------------------------------------------------------

_FIRST_FIT = 100
_REFIT_GROWTH = 1.25
"""Trees are grown anew when there are this many times as many calls to learn from."""

_SIZES = 3
"""Answers before a call whose sizes are told, of the run and of the same step."""

Fit = Callable[[Array, Array, float], Any]


def boosting_package() -> str | None:
    """The package that `Boosted` would use; None: there is none."""
    for name in ("lightgbm", "sklearn"):
        try:
            import_module(name)
        except ModuleNotFoundError:
            continue
        return name
    return None


class Boosted:
    """Gradient-boosted quantile trees on step, position and sizes; LightGBM's, or scikit-learn's without that.

    Grown anew whenever the history has grown by a quarter, or, without ``refit``, only by `fit`. They see what the
    forecaster sees: the step and the one before it, prompt tokens, position, and the sizes of the answers before, of
    the run and of the same step.

    Args:
        package: as from `boosting_package`.
        refit: whether they are grown anew by themselves.
        prompts: what it guesses of the prompt they see too; it is fitted when they are grown.
    """

    def __init__(self, package: str, *, refit: bool = True, prompts: PromptGuess | None = None) -> None:
        self._prompts = prompts
        self.package = package
        self._fit: Fit = _lightgbm if package == "lightgbm" else _sklearn
        self._codes: dict[tuple[str, str], int] = {}
        self._rows: list[list[float]] = []
        self._outcomes: list[int] = []
        self._models: list[Any] = []
        self._next_fit = float(_FIRST_FIT) if refit else np.inf
        self._simple = GlobalQuantiles()

    def predict(self, run: TraceRun, place: int) -> Array:
        """See `Baseline`."""
        if not self._models:
            return self._simple.predict(run, place)
        features = self._features(run, place)
        if self._prompts is not None:
            features.append(self._prompts.of(run.calls[place].prompt))
        row = np.array([features])
        made = np.array([float(model.predict(row)[0]) for model in self._models])
        return np.maximum.accumulate(made)

    def learn(self, run: TraceRun, place: int) -> None:
        """See `Baseline`."""
        self._rows.append(self._features(run, place))
        self._outcomes.append(run.calls[place].output_tokens)
        if self._prompts is not None:
            self._prompts.learn(
                f"{run.workflow}\n{run.run_id}", run.calls[place].prompt, run.calls[place].output_tokens
            )
        self._simple.learn(run, place)
        if len(self._rows) >= self._next_fit:
            self.fit()

    def fit(self) -> None:
        """Grow the trees from all that was taught."""
        if self._rows:
            features, outcomes = np.array(self._rows), np.array(self._outcomes, dtype=np.float64)
            if self._prompts is not None:
                features = np.column_stack((features, self._prompts.fit()))
            self._models = [self._fit(features, outcomes, level) for level in LEVELS]
            self._next_fit *= _REFIT_GROWTH

    def _features(self, run: TraceRun, place: int) -> list[float]:
        call, before = run.calls[place], run.calls[:place]
        own = [one.output_tokens for one in before if one.step == call.step]
        every = [one.output_tokens for one in before]
        last = self._code(run.workflow, before[-1].step) if before else -1
        grown = call.input_tokens - (before[-1].input_tokens + before[-1].output_tokens if before else 0)
        return [
            self._code(run.workflow, call.step),
            last,
            _size(call.input_tokens),
            _size(grown),
            place,
            len(own),
            *_latest(every),
            *_latest(own),
            float(np.mean([_size(tokens) for tokens in own])) if own else -1.0,
            _size(max(own)) if own else -1.0,
        ]

    def _code(self, workflow: str, step: str) -> int:
        return self._codes.setdefault((workflow, step), len(self._codes))


def _latest(tokens: Sequence[int]) -> list[float]:
    sizes = [_size(one) for one in reversed(tokens[-_SIZES:])]
    return sizes + [-1.0] * (_SIZES - len(sizes))


def _size(tokens: float) -> float:
    return float(np.log2(max(1.0, tokens)))


def _lightgbm(features: Array, outcomes: Array, level: float) -> Any:
    package = import_module("lightgbm")
    shape = {"num_leaves": 15, "min_data_in_leaf": 10, "learning_rate": 0.06, "num_threads": 1, "verbose": -1}
    data = package.Dataset(features, outcomes, categorical_feature=[0, 1])
    return package.train({**shape, "objective": "quantile", "alpha": level}, data, 120)


def _sklearn(features: Array, outcomes: Array, level: float) -> Any:
    made = import_module("sklearn.ensemble").HistGradientBoostingRegressor(
        loss="quantile", quantile=level, max_iter=120, max_leaf_nodes=15, min_samples_leaf=10, learning_rate=0.06
    )
    return made.fit(features, outcomes)
