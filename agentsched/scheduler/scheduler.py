"""The scheduler: one pure function of what happened and when, from events to actions.

A call is *waiting* for a place, *trying* (one attempt, two while hedging) or *delivered* (one attempt's answer flows
to the caller). It ends exactly once: by `Deliver` and the end of that attempt, or by `Fail`. One `ReviewAt` per call
stands for all of its clocks.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from agentsched.core.call import AttemptLimits, Failure, FailureKind, Handed, Observation, Usage
from agentsched.core.decision import Decision
from agentsched.core.endpoint import Pool
from agentsched.core.load import EndpointLoad
from agentsched.core.protocols import LengthPredictor, Policy, RemainderPredictor
from agentsched.core.records import Note, RunOpened
from agentsched.core.rules import Rules
from agentsched.core.shared import EndpointKnowledge
from agentsched.policy.rectify import Verdict
from agentsched.scheduler import clocks
from agentsched.scheduler.actions import Action, Cancel, Deliver, Fail, Record, ReviewAt, Start
from agentsched.scheduler.blame import blame
from agentsched.scheduler.call_state import AttemptState, CallState
from agentsched.scheduler.candidates import Candidates
from agentsched.scheduler.events import (
    AttemptFailed,
    AttemptFinished,
    CallArrived,
    CallCancelled,
    EndpointLimited,
    Event,
    ForecastsReplaced,
    OthersKnow,
    OthersSeen,
    ReviewDue,
    RunEnded,
    RunStarted,
    TokensProgressed,
)
from agentsched.scheduler.going_on import break_off, resumable, still_able, way_at
from agentsched.scheduler.knowledge import first_hand, take_over
from agentsched.scheduler.ledger import Ledger
from agentsched.scheduler.placing import Placement, Placer
from agentsched.scheduler.rescue import Rescue
from agentsched.scheduler.retries import Retries
from agentsched.scheduler.upgrades import Upgrades

__all__ = ["Scheduler"]

_MOST_REPLACED = 8
"""Waiting calls looked at when a place becomes free: bounds the work of one event."""

_FULL_LOOK_S = 0.05
"""A call waiting for a slot, or for its turn, is looked at no more often than this, seconds: what it waits for wakes it
anyway."""

_THINK_EVERY_S = 0.5
"""A stream that crawls is thought about at most this often, seconds."""


class Scheduler:
    """Decides for one pool. Not thread-safe: its owner calls `handle` under one lock.

    Args:
        pool: the endpoints.
        policy: places calls.
        lengths: forecasts output lengths, until a `ForecastsReplaced` brings others.
        remainders: forecasts what follows a call in its run, likewise.
        rules: retries, breaker, clocks.
    """

    def __init__(
        self,
        pool: Pool,
        policy: Policy,
        lengths: LengthPredictor,
        remainders: RemainderPredictor,
        rules: Rules | None = None,
    ) -> None:
        self.pool = pool
        self.rules = rules or Rules()
        self.ledger = Ledger(pool, self.rules.breaker)
        self._placer = Placer(self.ledger.table, policy)
        self._lengths = lengths
        self._remainders = remainders
        self._retries = Retries(self.rules.retry)
        self._upgrades = Upgrades(pool, self.rules.stream)
        self._rescue = Rescue(self.ledger, self._placer, self.rules, self._retries)
        self._candidates = Candidates(pool)
        self._actions: list[Action] = []
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            RunStarted: self._run_started,
            RunEnded: self._run_ended,
            CallArrived: self._call_arrived,
            CallCancelled: self._call_cancelled,
            TokensProgressed: self._tokens_progressed,
            AttemptFinished: self._attempt_finished,
            AttemptFailed: self._attempt_failed,
            ReviewDue: self._review_due,
            EndpointLimited: self._endpoint_limited,
            ForecastsReplaced: self._forecasts_replaced,
            OthersKnow: self._others_know,
            OthersSeen: self._others_seen,
        }

    def handle(self, event: Event, *, now: float) -> list[Action]:
        """Take one event and answer what is to be done, in this order.

        Args:
            event: what happened. Events about calls, attempts or runs that are over are ignored: they crossed an
                action on its way.
            now: the instant it happened, seconds on the monotonic clock; never before an earlier event's.
        """
        actions: list[Action] = []
        self._actions = actions
        deciding = type(event) is CallArrived
        if deciding:
            self.ledger.stakes.refresh(now, hurried=True)
        self._handlers[type(event)](event, now)
        if not deciding:
            self.ledger.stakes.refresh(now, hurried=False)
        if self.ledger.freed:
            self._serve_waiting(now)
        return actions

    # -- runs and the pool -------------------------------------------------------------------------------------------

    def _run_started(self, event: RunStarted, now: float) -> None:
        self.ledger.open_run(event.run)
        self._actions.append(Record(RunOpened(event.run)))

    def _run_ended(self, event: RunEnded, now: float) -> None:
        if event.outcome == "cancelled":
            self._cancel_calls(event.run_id, now)
        closed = self.ledger.end_run(event.run_id, event.outcome, now)
        if closed is not None:
            self._actions.append(Record(closed))

    def _cancel_calls(self, run_id: str, now: float) -> None:
        """Nobody waits for the run any more, but its threads may: they do not end with the task that was cancelled."""
        run = self.ledger.runs.get(run_id)
        states = [] if run is None else [self.ledger.calls[call_id] for call_id in run.calls]
        for state in sorted(states, key=lambda state: state.order):
            self._fail(state, Failure(FailureKind.CANCELLED, "its run was cancelled"), now)

    def _endpoint_limited(self, event: EndpointLimited, now: float) -> None:
        i = self.ledger.table.index.get(event.endpoint)
        if i is None:
            return
        limits = ((event.remaining_requests, event.reset_requests_s), (event.remaining_tokens, event.reset_tokens_s))
        self.ledger.table.told_limits(i, limits, now)

    def _forecasts_replaced(self, event: ForecastsReplaced, now: float) -> None:
        self._lengths, self._remainders = event.lengths, event.remainders
        self._placer.qualities = event.qualities

    def _others_seen(self, event: OthersSeen, now: float) -> None:
        self.ledger.table.others_seen(event)

    def _others_know(self, event: OthersKnow, now: float) -> None:
        self.ledger.freed.update(take_over(self.ledger.table, event, now))

    def knowledge(self, now: float) -> tuple[EndpointKnowledge, ...]:
        """What this client knows first-hand of each endpoint, for other clients: they take it as `OthersKnow`."""
        return first_hand(self.ledger.table, now)

    def loads(self) -> tuple[EndpointLoad, ...]:
        """What this client has at each endpoint now, for other clients: they take it as `OthersSeen`."""
        return self.ledger.table.loads()

    def _note(self, i: int, text: str, now: float) -> None:
        name = self.ledger.name(i)
        self._actions.append(Record(Note(now, name, f"endpoint {name} {text}")))

    # -- calls -------------------------------------------------------------------------------------------------------

    def _call_arrived(self, event: CallArrived, now: float) -> None:
        call = event.call
        state = self.ledger.open_call(call, self._lengths, self._remainders, now)
        self._retries.budget.deposit()
        self._rescue.arrived(state)
        if call.deadline_at is not None and now >= call.deadline_at:
            self._fail(state, Failure(FailureKind.DEADLINE, "no time was left when the call was made"), now)
            return
        if state.run.shed:
            self._fail(state, Failure(FailureKind.SHED, "its run was given up"), now)
            return
        state.candidates = self._candidates.of(call)
        if state.candidates:
            self._try(state, "first", now)
        else:
            self._fail(state, self._candidates.lack(call), now)

    def _call_cancelled(self, event: CallCancelled, now: float) -> None:
        state = self.ledger.calls.get(event.call_id)
        if state is None:
            return
        kind = FailureKind.LOOP_CLOSED if event.loop_closed else FailureKind.CANCELLED
        self._cancel_attempts(state, kind.value, now)
        self._end(state, kind.value, now, detail="the caller went away")

    def _fail(self, state: CallState, failure: Failure, now: float, *, refused: AttemptState | None = None) -> None:
        """The call has no answer; ``refused`` is the attempt whose 4xx is handed over unchanged."""
        delivered = state.delivered is not None or state.partial is not None
        self._cancel_attempts(state, failure.kind.value, now)
        self._actions.append(
            Fail(
                state.call.call_id,
                failure,
                passthrough=None if refused is None else refused.attempt_id,
                endpoint=None if refused is None else self.ledger.name(refused.endpoint),
                saturated=failure.kind is FailureKind.RATE_LIMITED and state.only_limits,
                delivered=delivered,
                attempts=tuple(state.story),
            )
        )
        self._end(state, failure.kind.value, now, detail=failure.detail)

    def _end(
        self,
        state: CallState,
        status: str,
        now: float,
        *,
        winner: AttemptState | None = None,
        usage: Usage | None = None,
        detail: str = "",
    ) -> None:
        for record in self.ledger.end_call(state, status, now, winner=winner, usage=usage or Usage(), detail=detail):
            self._actions.append(Record(record))

    # -- trying ------------------------------------------------------------------------------------------------------

    def _try(self, state: CallState, why: str, now: float, *, in_turn: bool = False) -> None:
        """Start an attempt at the best place, or wait for it, or give up when waiting cannot help.

        ``in_turn``: every more urgent call has already had its choice.
        """
        overdue = clocks.overdue_call(state, now)
        if overdue is not None:
            self._fail(state, overdue, now)
            return
        payable = self.ledger.payable(state)
        if not payable:
            self._fail(state, Failure(FailureKind.COST, self.ledger.money_left(state)), now)
            return
        placement = self._placer.place(state, payable, self._patient_until(state, now), now)
        if placement is None:
            self._give_up(state, now)
        elif why == "first" and self._sheds(state, placement):
            self._fail(state, Failure(FailureKind.SHED, "its run would hardly have met its deadline"), now)
        elif placement.ready_in_s > 0.0:
            self._wait(state, placement, now)
        elif in_turn or not self.ledger.somebody_first(state, placement.endpoint):
            self._start(state, placement, why, now)
        else:
            self._line_up(state, placement.endpoint, now)

    def _sheds(self, state: CallState, placement: Placement) -> bool:
        """Whether the run is given up, with all its calls, because it is too unlikely to meet its deadline."""
        rules, run = self.rules.admission, state.run
        least = rules.floor if run.call_count == 1 else rules.give_up
        if least > 0.0 and not run.shed:
            likely = placement.p_meet(state)
            run.shed = likely is not None and likely < least
        return run.shed

    def _patient_until(self, state: CallState, now: float) -> float:
        """Until when the call may wait for a limit or a breaker; a slot is waited for as long as the call lives."""
        ends_at = clocks.call_ends_at(state)
        if ends_at < np.inf:
            return ends_at
        return (now if state.waiting_since is None else state.waiting_since) + self.rules.retry.max_wait_s

    def _wait(self, state: CallState, placement: Placement, now: float) -> None:
        """Wait for a place that is not ready; it will be in time, as far as limits and breaker are concerned."""
        full = self.ledger.table.full(placement.endpoint)
        stake = placement.choice.stake
        self.ledger.enter_waiting(state, placement.endpoint, now, 0.0 if stake is None else stake.per_s)
        look_at = now + (max(_FULL_LOOK_S, placement.ready_in_s) if full else placement.ready_in_s)
        self._review_at(state, min(look_at, clocks.call_ends_at(state)), now)

    def _line_up(self, state: CallState, i: int, now: float) -> None:
        """The place is ready, but others have waited for it who are more urgent: let all choose again in order."""
        self.ledger.enter_waiting(state, i, now)
        self.ledger.freed.add(i)
        self._review_at(state, min(now + _FULL_LOOK_S, clocks.call_ends_at(state)), now)

    def _give_up(self, state: CallState, now: float) -> None:
        """No place can be had before the budget is spent: say so now rather than at the deadline."""
        failure = state.last_failure
        if failure is None:
            down = bool((self.ledger.table.open_until[list(state.candidates)] > now).any())
            failure = (
                Failure(FailureKind.SERVER, "the endpoints that may serve the call are out of order")
                if down
                else Failure(FailureKind.RATE_LIMITED, "no endpoint has room before the budget is spent")
            )
        self._fail(state, failure, now)

    def _start(self, state: CallState, placement: Placement, why: str, now: float) -> None:
        call, endpoint = state.call, self.pool.endpoints[placement.endpoint]
        why = "queued" if why == "first" and state.waiting else why
        if why in ("left", "migrate") and endpoint.quality < state.left_quality:
            why = "degrade"
        way = None if state.partial is None else way_at(call, state.partial, endpoint)
        streams = self._upgrades.streams(state, placement.endpoint)
        attempt = self.ledger.begin_attempt(state, placement, now, streams=streams, way=way)
        connect_s, remaining = self.rules.stream.connect_timeout, None
        if call.deadline_at is not None:
            remaining = call.deadline_at - now
            connect_s = min(connect_s, remaining)
        limits = AttemptLimits(connect_s, remaining)
        keep = resumable(call, self.rules)
        self._actions.append(Start(call.call_id, attempt.attempt_id, placement.name, limits, streams, way, keep))
        decision = placement.decision(state, attempt.attempt_id, why, self._placer.policy.name, now)
        self._tell(decision)
        if state.made == 1:
            self._rescue.placed(decision.p_meet)
        state.odds = None
        self._schedule_review(state, now)

    def _tell(self, record: Decision | Observation) -> None:
        """An attempt began or ended: the log hears of it, and a policy that has a memory."""
        self._placer.remember(record)
        self._actions.append(Record(record))

    # -- attempts ----------------------------------------------------------------------------------------------------

    def _tokens_progressed(self, event: TokensProgressed, now: float) -> None:
        found = self.ledger.attempt(event.attempt_id)
        if found is None:
            return
        state, attempt = found
        was_paused, was_silent = attempt.paused, attempt.first_at is None
        self.ledger.saw_progress(attempt, event.output_tokens, now - event.age_s, paused=event.paused)
        attempt.handed = event.handed
        if state.first_at is None:
            state.first_at = now
        if state.delivered is None and state.call.stream:
            self._began_to_stream(state, attempt, now)
        elif was_silent and not state.call.stream:
            self._beat(state, attempt, now)
            self._review_at(state, min(state.review_at, clocks.next_review(state, self.rules, now)), now)
        elif event.paused != was_paused:
            self._pause_changed(state, now)
        elif clocks.crawls(attempt, now) and now - attempt.thought_at >= _THINK_EVERY_S:
            self._think(state, attempt, now)  # its review stands, unless it was left

    def _pause_changed(self, state: CallState, now: float) -> None:
        overdue = clocks.overdue_call(state, now)
        if overdue is None:
            self._schedule_review(state, now)
        else:  # its review is late, and is not put off once more
            self._fail(state, overdue, now)

    def _began_to_stream(self, state: CallState, attempt: AttemptState, now: float) -> None:
        """The first token for the caller, or the first after an attempt that broke off."""
        if state.partial is not None and attempt.handed is Handed.NOTHING:
            return  # it repeats what the caller has
        overdue = clocks.overdue_call(state, now)
        if overdue is not None:  # its review is late: a stream must not begin only to be cut
            self._fail(state, overdue, now)
            return
        self._deliver(state, attempt, now)
        self._schedule_review(state, now)

    def _attempt_finished(self, event: AttemptFinished, now: float) -> None:
        found = self.ledger.attempt(event.attempt_id)
        if found is None:
            return
        state, attempt = found
        said = event.usage
        known = attempt.known_tokens
        usage = Usage(
            state.call.input_tokens + known if said.input_tokens is None else said.input_tokens,
            attempt.tokens if said.output_tokens is None else said.output_tokens,
            said.cached_input_tokens,
            said.decode_s,
        )
        if state.delivered is None:
            self._deliver(state, attempt, now)
        lesson = self._upgrades.answered(state, attempt, said)
        if lesson is not None:
            self._note(attempt.endpoint, lesson, now)
        if self.ledger.saw_answer(state, attempt, usage, now):
            self._note_coverage(now)
        if self.ledger.table.succeeded(attempt.endpoint):
            self._note(attempt.endpoint, "is back", now)
        self._tell(self.ledger.close_attempt(state, attempt, usage, None, now))
        if known:  # what was sent along as the beginning of the answer is output of the call, not prompt
            read, written = usage.input_tokens or 0, usage.output_tokens or 0
            usage = Usage(max(0, read - known), written + known, usage.cached_input_tokens)
        self._end(state, "ok", now, winner=attempt, usage=usage)

    def _note_coverage(self, now: float) -> None:
        fallback = self._placer.fallback
        if fallback is not None:
            lost = self.ledger.table.coverage.lost
            told = f"its forecasts no longer hold: {fallback.name} takes over" if lost else "its forecasts hold again"
            self._actions.append(Record(Note(now, "policy", told)))

    def _deliver(self, state: CallState, winner: AttemptState, now: float) -> None:
        """This attempt's answer is the call's, or goes on with it."""
        self._actions.append(Deliver(state.call.call_id, winner.attempt_id, self.ledger.name(winner.endpoint)))
        if state.call.stream:
            state.delivered, state.partial = winner.attempt_id, None
        self._beat(state, winner, now)

    def _beat(self, state: CallState, winner: AttemptState, now: float) -> None:
        """An attempt was first; its rival lost, and its good name too if it was silent for too long."""
        for attempt in tuple(state.attempts.values()):
            if attempt is not winner:
                if clocks.outlasted(state, attempt, winner, now):
                    self._blame(attempt.endpoint, Failure(FailureKind.SILENT, "no sign of life"), now)
                self._cancel(state, attempt, "another attempt answered first", now)

    def _cancel_attempts(self, state: CallState, reason: str, now: float) -> None:
        """Nobody wants an answer any more; who should have given one long ago is to blame for that."""
        for attempt in tuple(state.attempts.values()):
            if clocks.surely_dead(state, attempt, self.ledger.table, now):
                self._blame(attempt.endpoint, Failure(FailureKind.SILENT, "no sign of life"), now)
            self._cancel(state, attempt, reason, now)

    def _cancel(self, state: CallState, attempt: AttemptState, reason: str, now: float) -> None:
        self._actions.append(Cancel(state.call.call_id, attempt.attempt_id, reason))
        self._tell(self.ledger.close_attempt(state, attempt, None, Failure(FailureKind.CANCELLED, reason), now))

    def _attempt_failed(self, event: AttemptFailed, now: float) -> None:
        found = self.ledger.attempt(event.attempt_id)
        if found is not None:
            self._failed(*found, event.failure, now)

    def _failed(self, state: CallState, attempt: AttemptState, failure: Failure, now: float) -> None:
        """One attempt is over without an answer: blame, then hand over, wait for its rival, or try again."""
        i, delivered = attempt.endpoint, state.delivered == attempt.attempt_id
        ends_at = clocks.call_ends_at(state)
        self._blame(i, failure, now)
        self._tell(self.ledger.close_attempt(state, attempt, None, failure, now))
        state.story.append(f"{self.ledger.name(i)}: {failure} after {now - attempt.started_at:.2f} s")
        state.last_failure = failure
        state.only_limits = state.only_limits and failure.kind is FailureKind.RATE_LIMITED
        state.left += failure.kind is FailureKind.SILENT
        state.left_quality = self.pool.endpoints[i].quality
        at_once = self._retries.avoid(state, attempt, failure, ends_at, now)
        if delivered and not break_off(state, attempt, self.rules, self.pool.endpoints):
            self._fail(state, failure, now)
        elif state.attempts:  # its rival may still answer, also where this one was refused
            self._schedule_review(state, now)
        elif state.partial is not None and not delivered and not still_able(state, i, failure, self.pool.endpoints):
            self._fail(state, failure, now)
        elif failure.kind is FailureKind.CLIENT and state.partial is None:
            self._fail(state, failure, now, refused=attempt)
        elif failure.kind is FailureKind.UNSTREAMED:
            self._upgrades.refused(state, attempt)
            self._try(state, "retry", now)
        elif at_once:
            state.uncounted += 1
            self._try(state, "retry", now)
        else:
            self._retry(state, failure, now)

    def _blame(self, i: int, failure: Failure, now: float) -> None:
        note = blame(self.ledger.table, i, failure, now)
        if note is not None:
            self._note(i, note, now)

    def _retry(self, state: CallState, failure: Failure, now: float) -> None:
        """Try again elsewhere, or at the same endpoint after its pause, within the call's and the pool's budgets."""
        if not self._retries.allowed(state, failure):
            self._fail(state, failure, now)
            return
        self._retries.count(state, failure)
        left = "left" if failure.kind is FailureKind.SILENT else "retry"
        self._try(state, left if state.partial is None else "migrate", now)

    # -- reviews -----------------------------------------------------------------------------------------------------

    def _review_due(self, event: ReviewDue, now: float) -> None:
        state = self.ledger.calls.get(event.call_id)
        if state is None:
            return
        state.review_at = np.inf
        overdue = clocks.overdue_call(state, now)
        if overdue is not None:
            self._fail(state, overdue, now)
        elif state.waiting:
            self._try(state, self._why_again(state), now)
        else:
            self._review_attempts(state, now)

    def _review_attempts(self, state: CallState, now: float) -> None:
        for attempt in tuple(state.attempts.values()):
            failure = clocks.overdue_attempt(state, attempt, self.rules.stream, now)
            if failure is not None:
                self._leave(state, attempt, failure, now)
        again_at = np.inf
        if len(state.attempts) == 1:
            again_at = self._think(state, next(iter(state.attempts.values())), now)
        if state.attempts:
            self._schedule_review(state, now)
            self._review_at(state, min(state.review_at, again_at), now)

    @staticmethod
    def _why_again(state: CallState) -> str:
        """Why a waiting call is tried when its wait is over."""
        return "first" if state.made == 0 else "retry" if state.partial is None else "migrate"

    def _leave(self, state: CallState, attempt: AttemptState, failure: Failure, now: float) -> None:
        self._actions.append(Cancel(state.call.call_id, attempt.attempt_id, failure.kind.value))
        self._failed(state, attempt, failure, now)

    def _think(self, state: CallState, attempt: AttemptState, now: float) -> float:
        """Leave the only attempt, or try a second one beside it, where that makes an answer in time likelier.

        Answers when to think again at the latest.
        """
        attempt.thought_at = now
        thought = self._rescue.think(state, attempt, now)
        if thought.judgement is not None and thought.verdict is not Verdict.KEEP:
            state.odds = (thought.judgement.p_stay, thought.judgement.p_switch)
        if thought.verdict is Verdict.HEDGE and thought.rival is not None:
            self._rescue.hedged(state)
            self._start(state, thought.rival, "hedge", now)
        elif thought.verdict.leaves and thought.judgement is not None:
            self._leave(state, attempt, self._rescue.leaves(state, attempt, thought.judgement.p_dead, now), now)
        return thought.again_at

    def _schedule_review(self, state: CallState, now: float) -> None:
        self._review_at(state, clocks.next_review(state, self.rules, now), now)

    def _review_at(self, state: CallState, at: float, now: float) -> None:
        if at != state.review_at and at < np.inf:
            state.review_at = at
            self._actions.append(ReviewAt(state.call.call_id, max(at, now)))

    # -- the waiting room --------------------------------------------------------------------------------------------

    def _serve_waiting(self, now: float) -> None:
        """Places became free: let waiting calls choose again, most urgent first."""
        ledger, looked = self.ledger, 0
        freed = set(ledger.freed)
        for _, call_id in tuple(ledger.waiting):
            if looked >= _MOST_REPLACED or not freed:
                break
            state = ledger.calls[call_id]
            if freed.isdisjoint(state.candidates):
                continue
            looked += 1
            self._try(state, self._why_again(state), now, in_turn=True)
            freed = {i for i in freed if not ledger.table.full(i)}
        ledger.freed.clear()

    # -- for tests and people ----------------------------------------------------------------------------------------

    def check_invariants(self) -> None:
        """Raise `InvariantViolated` if the ledger contradicts itself."""
        self.ledger.check_invariants()

    @property
    def idle(self) -> bool:
        """Whether no call is open."""
        return not self.ledger.calls

    def __repr__(self) -> str:
        ledger = self.ledger
        running, waiting = int(ledger.table.in_flight.sum()), len(ledger.waiting)
        return f"<Scheduler runs={len(ledger.runs)} calls={len(ledger.calls)} running={running} waiting={waiting}>"
