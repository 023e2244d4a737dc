"""What is to be done about the event that is being handled: the answer of `Scheduler.handle` as it grows."""

from collections.abc import Callable

import numpy as np

from agentsched.core.call import Observation
from agentsched.core.decision import Decision
from agentsched.core.records import Note
from agentsched.core.rules import Rules
from agentsched.scheduler import clocks
from agentsched.scheduler.actions import Action, Record, ReviewAt
from agentsched.scheduler.call_state import CallState

__all__ = ["Outbox"]


class Outbox:
    """Actions in the order in which they are to be done.

    Args:
        rules: by which a call's next review is worked out.
        remember: hears of every attempt that begins or ends: a policy that has a memory.
    """

    def __init__(self, rules: Rules, remember: Callable[[Decision | Observation], None]) -> None:
        self._rules, self._remember = rules, remember
        self._actions: list[Action] = []

    def begin(self) -> list[Action]:
        """A new event: answers the list that will hold its actions."""
        self._actions = []
        return self._actions

    def put(self, action: Action) -> None:
        """This is to be done next."""
        self._actions.append(action)

    def tell(self, record: Decision | Observation) -> None:
        """An attempt began or ended: the log hears of it, and a policy that has a memory."""
        self._remember(record)
        self._actions.append(Record(record))

    def note(self, endpoint: str, text: str, now: float) -> None:
        """People should know this about an endpoint."""
        self._actions.append(Record(Note(now, endpoint, f"endpoint {endpoint} {text}")))

    def schedule_review(self, state: CallState, now: float) -> None:
        """The call is looked at again when the next of its clocks runs out."""
        self.review_at(state, clocks.next_review(state, self._rules, now), now)

    def review_at(self, state: CallState, at: float, now: float) -> None:
        """The call is looked at again at ``at``, and not at the instant that was said before; inf: no change."""
        if at != state.review_at and at < np.inf:
            state.review_at = at
            self._actions.append(ReviewAt(state.call.call_id, max(at, now)))
