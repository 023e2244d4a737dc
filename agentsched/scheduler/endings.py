"""How attempts and calls end: an answer is delivered, the rest is cancelled, a call fails, endpoints get the blame."""

from agentsched.core.call import Failure, FailureKind, Usage
from agentsched.scheduler import clocks
from agentsched.scheduler.actions import Cancel, Deliver, Fail, Record
from agentsched.scheduler.blame import blame
from agentsched.scheduler.call_state import AttemptState, CallState
from agentsched.scheduler.ledger import Ledger
from agentsched.scheduler.outbox import Outbox

__all__ = ["Endings"]


class Endings:
    """Settles the books of one pool and says what is to be done about it. Starts nothing.

    Args:
        ledger: the books.
        outbox: takes the actions.
    """

    def __init__(self, ledger: Ledger, outbox: Outbox) -> None:
        self._ledger, self._outbox = ledger, outbox

    # -- calls -------------------------------------------------------------------------------------------------------

    def deliver(self, state: CallState, winner: AttemptState, now: float) -> None:
        """This attempt's answer is the call's, or goes on with it."""
        self._outbox.put(Deliver(state.call.call_id, winner.attempt_id, self._ledger.name(winner.endpoint)))
        if state.call.stream:
            state.delivered, state.partial = winner.attempt_id, None
        self.beat(state, winner, now)

    def fail(
        self,
        state: CallState,
        failure: Failure,
        now: float,
        *,
        refused: AttemptState | None = None,
        skipped: str = "",
    ) -> None:
        """The call has no answer.

        ``refused``: the attempt whose 4xx is handed over unchanged. ``skipped``: the visit that is left out.
        """
        delivered = state.delivered is not None or state.partial is not None
        self._cancel_all(state, failure.kind.value, now)
        self._outbox.put(
            Fail(
                state.call.call_id,
                failure,
                passthrough=None if refused is None else refused.attempt_id,
                endpoint=None if refused is None else self._ledger.name(refused.endpoint),
                saturated=failure.kind is FailureKind.RATE_LIMITED and state.only_limits,
                delivered=delivered,
                attempts=tuple(state.story),
                skipped=skipped,
            )
        )
        self.end(state, failure.kind.value, now, detail=failure.detail)

    def cancelled(self, state: CallState, kind: FailureKind, now: float) -> None:
        """Its caller went away: nobody is told."""
        self._cancel_all(state, kind.value, now)
        self.end(state, kind.value, now, detail="the caller went away")

    def end(
        self,
        state: CallState,
        status: str,
        now: float,
        *,
        winner: AttemptState | None = None,
        usage: Usage | None = None,
        detail: str = "",
    ) -> None:
        """The call is over, and its attempts are; its books are closed."""
        for record in self._ledger.end_call(state, status, now, winner=winner, usage=usage or Usage(), detail=detail):
            self._outbox.put(Record(record))

    # -- attempts ----------------------------------------------------------------------------------------------------

    def beat(self, state: CallState, winner: AttemptState, now: float) -> None:
        """An attempt was first; its rival lost, and its good name too if it was silent for too long."""
        for attempt in tuple(state.attempts.values()):
            if attempt is not winner:
                if clocks.outlasted(state, attempt, winner, now):
                    self.blame(attempt.endpoint, Failure(FailureKind.SILENT, "no sign of life"), now)
                self._cancel(state, attempt, "another attempt answered first", now)

    def close(
        self, state: CallState, attempt: AttemptState, usage: Usage | None, failure: Failure | None, now: float
    ) -> None:
        """The attempt is over, well or not: slot, limits and money are settled, and the log hears of it."""
        self._outbox.tell(self._ledger.close_attempt(state, attempt, usage, failure, now))

    def blame(self, i: int, failure: Failure, now: float) -> None:
        """A failure is booked where it speaks against endpoint ``i``."""
        note = blame(self._ledger.table, i, failure, now)
        if note is not None:
            self._outbox.note(self._ledger.name(i), note, now)

    def _cancel_all(self, state: CallState, reason: str, now: float) -> None:
        """Nobody wants an answer any more; who should have given one long ago is to blame for that."""
        for attempt in tuple(state.attempts.values()):
            if clocks.surely_dead(state, attempt, self._ledger.table, now):
                self.blame(attempt.endpoint, Failure(FailureKind.SILENT, "no sign of life"), now)
            self._cancel(state, attempt, reason, now)

    def _cancel(self, state: CallState, attempt: AttemptState, reason: str, now: float) -> None:
        self._outbox.put(Cancel(state.call.call_id, attempt.attempt_id, reason))
        self.close(state, attempt, None, Failure(FailureKind.CANCELLED, reason), now)
