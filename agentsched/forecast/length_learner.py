"""Learns output lengths from calls that ended; lives off the hot path and hands out immutable snapshots."""

from collections import deque
from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import FailureKind, ModelCall, Observation
from agentsched.core.forecast import LEVELS, QuantileForecast
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.remainder import ANSWERS_KEPT
from agentsched.forecast.answer_memory import AnswerMemory, shrunk
from agentsched.forecast.calibration import Calibrator, Drift, corrected_levels, offset_of
from agentsched.forecast.length import (
    CALIBRATED_BY,
    PLAIN,
    PRIOR_OUTPUT_TOKENS,
    TRAINED,
    VIEWS,
    EmpiricalLengths,
    LengthKey,
    Scope,
    calibration_groups,
    length_keys,
    view_keys,
)
from agentsched.forecast.network_inputs import network_inputs
from agentsched.forecast.quantile_net import TrainedLengths
from agentsched.forecast.standings import Standings

__all__ = ["LengthLearner"]

Array = NDArray[np.float64]

_STRENGTH = 4.0
"""With this many answers a group counts as much as the wider one it stands in."""

_MAX_GROUPS = 8192
"""Groups remembered; beyond it the group that was quiet for longest is forgotten."""

_MAX_OPEN_RUNS = 10_000
_ANSWERS_OF_A_RUN = 64
_MAX_CUT = 10_000
_MAX_DRIFTS = 64

_YOUNG = 10
"""While a step has so few answers each of them counts in what the next one is compared with, snapshot or not."""

_KEPT_AFTER_DRIFT = 20
"""Answers of a step that are still believed once its lengths have changed; of its parts their share of them."""

_CUT_SHORT = frozenset(
    {FailureKind.DEADLINE.value, FailureKind.PATIENCE.value, FailureKind.STALLED.value, FailureKind.RESET.value}
)
"""Ends of attempts whose answer would have been longer."""


class _Answered:
    """One answer of an open run."""

    __slots__ = ("ended_at", "step", "tokens")

    def __init__(self, ended_at: float, step: str, tokens: int) -> None:
        self.ended_at, self.step, self.tokens = ended_at, step, tokens


class LengthLearner:
    """Bounded memory of recent answers per group. Not thread-safe: one thread learns.

    Args:
        trained: a trained forecaster that is compared with what is counted; None: there is none.

    Attributes:
        trained: the trained forecaster in use.
        examples: is told of every answer, for a forecaster to be trained on: what it sees (`network_inputs`), the
            output tokens, and whether the answer was cut off there.
    """

    def __init__(self, trained: TrainedLengths | None = None) -> None:
        self.trained = trained
        self.examples: Callable[[Array, int, bool], None] | None = None
        self._drifts: deque[Drift[Scope]] = deque(maxlen=_MAX_DRIFTS)
        self._seen: dict[LengthKey, AnswerMemory] = {}
        self._made: dict[LengthKey, QuantileForecast] = {}
        self._chains: dict[LengthKey, tuple[LengthKey, ...]] = {}
        self._changed: set[LengthKey] = set()
        self._runs: dict[str, deque[_Answered]] = {}
        self._cut: dict[str, int] = {}
        self._calibrator: Calibrator[Scope] = Calibrator(CALIBRATED_BY)
        self._offsets: dict[Scope, Array] = {}
        self._standings = Standings(_compared(trained))
        self._replaced = False

    # -- lessons -----------------------------------------------------------------------------------------------------

    def learn(self, observation: Observation) -> None:
        """Take one finished attempt: how far an answer came that was cut short counts, should its call fail."""
        if observation.status in _CUT_SHORT and observation.output_tokens > 0:
            tokens = observation.output_tokens + observation.continued_tokens
            self._cut[observation.call_id] = max(self._cut.get(observation.call_id, 0), tokens)
            if len(self._cut) > _MAX_CUT:
                del self._cut[next(iter(self._cut))]

    def call_ended(self, record: CallEnded) -> float | None:
        """Take one call; of a failed one only the answer that was cut short teaches, that it was to be longer.

        Returns:
            The mean pinball loss over all levels of what was believed of it, tokens; None: it had no whole answer.
        """
        call = record.call
        reached = self._cut.pop(call.call_id, 0)
        answers, own = self._before(call, record.arrived_at)
        if record.status != "ok":
            if reached > 0:
                self._remember(call, answers, own, reached, cut=True)
            return None
        tokens = record.output_tokens
        self._runs.setdefault(call.run_id, deque(maxlen=_ANSWERS_OF_A_RUN)).append(
            _Answered(record.ended_at, call.step, tokens)
        )
        if len(self._runs) > _MAX_OPEN_RUNS:
            del self._runs[next(iter(self._runs))]
        if tokens <= 0:
            return None
        loss = self._judge(call, answers, own, tokens)
        cut = call.max_tokens is not None and tokens >= call.max_tokens
        self._remember(call, answers, own, tokens, cut=cut)
        if self.examples is not None:
            self.examples(network_inputs(call, answers, own), tokens, cut)
        return loss

    def run_closed(self, record: RunClosed) -> None:
        """A run is over."""
        self._runs.pop(record.run.run_id, None)

    def _before(self, call: ModelCall, arrived_at: float) -> tuple[list[tuple[str, int]], int | None]:
        """What the run had been answered when the call was made, and the last answer of its step."""
        answers: list[tuple[str, int]] = []
        own: int | None = None
        for one in reversed(self._runs.get(call.run_id, ())):
            if one.ended_at <= arrived_at:
                if len(answers) < ANSWERS_KEPT:
                    answers.append((one.step, one.tokens))
                if own is None and one.step == call.step:
                    own = one.tokens
        answers.reverse()
        return answers, own

    # -- judging what was forecast ---------------------------------------------------------------------------------

    def _judge(self, call: ModelCall, answers: list[tuple[str, int]], own: int | None, tokens: int) -> float:
        """Score the views by what they say of this call, and correct the one that is used, whose loss is answered."""
        known = EmpiricalLengths(self._made, trained=self.trained)
        scopes = calibration_groups(call.workflow, call.step, call.model)
        used = self._standings.best(scopes)
        offset = offset_of(self._offsets, scopes)
        names = self._standings.names
        raw = [known.uncorrected(view, call, answers, own) for view in names]
        levels = np.stack([forecast.values for forecast in raw])
        if offset is not None:
            levels = corrected_levels(levels, offset)
        losses = _losses(levels if call.max_tokens is None else np.minimum(levels, float(call.max_tokens)), tokens)
        place = names.index(used)
        drift = self._calibrator.update(scopes, _capped(raw[place], call), float(tokens))
        self._standings.update(scopes, losses)
        if drift is not None:
            self._forget_old(drift.group)
            self._make()
            self._calibrator.widen(drift.group)
            self._drifts.append(drift)
        return losses.item(place)

    def _forget_old(self, scope: Scope) -> None:
        """Answers of a step from before a change say little of those to come."""
        step = self._seen[scope].count
        for key, memory in self._seen.items():
            if key[:3] == scope or key == (*scope[:2], ""):
                share = min(1.0, memory.count / step)
                memory.keep(max(1, round(share * _KEPT_AFTER_DRIFT)))
                self._changed.add(key)

    # -- remembering -------------------------------------------------------------------------------------------------

    def _remember(
        self, call: ModelCall, answers: list[tuple[str, int]], own: int | None, tokens: int, *, cut: bool
    ) -> None:
        plain = length_keys(call.workflow, call.step, call.model)
        self._add(plain, tokens, cut)
        for view in VIEWS:
            self._add(view_keys(view, call, answers, own), tokens, cut, plain)
        if self._seen[plain[-1]].count <= _YOUNG:
            self._make_one(plain[-1])
        while len(self._seen) > _MAX_GROUPS:
            self._forget(next(iter(self._seen)))

    def _add(self, keys: tuple[LengthKey, ...], tokens: int, cut: bool, wider: tuple[LengthKey, ...] = ()) -> None:
        for place, key in enumerate(keys):
            memory = self._seen.pop(key, None)
            if memory is None:
                memory = AnswerMemory()
                self._chains[key] = (*wider, *keys[: place + 1])
            memory.add(tokens, cut=cut)
            self._seen[key] = memory
            if memory.stale:
                self._changed.add(key)

    def _forget(self, key: LengthKey) -> None:
        del self._seen[key], self._chains[key]
        self._made.pop(key, None)
        self._changed.discard(key)

    # -- handing out -------------------------------------------------------------------------------------------------

    def take_drifts(self) -> tuple[Drift[Scope], ...]:
        """The changes of lengths that were noticed since the last call, by (workflow, step)."""
        noticed = tuple(self._drifts)
        self._drifts.clear()
        return noticed

    def snapshot(self) -> EmpiricalLengths | None:
        """What is believed now; None when nothing was learned since the last snapshot."""
        if not (self.refresh() or self._replaced):
            return None
        self._replaced = False
        return EmpiricalLengths(
            MappingProxyType(dict(self._made)),
            MappingProxyType(self._standings.chosen()),
            MappingProxyType(dict(self._offsets)),
            self.trained,
        )

    def refresh(self) -> bool:
        """Let what was learned count in what the next calls are compared with; answers whether anything was."""
        offsets = self._calibrator.take_changes()
        if not self._changed and not offsets:
            return False
        self._make()
        self._offsets.update(offsets)
        if len(self._offsets) > 2 * len(self._calibrator.groups):
            self._offsets = {group: self._offsets[group] for group in self._calibrator.groups if group in self._offsets}
        return True

    def use(self, trained: TrainedLengths | None) -> None:
        """Compare this trained forecaster, or none, with what is counted; it is in the next snapshot."""
        self.trained = trained
        self._standings.compare(_compared(trained))
        self._replaced = True

    def sibling(self) -> "LengthLearner":
        """A learner that has learned nothing, with the same trained forecaster."""
        return LengthLearner(self.trained)

    # -- exchanging a part -------------------------------------------------------------------------------------------

    def exchange(self, workflow: str, other: "LengthLearner") -> "LengthLearner":
        """Know of a workflow what another learner knows of it, which is not to be used any more.

        Args:
            workflow: its name, not empty.
            other: whose groups, corrections and standings of the workflow are taken over.

        Returns:
            A learner with what was known of the workflow before.
        """
        former = self.sibling()
        for key in ("", "", ""), *(key for key in self._seen if key[:2] == ("", "") and key[2]):
            if key in self._seen:
                former._seen[key], former._chains[key] = self._seen[key].copy(), self._chains[key]
        former._runs = {run: deque(answers, answers.maxlen) for run, answers in self._runs.items()}
        self._give(workflow, former)
        other._give(workflow, self)
        former._changed.update(former._seen)
        self._changed.update(former._seen.keys() & self._seen.keys())  # also where nothing took the place of anything
        return former

    def _give(self, workflow: str, taker: "LengthLearner") -> None:
        """Hand over what is known of a workflow."""
        for key in [key for key in self._seen if key[0] == workflow]:
            taker._seen[key], taker._chains[key] = self._seen[key], self._chains[key]
            taker._changed.add(key)
            self._forget(key)
        for scope in [scope for scope in self._offsets if scope[0] == workflow]:
            del self._offsets[scope]
        self._calibrator.give(lambda scope: scope[0] == workflow, taker._calibrator, (workflow, "", ""), ("", "", ""))
        self._standings.give(workflow, taker._standings)

    def _make(self) -> None:
        for key in self._changed:
            self._make_one(key)
        self._changed.clear()

    def _make_one(self, key: LengthKey) -> None:
        chain = [(self._seen[wider], _STRENGTH) for wider in self._chains[key] if wider in self._seen]
        self._made[key] = shrunk(PRIOR_OUTPUT_TOKENS, chain)


def _compared(trained: TrainedLengths | None) -> tuple[str, ...]:
    return (PLAIN, *VIEWS) if trained is None else (PLAIN, *VIEWS, TRAINED)


def _capped(forecast: QuantileForecast, call: ModelCall) -> QuantileForecast:
    if call.max_tokens is None:
        return forecast
    return QuantileForecast(np.minimum(forecast.values, float(call.max_tokens)))


def _losses(levels: Array, tokens: int) -> Array:
    """The mean pinball loss of each forecast over all its levels, tokens, shape (forecasts,)."""
    error = tokens - levels
    losses: Array = np.add.reduce(np.maximum(LEVELS * error, (LEVELS - 1.0) * error), axis=1)
    losses /= LEVELS.size
    return losses
