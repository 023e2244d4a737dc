"""A performer on virtual time: feeds events, checks every action against the contract, lets the asked-for reviews come.

`Bench` is driven by hand; with ``world`` it also acts as the endpoints: each `Start` is answered by the events that
``world`` says, after the delays it says.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from agentsched.core.call import Failure, FailureKind, Handed, ModelCall, Observation, RunInfo, Usage
from agentsched.core.decision import Choice, Decision, Situation
from agentsched.core.endpoint import Endpoint, Pool
from agentsched.core.forecast import QuantileForecast
from agentsched.core.protocols import LengthPredictor, Policy, RemainderPredictor
from agentsched.core.records import CallEnded, Note, Recordable, RunClosed
from agentsched.core.remainder import RunHistory
from agentsched.core.rules import Rules, StreamRules
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.policy.shortest_completion import ShortestExpectedCompletion
from agentsched.scheduler.actions import Action, Cancel, Deliver, Fail, Record, ReviewAt, Start
from agentsched.scheduler.events import (
    AttemptFailed,
    AttemptFinished,
    CallArrived,
    CallCancelled,
    EndpointLimited,
    Event,
    ReviewDue,
    RunEnded,
    RunStarted,
    TokensProgressed,
)
from agentsched.scheduler.scheduler import Scheduler

__all__ = ["Bench", "FirstReady", "FixedLengths", "Seen", "endpoint", "pool_of"]

World = Callable[[Start], Iterable[tuple[float, Event]]]
"""What happens after a `Start`: (seconds from it, event) in order of time."""


def endpoint(name: str, **fields: Any) -> Endpoint:
    """An endpoint that serves model "m"."""
    return Endpoint(**({"name": name, "base_url": f"http://{name}.test/v1", "model": "m"} | fields))


def pool_of(*endpoints: Endpoint | str, **groups: Any) -> Pool:
    """A pool of endpoints, or of names."""
    return Pool([endpoint(e) if isinstance(e, str) else e for e in endpoints], groups)


class FirstReady:
    """Takes the first candidate that is ready soonest: placements in tests then follow from readiness alone."""

    name = "first_ready"

    def choose(self, situation: Situation) -> Choice:
        scores = -situation.states.ready_in_s
        return Choice(int(scores.argmax()), scores)


@dataclass(frozen=True)
class FixedLengths:
    """Every answer has the same length."""

    tokens: float = 20.0

    def predict(self, call: ModelCall, history: RunHistory) -> QuantileForecast:
        return QuantileForecast.constant(self.tokens)


@dataclass
class Seen:
    """What the performer was asked for one call."""

    call: ModelCall
    starts: list[Start] = field(default_factory=list)
    running: dict[str, Start] = field(default_factory=dict)
    delivered: Deliver | None = None
    """The last of them: another one comes only after the attempt that was delivered before has ended."""
    failed: Fail | None = None
    ended: CallEnded | None = None
    cancelled: bool = False

    @property
    def places(self) -> list[str]:
        """Endpoints it was sent to, in order."""
        return [start.endpoint for start in self.starts]


class Bench:
    """See the module.

    Args:
        pool: a pool, or endpoints or names for one.
        policy, lengths, remainders: as `Scheduler` takes them.
        rules: the same; by default whole answers are upgraded however short they are.
        world: plays the endpoints; None: the test does.
        late_s: how late the n-th review comes, seconds; None: on time.
    """

    def __init__(
        self,
        *pool: Pool | Endpoint | str,
        rules: Rules | None = None,
        policy: Policy | None = None,
        lengths: LengthPredictor | None = None,
        remainders: RemainderPredictor | None = None,
        world: World | None = None,
        late_s: Callable[[], float] | None = None,
    ) -> None:
        made = pool[0] if isinstance(pool[0], Pool) else pool_of(*pool)  # type: ignore[arg-type]
        self.scheduler = Scheduler(
            made,
            policy or ShortestExpectedCompletion(),
            lengths or FixedLengths(),
            remainders or EmpiricalRemainders(),
            rules or Rules(stream=StreamRules(upgrade_from_s=0.0)),
        )
        self.now = 1000.0
        self.world = world
        self.calls: dict[str, Seen] = {}
        self.records: list[Recordable] = []
        self.history: list[tuple[Event, float, list[Action]]] = []
        self._late_s = late_s or (lambda: 0.0)
        self._reviews: dict[str, float] = {}
        self._owners: dict[str, str] = {}
        self._started: dict[str, Start] = {}
        self._ids = itertools.count()
        self._agenda: list[tuple[float, int, str, Event]] = []

    # -- events --------------------------------------------------------------------------------------------------------

    def feed(self, event: Event) -> list[Action]:
        """Hand one event over now; answers the actions, each checked against the contract."""
        actions = self.scheduler.handle(event, now=self.now)
        self.history.append((event, self.now, actions))
        if isinstance(event, AttemptFinished | AttemptFailed):
            ended = self.calls[self._owners[event.attempt_id]].running.pop(event.attempt_id, None)
            over = {event.attempt_id} if ended is not None else set()
        else:
            over = set()
        for action in actions:
            self._take(action, over)
        self.scheduler.check_invariants()
        self._check_running()
        return actions

    def run(self, run_id: str = "r", **fields: Any) -> list[Action]:
        """Begin a run."""
        return self.feed(RunStarted(RunInfo(**({"run_id": run_id, "workflow": "w", "started_at": self.now} | fields))))

    def end_run(self, run_id: str = "r", outcome: str = "ok") -> list[Action]:
        """End a run."""
        return self.feed(RunEnded(run_id, outcome))

    def call(self, deadline_s: float | None = None, **fields: Any) -> Seen:
        """Let a call arrive."""
        call_id = fields.pop("call_id", f"c{next(self._ids)}")
        given = {"run_id": "r", "workflow": "w", "step": "s", "call_index": 0, "model": "m"} | fields
        deadline_at = None if deadline_s is None else self.now + deadline_s
        call = ModelCall(call_id=call_id, deadline_at=deadline_at, **given)
        seen = self.calls[call_id] = Seen(call)
        self.feed(CallArrived(call))
        return seen

    def cancel(self, seen: Seen) -> list[Action]:
        """The caller goes away."""
        seen.cancelled = True
        return self.feed(CallCancelled(seen.call.call_id))

    def finish(self, seen: Seen, tokens: int | None = 20, *, which: int = -1) -> list[Action]:
        """The attempt (the last one started) has its whole answer."""
        return self.feed(AttemptFinished(seen.starts[which].attempt_id, Usage(seen.call.input_tokens, tokens)))

    def progress(
        self, seen: Seen, tokens: int = 1, *, which: int = -1, paused: bool = False, handed: Handed = Handed.TEXT
    ) -> list[Action]:
        """Tokens came."""
        return self.feed(TokensProgressed(seen.starts[which].attempt_id, tokens, paused, handed))

    def fail(
        self,
        seen: Seen,
        kind: FailureKind = FailureKind.SERVER,
        *,
        which: int = -1,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> list[Action]:
        """The attempt failed."""
        failure = Failure(kind, "as told", status, retry_after_s)
        return self.feed(AttemptFailed(seen.starts[which].attempt_id, failure))

    def limited(self, name: str, **fields: Any) -> list[Action]:
        """A server told its limits."""
        return self.feed(EndpointLimited(name, **fields))

    # -- time ----------------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> list[Action]:
        """Let time pass, with everything that falls due; answers all actions of that time."""
        until, done = self.now + seconds, len(self.history)
        while (due := self._next_due()) is not None and due <= until:
            self._do_next(due)
        self.now = until
        return [action for _, _, actions in self.history[done:] for action in actions]

    def finish_all(self, within_s: float = 3600.0) -> None:
        """Let time pass until no call is open."""
        until = self.now + within_s
        while not self.scheduler.idle:
            due = self._next_due()
            assert due is not None, f"nothing will ever happen again to {self.scheduler}"
            assert due <= until, f"not over after {within_s} s: {self.scheduler}"
            self._do_next(due)

    def _next_due(self) -> float | None:
        instants = [*self._reviews.values(), *(at for at, *_ in self._agenda[:1])]
        return min(instants, default=None)

    def _do_next(self, due: float) -> None:
        self.now = max(self.now, due)
        if self._agenda and self._agenda[0][0] <= due:
            *_, attempt_id, event = heapq.heappop(self._agenda)
            if attempt_id in self._owners:
                self.feed(event)
            return
        call_id = min(self._reviews, key=lambda key: self._reviews[key])
        del self._reviews[call_id]
        self.feed(ReviewDue(call_id))

    def schedule(self, at: float, event: Event, attempt_id: str) -> None:
        """Let an event of an attempt come at this instant."""
        heapq.heappush(self._agenda, (at, next(self._ids), attempt_id, event))

    # -- actions -------------------------------------------------------------------------------------------------------

    def _take(self, action: Action, over: set[str]) -> None:
        if isinstance(action, Record):
            self._note(action.record)
            return
        seen = self.calls[action.call_id]
        assert seen.ended is None, f"{action} for a call that is over"
        match action:
            case Start():
                self._take_start(seen, action)
            case Cancel():
                assert seen.running.pop(action.attempt_id, None) is not None, f"{action}, which does not run"
                self._forget_agenda(action.attempt_id)
            case ReviewAt():
                assert action.at >= self.now
                self._reviews[action.call_id] = action.at + self._late_s()
            case Deliver():
                if seen.delivered is not None:
                    assert seen.delivered.attempt_id not in seen.running, "two deliveries at once"
                    assert self._started[action.attempt_id].way is not None, "an answer that was begun twice"
                assert seen.failed is None
                assert action.attempt_id in seen.running.keys() | over
                seen.delivered = action
            case Fail():
                assert seen.failed is None, "failed twice"
                assert action.delivered == (seen.delivered is not None)
                seen.failed = action

    def _take_start(self, seen: Seen, start: Start) -> None:
        assert (start.way is None) == (start.after is None)
        assert start.after is None or self._owners[start.after] == start.call_id, "another call's answer"
        if seen.delivered is None:
            assert start.way is None or not seen.call.stream, "nothing was begun that it could go on with"
            assert start.way is None or (seen.call.repeatable and start.stream and self._started[start.after].resumable)
        else:
            assert seen.call.stream
            assert seen.delivered.attempt_id not in seen.running, "a start beside the answer"
            assert start.way is not None, "what the caller has was forgotten"
            assert seen.call.repeatable
        assert seen.failed is None, "a start after the end"
        self._started[start.attempt_id] = start
        assert start.attempt_id not in self._owners, "an attempt's name was used twice"
        deadline_at, limits = seen.call.deadline_at, start.limits
        assert limits.connect_s > 0
        if deadline_at is None:
            assert limits.remaining_s is None
        else:
            assert self.now < deadline_at, "a start after the deadline"
            assert limits.remaining_s == deadline_at - self.now
            assert limits.connect_s <= limits.remaining_s
        seen.starts.append(start)
        seen.running[start.attempt_id] = start
        self._owners[start.attempt_id] = start.call_id
        for after_s, event in self.world(start) if self.world is not None else ():
            self.schedule(self.now + after_s, event, start.attempt_id)

    def _forget_agenda(self, attempt_id: str) -> None:
        self._agenda = [entry for entry in self._agenda if entry[2] != attempt_id]
        heapq.heapify(self._agenda)

    def _note(self, record: Recordable) -> None:
        self.records.append(record)
        if isinstance(record, CallEnded):
            seen = self.calls[record.call.call_id]
            assert seen.ended is None, "ended twice"
            assert not seen.running, "ended with attempts running"
            answered = record.status == "ok"
            assert (seen.failed is not None) == (not answered and not seen.cancelled)
            assert seen.delivered is not None or not answered
            seen.ended = record
            self._reviews.pop(record.call.call_id, None)

    def _check_running(self) -> None:
        ledger = self.scheduler.ledger
        open_calls = {call_id: set(seen.running) for call_id, seen in self.calls.items() if seen.ended is None}
        assert {call_id: set(state.attempts) for call_id, state in ledger.calls.items()} == open_calls
        for call_id, state in ledger.calls.items():
            assert state.review_at == float("inf") or call_id in self._reviews, f"{call_id} has lost its clock"

    # -- what was recorded ---------------------------------------------------------------------------------------------

    def all(self, kind: type[Any]) -> list[Any]:
        """Every record of one kind."""
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def decisions(self) -> list[Decision]:
        """Every decision."""
        return self.all(Decision)

    @property
    def observations(self) -> list[Observation]:
        """Every observation."""
        return self.all(Observation)

    @property
    def notes(self) -> list[str]:
        """The texts of every note."""
        return [note.text for note in self.all(Note)]

    @property
    def closed_runs(self) -> list[RunClosed]:
        """Every closed run."""
        return self.all(RunClosed)

    def in_flight(self, name: str) -> int:
        """Slots taken at an endpoint."""
        return int(self.scheduler.ledger.table.rows.in_flight[self.scheduler.ledger.table.index[name]])
