"""One client process: a scheduler of its own, and the performer of its actions on virtual time."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import astuple, replace
from math import inf
from typing import Any, Protocol

from agentsched.core.call import Failure, ModelCall, RunInfo, Usage
from agentsched.core.decision import Decision
from agentsched.core.records import CallEnded, Recordable, RunClosed
from agentsched.endpoints.limits import Limits
from agentsched.scheduler.actions import Action, Cancel, Deliver, Fail, Record, ReviewAt, Start
from agentsched.scheduler.events import (
    AttemptFailed,
    AttemptFinished,
    CallArrived,
    CallCancelled,
    EndpointLimited,
    Event,
    OthersKnow,
    OthersSeen,
    ReviewDue,
    RunEnded,
    RunStarted,
    StreamsProgressed,
    TokensProgressed,
)
from agentsched.scheduler.scheduler import Scheduler
from agentsched.sim.learning import Learner
from agentsched.sim.migrating import Mover
from agentsched.sim.plan import CallPlan
from agentsched.sim.server import Server
from agentsched.sim.timeline import Timeline

__all__ = ["Asker", "Client", "Watcher"]

Watcher = Callable[[Event, float, list[Action]], None]
"""Is shown every event with what the scheduler made of it, as a live recorder is."""


class Asker(Protocol):
    """Who runs a workflow at a client and wants to know how its calls and it itself ended."""

    def left_out(self, visit: str) -> None:
        """A visit of an optional step is left out; its calls then end as such."""

    def call_ended(self, call_id: str, ended: CallEnded) -> None:
        """A call is over, well or not."""

    def closed(self, record: RunClosed) -> None:
        """The run's books are closed: its last call is over too."""


class _OpenCall:
    """A call that is not over."""

    __slots__ = ("asker", "attempts", "plan", "prefix", "review")

    def __init__(self, asker: Asker, plan: CallPlan, prefix: int) -> None:
        self.asker, self.plan, self.prefix = asker, plan, prefix
        self.attempts: dict[str, Server] = {}
        self.review = inf


class Client:
    """A process with its own scheduler; it knows of others only what it sees of the endpoints.

    Args:
        scheduler: decides.
        servers: the endpoints, by name.
        timeline: virtual time.
        learner: learns from records, as a live client does; None: what is known is given.
        mover: takes running answers elsewhere by a published rule, beside what the scheduler thinks of them.
        watch: is shown everything that happens.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        servers: Mapping[str, Server],
        timeline: Timeline,
        *,
        learner: Learner | None = None,
        mover: Mover | None = None,
        watch: Watcher | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.attempts_by: dict[str, dict[str, int]] = {}
        self._servers, self._timeline, self._learner, self._watch = servers, timeline, learner, watch
        self._mover = mover
        self._calls: dict[str, _OpenCall] = {}
        self._runs: dict[str, Asker] = {}
        self._over: deque[CallEnded | RunClosed] = deque()
        self._performers: dict[type, Callable[[Any], None]] = {
            Start: self._start,
            Cancel: self._cancel,
            ReviewAt: self._review_at,
            Record: self._record,
            Deliver: _nothing,
            Fail: self._fail,
        }

    # -- what agents do ----------------------------------------------------------------------------------------------

    def begin_run(self, run: RunInfo, asker: Asker) -> None:
        """A workflow begins."""
        self._runs[run.run_id] = asker
        self._post(RunStarted(run))

    def end_run(self, run_id: str, outcome: str, open_calls: tuple[str, ...]) -> None:
        """A workflow is over; those of its calls that are still open are cancelled."""
        for call_id in open_calls:
            self._post(CallCancelled(call_id))
        self._post(RunEnded(run_id, outcome))

    def ask(self, call: ModelCall, plan: CallPlan, prefix: int, asker: Asker) -> None:
        """An agent makes a call."""
        news = None if self._learner is None else self._learner.news(self._timeline.now)
        if news is not None:
            self._post(news)
        self._calls[call.call_id] = _OpenCall(asker, plan, prefix)
        self._post(CallArrived(call))

    def look(self, call_id: str) -> None:
        """Have the scheduler look at a call's clocks now."""
        self._post(ReviewDue(call_id))

    def hear(self, event: OthersSeen | OthersKnow) -> None:
        """News of other clients."""
        self._post(event)

    # -- what servers say --------------------------------------------------------------------------------------------

    def progressed(self, attempts: list[tuple[str, int]]) -> None:
        """Tokens so far of some attempts."""
        if self._mover is None:
            self._post(StreamsProgressed(tuple(attempts)))
            return
        for attempt_id, tokens in attempts:
            self._post(TokensProgressed(attempt_id, tokens))
            self._reconsider(self._mover, attempt_id, self._timeline.now)

    def _reconsider(self, mover: Mover, attempt_id: str, now: float) -> None:
        """The published rule may leave an endpoint: to the scheduler that is an attempt that broke off."""
        found = self.scheduler.ledger.attempt(attempt_id)
        failure = None if found is None else mover.leaves(*found, self.scheduler.ledger.table, now)
        if found is not None and failure is not None:
            self._calls[found[0].call.call_id].attempts[attempt_id].withdraw(attempt_id)
            self._post(AttemptFailed(attempt_id, failure))

    def finished(self, attempt_id: str, usage: Usage) -> None:
        """An answer is whole."""
        self._post(AttemptFinished(attempt_id, usage))

    def failed(self, attempt_id: str, failure: Failure) -> None:
        """An attempt has no (whole) answer."""
        self._post(AttemptFailed(attempt_id, failure))

    def limited(self, endpoint: str, limits: Limits) -> None:
        """A limit of an endpoint is used up."""
        self._post(EndpointLimited(endpoint, *astuple(limits)))

    # -- events in, actions out --------------------------------------------------------------------------------------

    def _post(self, event: Event) -> None:
        now = self._timeline.now
        actions = self.scheduler.handle(event, now=now)
        if self._watch is not None:
            self._watch(event, now, actions)
        if actions:
            self._perform(actions)

    def _perform(self, actions: list[Action]) -> None:
        performers = self._performers
        for action in actions:
            performers[type(action)](action)
        # Agents go on once all actions are done, as live callers do.
        while self._over:
            record = self._over.popleft()
            if isinstance(record, CallEnded):
                self._calls.pop(record.call.call_id).asker.call_ended(record.call.call_id, record)
            else:
                self._runs.pop(record.run.run_id).closed(record)

    def _start(self, action: Start) -> None:
        call, server = self._calls[action.call_id], self._servers[action.endpoint]
        call.attempts[action.attempt_id] = server
        plan = call.plan if action.way is None else self._rest_of(call.plan, action.attempt_id)
        server.send(action.attempt_id, plan, call.prefix, streams=action.stream, listener=self)

    def _rest_of(self, plan: CallPlan, attempt_id: str) -> CallPlan:
        """What is left of a call for an attempt that goes on with what the caller has: that is part of its prompt."""
        found = self.scheduler.ledger.attempt(attempt_id)
        known = 0 if found is None else found[1].known_tokens
        left = max(1, plan.output_tokens - known)
        return replace(plan, input_tokens=plan.input_tokens + known, output_tokens=left)

    def _cancel(self, action: Cancel) -> None:
        self._calls[action.call_id].attempts[action.attempt_id].withdraw(action.attempt_id)

    def _fail(self, action: Fail) -> None:
        if action.skipped:
            self._calls[action.call_id].asker.left_out(action.skipped)

    def _review_at(self, action: ReviewAt) -> None:
        self._calls[action.call_id].review = action.at
        self._timeline.at(max(action.at, self._timeline.now), self._review, action.call_id, action.at)

    def _review(self, call_id: str, at: float) -> None:
        call = self._calls.get(call_id)
        if call is not None and call.review == at:
            call.review = inf
            self._post(ReviewDue(call_id))

    def _record(self, action: Record) -> None:
        record: Recordable = action.record
        if isinstance(record, (CallEnded, RunClosed)):
            self._over.append(record)
        elif isinstance(record, Decision):
            whys = self.attempts_by.setdefault(record.endpoint, {})
            whys[record.why] = whys.get(record.why, 0) + 1
        if self._learner is not None:
            self._learner.take(record)

    # -- for tests ---------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether neither a run nor a call is open, here or in the scheduler."""
        return not self._calls and not self._runs and self.scheduler.idle


def _nothing(action: Action) -> None:
    """Delivering and failing are for the caller, who is told how the call ended by its record."""
