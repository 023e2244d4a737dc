"""Whether an optional step is left out: asked at its first call, before anything of the step has been sent.

A step is left out if the run is less likely to be in time than its SLO asks for, and leaving the step gains more than
`SkipRules.min_gain` in that probability. Of steps inside steps the innermost that gains so much is left; one around it
only if that gains as much again. Steps that have begun, and runs without a deadline, are let alone.

    P(with)    = P(max(X, s) + R <= d, X <= c)      X the call at its place, R what follows it
    P(without) = P(s + W <= d)                      W what follows the step
    d and c: until the run's deadline and the call's own; s: until the slowest sibling of a fan-out should be done

R and W are drawn from the same past runs with the same weights (`LeavingPredictor`). They have the pace of idle
endpoints, as everywhere; under load both probabilities are too high, and their difference tells more than either. Where
W is not known the step is left only if the time has practically passed: if the call alone would be late.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agentsched.core.optional import step_of_visit
from agentsched.core.protocols import LeavingPredictor, RemainderPredictor
from agentsched.core.records import Review
from agentsched.core.rules import SkipRules
from agentsched.scheduler.call_state import CallState
from agentsched.scheduler.placing import Placement, seconds_of

__all__ = ["Skip", "Skipping"]

_PASSED = 0.05
"""Where nothing is known of what follows, the call alone must be less likely than this to be in time."""


@dataclass(frozen=True, slots=True)
class Skip:
    """A visit of an optional step is left out.

    Attributes:
        visit: which.
        why: the reason, for people.
        with_it, without: probabilities that the run is in time; None: not known.
    """

    visit: str
    why: str
    with_it: float | None = None
    without: float | None = None


class Skipping:
    """Decides for the calls of one scheduler; changes nothing but what it notes of a call.

    Args:
        rules: what leaving a step must gain.
        remainders: forecasts what follows; replaced as knowledge grows.
    """

    def __init__(self, rules: SkipRules, remainders: RemainderPredictor) -> None:
        self._rules = rules
        self._leavings: LeavingPredictor | None = None
        self.replace(remainders)

    def replace(self, remainders: RemainderPredictor) -> None:
        """New knowledge takes effect."""
        self._leavings = remainders if isinstance(remainders, LeavingPredictor) else None

    def too_late(self, state: CallState, now: float) -> Skip | None:
        """What is left of a call that has no time, while its run has: what is reserved for others is not the call's."""
        call, run_due_at = state.call, state.run.run.due_at
        if call.deadline_at is None or call.deadline_at > now or run_due_at is None or run_due_at <= now:
            return None
        known = self._decided(state)
        if known is not None:
            return known
        visit = next(_open_visits(state), None)
        if visit is None or self._rules.min_gain >= 1.0:
            return None
        return Skip(visit, f"no time is left for {step_of_visit(visit)!r}", 0.0)

    def skips(self, state: CallState, placement: Placement, now: float) -> Skip | None:
        """What is left out instead of placing the call, if anything is.

        Args:
            state: the call; of an optional step.
            placement: its place, if it is not left.
            now: the present instant.
        """
        known = self._decided(state)
        if known is not None:
            return known
        run_due_at = state.run.run.due_at
        if run_due_at is None or self._rules.min_gain >= 1.0:
            return None
        return self._weighed(state, placement, run_due_at - now, now)

    @staticmethod
    def _decided(state: CallState) -> Skip | None:
        skipped = state.run.skipped
        visit = next((visit for visit in state.call.optional if visit in skipped), None)
        return None if visit is None else Skip(visit, skipped[visit])

    def _weighed(self, state: CallState, placement: Placement, left_s: float, now: float) -> Skip | None:
        alone, with_it = _chances(placement, left_s)
        if with_it >= state.run.run.percentile:
            return None
        best, found, thought = with_it, None, None
        for visit in _open_visits(state):
            step, without = step_of_visit(visit), self._chance_without(state, placement, visit, left_s)
            if without is None:
                if alone < _PASSED and found is None:
                    found = Skip(visit, f"the time for {step!r} has practically passed", with_it)
            elif without - best > self._rules.min_gain:
                best, found = without, Skip(visit, f"without {step!r} the run is likelier in time", with_it, without)
            else:
                thought = Review(now, "", "keep", f"leaving out {step!r} gains too little", with_it, without)
        if found is not None:
            state.reviewed(Review(now, "", "skip", found.why, found.with_it, found.without))
        elif thought is not None:
            state.reviewed(thought)
        return found

    def _chance_without(self, state: CallState, placement: Placement, visit: str, left_s: float) -> float | None:
        if visit not in state.without:
            step = step_of_visit(visit)
            known = self._leavings
            state.without[visit] = None if known is None else known.after_leaving(state.call, state.run.history, step)
        rest = state.without[visit]
        if rest is None:
            return None
        situation = placement.situation
        in_time = seconds_of(rest, situation.states) <= left_s - situation.siblings_s
        return int(np.count_nonzero(in_time)) / in_time.size


def _open_visits(state: CallState) -> Iterator[str]:
    """The visits that may still be left, innermost first."""
    return (visit for visit in reversed(state.call.optional) if visit not in state.run.begun)


def _chances(placement: Placement, left_s: float) -> tuple[float, float]:
    """Probabilities that the call is in time, and that its run is."""
    situation, ends = placement.situation, placement.ordered
    slack_s = situation.slack_s
    kept = ends if slack_s is None else ends[: ends.searchsorted(min(slack_s, left_s), side="right")]
    alone = kept.size / ends.size
    rest_s = situation.rest_s
    if rest_s is None or kept.size == 0:
        return alone, alone
    spare = left_s - np.maximum(kept, situation.siblings_s)
    fits = np.sort(rest_s).searchsorted(spare, side="right")
    return alone, int(np.add.reduce(fits)) / (ends.size * rest_s.size)
