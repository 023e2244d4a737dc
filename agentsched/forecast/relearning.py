"""Lengths learned anew after they have changed: from the calls since then alone, and only while that does better.

`LengthLearner` notices the change of one step, and forgets what it knew of that step. A change seldom comes alone: the
other steps of the workflow, and the views of a run's past answers, still hold what was before it, too seldom called to
be noticed. So a second learner takes the calls since the change, oldest first, each forecast before it is learned. If
its forecasts of the latest half lost less than those that were handed out for the same calls, it takes the place of the
first one's knowledge of this workflow. What it replaced goes on learning beside it for a while, and comes back if the
calls that neither had seen then say so. After SwarmX (algorithm 2: widen, retrain, validate), for learners that are
taught online. Pure; who calls it says in which thread the work is done.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import TypeVar

from agentsched.core.records import CallEnded
from agentsched.forecast.calibration import Drift
from agentsched.forecast.length import Scope
from agentsched.forecast.length_learner import LengthLearner

__all__ = ["Relearned", "Relearning", "Trial"]

T = TypeVar("T")

_CALLS_KEPT = 4_096
"""Calls of all workflows that may be learned anew: about 10 MB."""

_BEFORE_NOTICED = 20
"""So many calls of a step lie between a change and its being noticed, about."""

_TRIALS_AFTER = (60, 120, 240, 480)
"""Calls of a workflow since a change after which learning anew is tried; the last of them gives it up."""

_MUST_GAIN = 0.97
"""The new knowledge must have lost less than this share of what the old one lost."""

_PROBATION = 100
"""Calls over which what was replaced goes on learning beside its successor."""

_MAY_LOSE = 1.02
"""The successor is taken back if it has lost more than this share of what its predecessor lost by then."""

_REFRESHED_EVERY_S = 0.25
"""What the learner in use has learned counts in what is handed out this often, seconds; so it is beside it."""

_MOST_AT_ONCE = 8
"""Workflows that are looked after at the same time; beyond it the one that changed first is left as it is."""


@dataclass(frozen=True, slots=True)
class Relearned:
    """What became of learning a workflow's lengths anew.

    Attributes:
        workflow: its name.
        outcome: ``taken``: the new knowledge is in use; ``refused``: it did no better; ``confirmed``, ``taken back``:
            how its probation ended.
        calls: it was learned from, or looked at in its probation.
        loss, loss_before: mean pinball loss of the new and the old knowledge on the same calls, tokens.
    """

    workflow: str
    outcome: str
    calls: int
    loss: float
    loss_before: float

    def __str__(self) -> str:
        against = f"pinball loss {self.loss:.1f} instead of {self.loss_before:.1f} tokens"
        if self.outcome == "taken":
            return f"learned anew from the {self.calls} calls since they changed ({against})"
        if self.outcome == "refused":
            return f"not better when learned anew from the {self.calls} calls since they changed ({against})"
        what = "stays in use" if self.outcome == "confirmed" else "is taken back"
        return f"what was learned anew {what} after {self.calls} further calls ({against})"


class _Beside:
    """A learner that is taught beside the one in use, and is no fresher when it forecasts."""

    __slots__ = ("_refreshed_at", "learner")

    def __init__(self, learner: LengthLearner) -> None:
        self.learner = learner
        self._refreshed_at = -inf

    def call_ended(self, record: CallEnded) -> float | None:
        """As the learner's."""
        loss = self.learner.call_ended(record)
        if record.ended_at >= self._refreshed_at + _REFRESHED_EVERY_S:
            self._refreshed_at = record.ended_at
            self.learner.refresh()
        return loss


@dataclass(slots=True)
class Trial:
    """Learning anew, call by call: `work` may be done in any thread, as nobody else sees the new learner until then.

    Attributes:
        workflow: whose calls are learned.
        calls: each with what was lost on it; None: nothing was forecast.
        learner: what was learned anew.
    """

    workflow: str
    calls: list[tuple[CallEnded, float | None]]
    learner: LengthLearner
    _new: float = 0.0
    _old: float = 0.0
    _judged: int = 0

    def work(self) -> Iterator[None]:
        """Learn one call with every step; about 0.2 ms each."""
        judged_from = len(self.calls) // 2
        beside = _Beside(self.learner)
        for place, (record, before) in enumerate(self.calls):
            loss = beside.call_ended(record)
            if place >= judged_from and loss is not None and before is not None:
                self._new += loss
                self._old += before
                self._judged += 1
            yield

    def result(self) -> Relearned:
        """How it compares on the latest half of the calls."""
        better = self._judged > 0 and self._new < _MUST_GAIN * self._old
        count = max(1, self._judged)
        outcome = "taken" if better else "refused"
        return Relearned(self.workflow, outcome, len(self.calls), self._new / count, self._old / count)


@dataclass(slots=True)
class _Change:
    """Lengths of a workflow have changed: ``since`` the call of this number; ``calls`` so many have come after it."""

    since: int
    calls: int = 0
    trials: int = 0


@dataclass(slots=True)
class _Probation:
    """What was replaced, and what either lost since."""

    former: _Beside
    new: float = 0.0
    old: float = 0.0
    calls: int = 0


class Relearning:
    """Decides when a workflow is learned anew and what becomes of it. Bounded; one thread calls it, the learner's.

    Args:
        learner: the one in use, whose knowledge of a workflow is exchanged.
    """

    def __init__(self, learner: LengthLearner) -> None:
        self._learner = learner
        self._recent: deque[tuple[CallEnded, float | None]] = deque(maxlen=_CALLS_KEPT)
        self._count = 0
        self._changes: dict[str, _Change] = {}
        self._probations: dict[str, _Probation] = {}

    def saw(self, record: CallEnded, loss: float | None) -> Relearned | None:
        """The learner has taken a call, and lost this much on it; answers how a probation ended, if one did by it."""
        self._recent.append((record, loss))
        self._count += 1
        workflow = record.call.workflow
        change = self._changes.get(workflow)
        if change is not None:
            change.calls += 1
        probation = self._probations.get(workflow)
        if probation is None:
            return None
        former = probation.former.call_ended(record)
        if loss is None or former is None:
            return None
        probation.new += loss
        probation.old += former
        probation.calls += 1
        return None if probation.calls < _PROBATION else self._end(workflow, probation)

    def _end(self, workflow: str, probation: _Probation) -> Relearned:
        del self._probations[workflow]
        kept = probation.new <= _MAY_LOSE * probation.old
        if not kept:
            self._learner.exchange(workflow, probation.former.learner)
        count = probation.calls
        outcome = "confirmed" if kept else "taken back"
        return Relearned(workflow, outcome, count, probation.new / count, probation.old / count)

    def changed(self, drift: Drift[Scope]) -> None:
        """The lengths of a step have changed: its workflow is learned anew once enough calls have come."""
        workflow = drift.group[0]
        if not workflow:
            return  # it has no part of its own
        since = self._begin_of(drift.group)
        known = self._changes.get(workflow)
        if known is None or known.trials > 0:
            calls = sum(record.call.workflow == workflow for record, _ in self._since(since))
            self._changes[workflow] = _Change(since, calls)
            _bound(self._changes)

    def _begin_of(self, scope: Scope) -> int:
        """The number of the call at which the change began, about."""
        left = _BEFORE_NOTICED
        for back, (record, _) in enumerate(reversed(self._recent), 1):
            call = record.call
            left -= (call.workflow, call.step, call.model) == scope
            if left == 0:
                return self._count - back
        return self._count - len(self._recent)

    def _since(self, number: int) -> list[tuple[CallEnded, float | None]]:
        begin = max(0, number - (self._count - len(self._recent)))
        return [self._recent[place] for place in range(begin, len(self._recent))]

    def due(self) -> Trial | None:
        """A workflow that is to be learned anew now; whoever takes it does the work and calls `finished`."""
        for workflow, change in self._changes.items():
            tried_out = change.trials >= len(_TRIALS_AFTER)  # the last trial's result is still to come
            if not tried_out and change.calls >= _TRIALS_AFTER[change.trials] and workflow not in self._probations:
                change.trials += 1
                calls = [one for one in self._since(change.since) if one[0].call.workflow == workflow]
                return Trial(workflow, calls, self._learner.sibling())
        return None

    def finished(self, trial: Trial) -> Relearned:
        """A trial's work is done: its knowledge is taken over if it is better. Calls that came meanwhile are added."""
        result = trial.result()
        change = self._changes.get(trial.workflow)
        if result.outcome == "taken":
            last = trial.calls[-1][0]
            self._catch_up(trial.learner, trial.workflow, last)
            self._changes.pop(trial.workflow, None)
            former = self._learner.exchange(trial.workflow, trial.learner)
            self._probations[trial.workflow] = _Probation(_Beside(former))
            _bound(self._probations)
        elif change is not None and change.trials >= len(_TRIALS_AFTER):
            del self._changes[trial.workflow]
        return result

    def _catch_up(self, learner: LengthLearner, workflow: str, last: CallEnded) -> None:
        missed: list[CallEnded] = []
        for record, _ in reversed(self._recent):
            if record is last:
                break
            if record.call.workflow == workflow:
                missed.append(record)
        for record in reversed(missed):
            learner.call_ended(record)


def _bound(by_workflow: dict[str, T]) -> None:
    while len(by_workflow) > _MOST_AT_ONCE:
        del by_workflow[next(iter(by_workflow))]
