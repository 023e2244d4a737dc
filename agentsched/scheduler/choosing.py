"""Where a call goes now: it starts at the best place, waits for that place, is left out, shed, or given up.

`Choosing.choose` decides where a call goes, whoever asks: a call that arrives, one whose wait is over, one whose
attempt failed. What is known of the candidates is gathered in `placing`, and the policy picks one of them.
"""

from bisect import bisect

import numpy as np

from agentsched.core.call import AttemptLimits, Failure, FailureKind, Way
from agentsched.core.endpoint import Pool
from agentsched.core.rules import Rules
from agentsched.scheduler import clocks
from agentsched.scheduler.actions import Start
from agentsched.scheduler.call_state import CallState
from agentsched.scheduler.endings import Endings
from agentsched.scheduler.going_on import beginning, resumable
from agentsched.scheduler.ledger import Ledger
from agentsched.scheduler.outbox import Outbox
from agentsched.scheduler.placing import Placement, Placer
from agentsched.scheduler.rescue import Rescue
from agentsched.scheduler.skipping import Skip, Skipping
from agentsched.scheduler.upgrades import Upgrades

__all__ = ["Choosing"]

_MOST_REPLACED = 8
"""Waiting calls looked at when a place becomes free: bounds the work of one event."""

_TRIAL_LOOK_S = 0.5
"""The same for a call that waits for the trial of an endpoint."""

_FULL_LOOK_S = 0.05
"""A call waiting for a slot, or for its turn, is looked at no more often than this, seconds: what it waits for wakes it
anyway."""


class Choosing:
    """Chooses for the calls of one pool, and keeps its waiting room in order.

    Args:
        pool: the endpoints.
        ledger: the books.
        placer: asks the policy.
        rules: admission, patience, clocks.
        rescue: hears how likely first placements are to be in time.
        skipping: which optional steps are left out.
        upgrades: which endpoints are asked for streams.
        endings: fails calls that have no place.
        outbox: takes the actions.
    """

    def __init__(
        self,
        pool: Pool,
        ledger: Ledger,
        placer: Placer,
        rules: Rules,
        rescue: Rescue,
        skipping: Skipping,
        upgrades: Upgrades,
        endings: Endings,
        outbox: Outbox,
    ) -> None:
        self._pool, self._ledger, self._placer, self._rules = pool, ledger, placer, rules
        self._rescue, self._upgrades, self._endings, self._outbox = rescue, upgrades, endings, outbox
        self._skipping = skipping

    def choose(self, state: CallState, why: str, now: float, *, in_turn: bool = False) -> None:
        """Start an attempt at the best place, or wait for it, or give up when waiting cannot help.

        ``in_turn``: every more urgent call has already had its choice.
        """
        overdue = clocks.overdue_call(state, now)
        if overdue is not None:
            self.fail_late(state, overdue, now)
            return
        payable = self._ledger.payable(state)
        if not payable:
            self._endings.fail(state, Failure(FailureKind.COST, self._ledger.money_left(state)), now)
            return
        placement = self._placer.place(state, payable, self._patient_until(state, now), now)
        if placement is None:
            self._give_up_unless_tried(state, payable, now)
        elif state.call.optional and why == "first" and (skip := self._skipping.skips(state, placement, now)):
            self._leave_out(state, skip, now)
        elif why == "first" and self._sheds(state, placement):
            self._endings.fail(state, Failure(FailureKind.SHED, state.run.shed), now)
        elif placement.ready_in_s > 0.0:
            self._wait(state, placement, now)
        elif in_turn or not self._ledger.somebody_first(state, placement.endpoint):
            self.start(state, placement, why, now)
        else:
            self._line_up(state, placement.endpoint, now)

    def choose_again(self, state: CallState, now: float, *, in_turn: bool = False) -> None:
        """The same for a call whose wait is over."""
        self.choose(state, "first" if state.made == 0 else "retry", now, in_turn=in_turn)

    def serve_waiting(self, now: float) -> None:
        """Places became free: let waiting calls choose again, most urgent first, and the late ones after them.

        Late calls yield to those that have something to lose: asked first, they would leave places empty.
        """
        ledger, looked = self._ledger, 0
        freed = set(ledger.freed)
        late = bisect(ledger.waiting, ((now, np.inf), ""))
        for _, call_id in ledger.waiting[late:] + ledger.waiting[:late]:
            if looked >= _MOST_REPLACED or not freed:
                break
            state = ledger.calls.get(call_id)
            if state is None or freed.isdisjoint(state.candidates):
                continue
            looked += 1
            self.choose_again(state, now, in_turn=True)
            freed = {i for i in freed if not ledger.table.gates.full(i)}
        ledger.freed.clear()

    def start(self, state: CallState, placement: Placement, why: str, now: float) -> None:
        """An attempt at this place."""
        call, endpoint = state.call, self._pool.endpoints[placement.endpoint]
        streams = self._upgrades.streams(state, placement.endpoint, placement.e2e_s)
        source, way = beginning(state, endpoint, streams=streams)
        known = 0 if source is None or way is Way.REPLAY else source.tokens
        why = "queued" if why == "first" and state.waiting else "migrate" if way and why != "hedge" else why
        if why in ("left", "migrate") and endpoint.quality < state.left_quality:
            why = "degrade"
        # Only who has a deadline, and a try left, will ask how long there is time for another.
        asks = call.deadline_at is not None and self._rules.retry.max_attempts > 1
        attempt = self._ledger.begin_attempt(
            state,
            placement,
            now,
            streams=streams,
            rival_q95_s=placement.rival_q95_s() if asks else np.inf,
            way=way,
            known_tokens=known,
        )
        keep, after = streams and resumable(call, self._rules), None if source is None else source.attempt_id
        limits = self._limits(state, now)
        self._outbox.put(Start(call.call_id, attempt.attempt_id, placement.name, limits, streams, way, keep, after))
        decision = placement.decision(state, attempt.attempt_id, why, self._placer.policy.name, now)
        self._outbox.tell(decision)
        if state.made == 1:
            self._rescue.placed(state, placement, decision.p_meet)
        state.odds = None
        self._outbox.schedule_review(state, now)

    def fail_late(self, state: CallState, failure: Failure, now: float) -> None:
        """The call's time is spent; of an optional step that has not begun, the step is left out instead."""
        skip = self._skipping.too_late(state, now) if state.call.optional else None
        if skip is None:
            self._endings.fail(state, failure, now)
        else:
            self._leave_out(state, skip, now)

    def _leave_out(self, state: CallState, skip: Skip, now: float) -> None:
        """The step is left out with all its calls that wait, of which this is one; none of them was sent."""
        run, visit = state.run, skip.visit
        run.skipped.setdefault(visit, skip.why)
        waiting = [self._ledger.calls[call_id] for call_id in run.calls]
        for each in sorted((one for one in waiting if visit in one.call.optional), key=lambda one: one.order):
            self._endings.fail(each, Failure(FailureKind.SKIPPED, skip.why), now, skipped=visit)

    def _limits(self, state: CallState, now: float) -> AttemptLimits:
        connect_s, due_at = self._rules.stream.connect_timeout, state.call.deadline_at
        if due_at is None:
            return AttemptLimits(connect_s, None)
        return AttemptLimits(min(connect_s, due_at - now), due_at - now)

    def _sheds(self, state: CallState, placement: Placement) -> bool:
        """Whether the run is given up, with all its calls, because it is too unlikely to meet its deadline."""
        rules, run = self._rules.admission, state.run
        first = run.call_count == 1
        least = rules.floor if first else rules.give_up
        if least > 0.0 and not run.shed:
            likely = placement.p_meet(state)
            if likely is not None and likely < least:
                rule = f"refused, as admission.floor is {least:g}" if first else f"as admission.give_up is {least:g}"
                run.shed = f"it would meet its deadline with a probability of {likely:.2g}; {rule}"
        return bool(run.shed)

    # -- the waiting room --------------------------------------------------------------------------------------------

    def _patient_until(self, state: CallState, now: float) -> float:
        """Until when the call may wait for a limit or a breaker; a slot is waited for as long as the call lives."""
        ends_at = clocks.call_ends_at(state)
        if ends_at < np.inf:
            return ends_at
        return (now if state.waiting_since is None else state.waiting_since) + self._rules.retry.max_wait_s

    def _wait(self, state: CallState, placement: Placement, now: float) -> None:
        """Wait for a place that is not ready; it will be in time, as far as limits and breaker are concerned."""
        full = self._ledger.table.gates.full(placement.endpoint)
        stake = placement.choice.stake
        self._ledger.enter_waiting(state, placement.endpoint, now, 0.0 if stake is None else stake.per_s)
        look_at = now + (max(_FULL_LOOK_S, placement.ready_in_s) if full else placement.ready_in_s)
        self._outbox.review_at(state, min(look_at, clocks.call_ends_at(state)), now)

    def _line_up(self, state: CallState, i: int, now: float) -> None:
        """The place is ready, but others have waited for it who are more urgent: let all choose again in order."""
        self._ledger.enter_waiting(state, i, now)
        self._ledger.freed.add(i)
        self._outbox.review_at(state, min(now + _FULL_LOOK_S, clocks.call_ends_at(state)), now)

    def _give_up_unless_tried(self, state: CallState, payable: tuple[int, ...], now: float) -> None:
        """No place can be had for sure; where a call tries an endpoint just now, how it ends is waited for."""
        tried = self._ledger.table.gates.on_trial(payable, now)
        patient_until = self._patient_until(state, now)
        if tried is None or now >= patient_until:
            self._give_up(state, now)
        else:
            self._ledger.enter_waiting(state, tried, now)
            self._outbox.review_at(state, min(now + _TRIAL_LOOK_S, patient_until), now)

    def _give_up(self, state: CallState, now: float) -> None:
        """No place can be had before the budget is spent: say so now rather than at the deadline."""
        failure = state.last_failure
        if failure is None:
            down = bool((self._ledger.table.gates.open_until[list(state.candidates)] > now).any())
            failure = (
                Failure(FailureKind.SERVER, "the endpoints that may serve the call are out of order")
                if down
                else Failure(FailureKind.RATE_LIMITED, "no endpoint has room before the budget is spent")
            )
        self._endings.fail(state, failure, now)
