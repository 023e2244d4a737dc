"""tenacity strategies that keep to the current run's deadline."""

from tenacity import RetryCallState
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from agentsched.core.duration import Duration, parse_duration
from agentsched.workflow.scope import current_run, effective_deadline

__all__ = ["stop_at_deadline", "wait_within_deadline"]


def _remaining_s() -> float | None:
    run = current_run()
    if run is None:
        return None
    now = run.clock()
    at = effective_deadline(run, run.step, now)
    return None if at is None else at - now


class stop_at_deadline(stop_base):
    """Stop retrying when the next attempt would start after the current run's, or ``deadline`` scope's, time is spent.

    Outside a run, and in one without a deadline, it never stops: combine it, as in
    ``stop_at_deadline() | stop_after_attempt(5)``.

    Args:
        margin: time that an attempt needs at least; None: none.

    Raises:
        ConfigError: the margin is not a duration.
    """

    def __init__(self, margin: Duration | None = None) -> None:
        self.margin_s = 0.0 if margin is None else parse_duration(margin, field="stop_at_deadline.margin")

    def __call__(self, retry_state: RetryCallState) -> bool:
        """Whether to stop, given the wait that is about to come."""
        remaining_s = _remaining_s()
        return remaining_s is not None and retry_state.upcoming_sleep >= remaining_s - self.margin_s


class wait_within_deadline(wait_base):
    """Wait as another strategy says, but never beyond the end of the current run or ``deadline`` scope.

    Args:
        wait: the other strategy, e.g. ``tenacity.wait_exponential()``.
    """

    def __init__(self, wait: wait_base) -> None:
        self.wait = wait

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds to wait."""
        seconds = float(self.wait(retry_state))
        remaining_s = _remaining_s()
        return seconds if remaining_s is None else max(0.0, min(seconds, remaining_s))
