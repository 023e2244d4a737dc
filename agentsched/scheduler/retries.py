"""When a failed attempt is followed by another: whether it may, and how long its endpoint is left in peace first."""

from agentsched.core.call import Failure, FailureKind
from agentsched.core.rules import RetryRules
from agentsched.scheduler.call_state import AttemptState, CallState
from agentsched.scheduler.retry_budget import ShareBudget

__all__ = ["Retries"]

_MOST_LIMITED_TRIES = 16
"""A call gives up after this many answers of 429; they do not count as its attempts."""


class Retries:
    """The retry rules of one pool, and what is left of its budget.

    Args:
        rules: the rules.
    """

    def __init__(self, rules: RetryRules) -> None:
        self._rules = rules
        self.budget = ShareBudget(rules.budget, rules.reserve)

    def allowed(self, state: CallState, failure: Failure) -> bool:
        """Whether the call may be sent once more: never if it must not be repeated and may have been acted upon.

        A 429 says that it was not; such answers have a limit of their own.
        """
        if failure.kind is FailureKind.RATE_LIMITED:
            return state.uncounted < _MOST_LIMITED_TRIES
        repeatable = state.call.repeatable or failure.kind is FailureKind.CONNECT
        return repeatable and self.attempts_left(state) > 0 and self.budget.available

    def attempts_left(self, state: CallState) -> int:
        """How often the call may still be sent, the pool's budget aside."""
        return self._rules.max_attempts - (state.made - state.uncounted)

    def count(self, state: CallState, failure: Failure) -> None:
        """The call is sent once more after this failure."""
        state.retries += 1
        if failure.kind is FailureKind.RATE_LIMITED:
            state.uncounted += 1
        else:
            self.budget.take()

    def avoid(self, state: CallState, attempt: AttemptState, failure: Failure, ends_at: float, now: float) -> bool:
        """The endpoint failed this call: it gets it again only if no other can be had, and not before a pause.

        Answers whether it may be asked again at once, as nothing but a connection that had been closed was lost.
        """
        i = attempt.endpoint
        if failure.kind is FailureKind.STALE and i not in state.failed_at and state.call.repeatable:
            state.failed_at[i] = 0
            return True
        again = state.failed_at.get(i, 0)
        pause_s = min(self._rules.max_backoff_s, self._rules.backoff_s * 2.0**again)
        state.failed_at[i] = again + 1
        state.not_before[i] = now + pause_s
        if all(state.failed_at.get(k, 0) > 0 for k in state.candidates) and again > 0:
            self._spread(state, ends_at - attempt.predicted_e2e_s, pause_s, now)
        return False

    def _spread(self, state: CallState, ends_at: float, pause_s: float, now: float) -> None:
        """Everybody failed, and not for the first time: the tries that are left are spread over the time that is left.

        With n of them the next one comes after 1 / (2^n - 1) of it, so that each pause is twice the one before.
        """
        left = self.attempts_left(state)
        spare_s = min(ends_at - now, self._rules.max_wait_s)
        if left <= 0 or spare_s <= 0.0:
            return
        share_s = spare_s / (2.0 ** min(left, 32) - 1.0)
        at = now + max(pause_s, min(self._rules.max_backoff_s, share_s))
        for k in state.candidates:
            state.not_before[k] = max(state.not_before.get(k, at), at)
