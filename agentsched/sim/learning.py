"""What clients learn as they go: by the learners that run live, taught at once instead of beside what they serve."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import Observation
from agentsched.core.protocols import LengthPredictor, RemainderPredictor
from agentsched.core.records import CallEnded, Recordable, RunClosed
from agentsched.forecast.calibration import Calibrator
from agentsched.forecast.length import EmpiricalLengths, Scope, calibration_groups
from agentsched.forecast.length_learner import LengthLearner
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.forecast.remainder_learner import RemainderLearner
from agentsched.scheduler.events import ForecastsReplaced
from agentsched.sim.knowledge import Knowledge, OneLength

__all__ = ["KNOWN_AT_FIRST", "Learner", "learner_of"]

KNOWN_AT_FIRST: tuple[LengthPredictor, RemainderPredictor] = (EmpiricalLengths(), EmpiricalRemainders(guess=True))
"""What a live client believes before it has learned anything."""

_LEARN_EVERY_S = 0.25
"""New knowledge reaches a scheduler at most this often, as live, seconds."""


class _Lessons(Protocol):
    """Who takes records of lengths, or of what follows calls."""

    def call_ended(self, record: CallEnded) -> object:
        """A call is over."""

    def run_closed(self, record: RunClosed) -> object:
        """A run is over."""


class _LengthLessons(_Lessons, Protocol):
    def learn(self, observation: Observation) -> object:
        """An attempt is over."""

    def snapshot(self) -> LengthPredictor | None:
        """What is believed now; None: nothing was learned since."""


class _RestLessons(_Lessons, Protocol):
    def snapshot(self) -> RemainderPredictor | None:
        """What is believed now; None: nothing was learned since."""


class _Spread:
    """Calibrates one length for all: the errors of the groups that a call belongs to become its spread there."""

    def __init__(self, known: OneLength) -> None:
        self._known = known
        self._calibrator: Calibrator[Scope] = Calibrator()
        self._offsets: Mapping[Scope, NDArray[np.float64]] = {}

    def learn(self, observation: Observation) -> None:
        """Attempts teach nothing beyond their call's end."""

    def call_ended(self, record: CallEnded) -> None:
        """Compare the one length with an answer."""
        call = record.call
        if record.status == "ok" and record.output_tokens > 0:
            groups = calibration_groups(call.workflow, call.step, call.model)
            self._calibrator.update(groups, self._known.forecast, float(record.output_tokens))

    def run_closed(self, record: RunClosed) -> None:
        """A run's end says nothing of lengths."""

    def snapshot(self) -> LengthPredictor | None:
        """The one length with its spread; None: no answer came since."""
        changes = self._calibrator.take_changes()
        if not changes:
            return None
        self._offsets = {**self._offsets, **changes}
        return OneLength(self._known.tokens, self._offsets)


class Learner:
    """Learns from a client's records; by default everything, beginning with nothing, as a live client does.

    Args:
        lengths: learns lengths; None: they are as given.
        rests: learns what follows a call; None: it is as given.
        known: what is given of both at first.
    """

    def __init__(
        self,
        lengths: _LengthLessons | None,
        rests: _RestLessons | None,
        known: tuple[LengthPredictor, RemainderPredictor],
    ) -> None:
        self._lengths, self._rests, self._known = lengths, rests, known
        self._learners: list[_Lessons] = [one for one in (lengths, rests) if one is not None]
        self._told_at = -_LEARN_EVERY_S

    @classmethod
    def as_live(cls) -> "Learner":
        """Both learners that run live, with nothing learned."""
        return cls(LengthLearner(), RemainderLearner(), KNOWN_AT_FIRST)

    def take(self, record: Recordable) -> None:
        """Learn from a record, if it teaches anything."""
        match record:
            case Observation():
                if self._lengths is not None:
                    self._lengths.learn(record)
            case CallEnded():
                for one in self._learners:
                    one.call_ended(record)
            case RunClosed():
                for one in self._learners:
                    one.run_closed(record)

    def news(self, now: float) -> ForecastsReplaced | None:
        """What is known now, if that changed and the last news are old enough."""
        if now < self._told_at + _LEARN_EVERY_S:
            return None
        lengths = None if self._lengths is None else self._lengths.snapshot()
        rests = None if self._rests is None else self._rests.snapshot()
        if lengths is None and rests is None:
            return None
        self._told_at = now
        self._known = (lengths or self._known[0], rests or self._known[1])
        return ForecastsReplaced(*self._known)


def learner_of(
    knowledge: Knowledge, rests: Knowledge | None, known: tuple[LengthPredictor, RemainderPredictor]
) -> Learner | None:
    """Who adds to what a client was given; None: nothing is learned.

    Args:
        knowledge, rests: as for `agentsched.sim.knowledge.predictors`.
        known: what that gave.
    """
    lengths: _LengthLessons | None = None
    if knowledge is Knowledge.LEARNED:
        lengths = LengthLearner()
    elif isinstance(known[0], OneLength) and knowledge is Knowledge.CONSTANT:
        lengths = _Spread(known[0])
    learned_rests = RemainderLearner() if (rests or knowledge) is Knowledge.LEARNED else None
    return None if lengths is None and learned_rests is None else Learner(lengths, learned_rests, known)
