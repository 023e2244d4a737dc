"""The scheduler: one pure function of what happened and when, from events to actions.

A call is *waiting* for a place, *trying* (one attempt, two while hedging) or *delivered* (one attempt's answer flows
to the caller). It ends exactly once: by `Deliver` and the end of that attempt, or by `Fail`. One `ReviewAt` per call
stands for all of its clocks.
"""

from collections.abc import Callable
from typing import Any

from agentsched.core.call import Failure, FailureKind
from agentsched.core.endpoint import Pool
from agentsched.core.load import EndpointLoad
from agentsched.core.protocols import LengthPredictor, Policy, RemainderPredictor
from agentsched.core.records import RunOpened
from agentsched.core.rules import Rules
from agentsched.core.shared import EndpointKnowledge
from agentsched.scheduler.actions import Action, Record
from agentsched.scheduler.attempts import Attempts
from agentsched.scheduler.candidates import Candidates
from agentsched.scheduler.choosing import Choosing
from agentsched.scheduler.endings import Endings
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
    StreamsProgressed,
    TokensProgressed,
)
from agentsched.scheduler.knowledge import first_hand, take_over
from agentsched.scheduler.ledger import Ledger
from agentsched.scheduler.outbox import Outbox
from agentsched.scheduler.placing import Placer
from agentsched.scheduler.rescue import Rescue
from agentsched.scheduler.retries import Retries
from agentsched.scheduler.skipping import Skipping
from agentsched.scheduler.upgrades import Upgrades

__all__ = ["Scheduler"]


class Scheduler:
    """Decides for one pool. Not thread-safe: its owner calls `handle` under one lock.

    Where a call goes is `Choosing.choose`, what becomes of its attempts `Attempts`, how both end `Endings`.

    Args:
        pool: the endpoints.
        policy: places calls.
        lengths: forecasts output lengths, until a `ForecastsReplaced` brings others.
        remainders: forecasts what follows a call in its run, likewise.
        rules: retries, breaker, clocks.
        clients: how many schedulers use the endpoints, as far as is known beforehand: while the others do not tell what
            they do, they are supposed to do as much as this one.
    """

    def __init__(
        self,
        pool: Pool,
        policy: Policy,
        lengths: LengthPredictor,
        remainders: RemainderPredictor,
        rules: Rules | None = None,
        clients: int = 1,
    ) -> None:
        self.pool = pool
        self.rules = rules = rules or Rules()
        self.ledger = ledger = Ledger(pool, rules.breaker, clients)
        self._placer = placer = Placer(ledger.table, policy)
        self._lengths, self._remainders = lengths, remainders
        self._candidates = Candidates(pool)
        self._outbox = outbox = Outbox(rules, placer.remember)
        self._endings = endings = Endings(ledger, outbox)
        self._retries, upgrades = Retries(rules.retry), Upgrades(pool, rules.stream)
        self._rescue = rescue = Rescue(ledger, placer, rules, self._retries)
        self._skipping = skipping = Skipping(rules.skip, remainders)
        self._choosing = Choosing(pool, ledger, placer, rules, rescue, skipping, upgrades, endings, outbox)
        attempts = Attempts(
            pool, ledger, placer, rules, self._retries, rescue, upgrades, self._choosing, endings, outbox
        )
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            RunStarted: self._run_started,
            RunEnded: self._run_ended,
            CallArrived: self._call_arrived,
            CallCancelled: self._call_cancelled,
            TokensProgressed: attempts.progressed,
            StreamsProgressed: attempts.all_progressed,
            AttemptFinished: attempts.finished,
            AttemptFailed: attempts.failed,
            ReviewDue: attempts.review,
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
        actions, ledger, kind = self._outbox.begin(), self.ledger, type(event)
        if kind is CallArrived:
            ledger.stakes.refresh(now, hurried=True)
            self._handlers[kind](event, now)
        else:
            self._handlers[kind](event, now)
            ledger.stakes.refresh(now, hurried=False)
        if ledger.freed:
            self._choosing.serve_waiting(now)
        return actions

    # -- calls -------------------------------------------------------------------------------------------------------

    def _call_arrived(self, event: CallArrived, now: float) -> None:
        call = event.call
        state = self.ledger.open_call(call, self._lengths, self._remainders, now)
        self._retries.budget.deposit()
        self._rescue.arrived(state)
        if call.deadline_at is not None and now >= call.deadline_at:
            self._choosing.fail_late(
                state, Failure(FailureKind.DEADLINE, "no time was left when the call was made"), now
            )
            return
        if state.run.shed:
            self._endings.fail(state, Failure(FailureKind.SHED, "its run was given up"), now)
            return
        state.candidates = self._candidates.of(call)
        if state.candidates:
            self._choosing.choose(state, "first", now)
        else:
            self._endings.fail(state, self._candidates.lack(call), now)

    def _call_cancelled(self, event: CallCancelled, now: float) -> None:
        state = self.ledger.calls.get(event.call_id)
        if state is not None:
            kind = FailureKind.LOOP_CLOSED if event.loop_closed else FailureKind.CANCELLED
            self._endings.cancelled(state, kind, now)

    # -- runs --------------------------------------------------------------------------------------------------------

    def _run_started(self, event: RunStarted, now: float) -> None:
        self.ledger.open_run(event.run)
        self._outbox.put(Record(RunOpened(event.run)))

    def _run_ended(self, event: RunEnded, now: float) -> None:
        if event.outcome == "cancelled":
            self._cancel_calls(event.run_id, now)
        closed = self.ledger.end_run(event.run_id, event.outcome, now)
        if closed is not None:
            self._outbox.put(Record(closed))

    def _cancel_calls(self, run_id: str, now: float) -> None:
        """Nobody waits for the run any more, but its threads may: they do not end with the task that was cancelled."""
        run = self.ledger.runs.get(run_id)
        states = [] if run is None else [self.ledger.calls[call_id] for call_id in run.calls]
        for state in sorted(states, key=lambda state: state.order):
            self._endings.fail(state, Failure(FailureKind.CANCELLED, "its run was cancelled"), now)

    # -- the pool, and other clients ---------------------------------------------------------------------------------

    def _endpoint_limited(self, event: EndpointLimited, now: float) -> None:
        i = self.ledger.table.index.get(event.endpoint)
        if i is None:
            return
        limits = ((event.remaining_requests, event.reset_requests_s), (event.remaining_tokens, event.reset_tokens_s))
        self.ledger.table.gates.told_limits(i, limits, now)

    def _forecasts_replaced(self, event: ForecastsReplaced, now: float) -> None:
        self._lengths, self._remainders = event.lengths, event.remainders
        self._skipping.replace(event.remainders)
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
        running, waiting = int(ledger.table.rows.in_flight.sum()), len(ledger.waiting)
        return f"<Scheduler runs={len(ledger.runs)} calls={len(ledger.calls)} running={running} waiting={waiting}>"
