"""Whole answers asked for as streams: at which endpoints, and what is learned of those that do not take it well."""

from agentsched.core.call import Usage
from agentsched.core.endpoint import Pool
from agentsched.core.rules import StreamRules
from agentsched.scheduler.call_state import AttemptState, CallState

__all__ = ["Upgrades"]

_STREAM = frozenset({"stream"})


class Upgrades:
    """Which endpoints of one pool are asked for streams by whom.

    Args:
        pool: the endpoints.
        rules: whether whole answers may be asked for as streams at all.
    """

    def __init__(self, pool: Pool, rules: StreamRules) -> None:
        self._rules = rules
        self._able = [endpoint.can(_STREAM) for endpoint in pool.endpoints]

    def streams(self, state: CallState, i: int, expected_s: float) -> bool:
        """Whether endpoint ``i`` is asked for a stream: where the caller reads one, or is the better for it.

        ``expected_s``: seconds until the answer is expected. An answer that was begun as a stream goes on as one.
        """
        call = state.call
        if call.stream or not (call.upgradable and call.repeatable and self._rules.upgrade) or state.plain:
            return call.stream
        return self._able[i] and (expected_s >= self._rules.upgrade_from_s or state.draft is not None)

    def refused(self, state: CallState, attempt: AttemptState) -> None:
        """The stream was refused, which the caller did not ask for: the call is asked plainly from now on."""
        state.plain, state.plain_at = True, attempt.endpoint
        state.uncounted += 1
        state.failed_at.pop(attempt.endpoint, None)
        state.not_before.pop(attempt.endpoint, None)

    def answered(self, state: CallState, attempt: AttemptState, said: Usage) -> str | None:
        """Learn from an answer: where something was lost, whole answers are asked for as such; says so for people."""
        i = attempt.endpoint
        if state.call.stream or not self._able[i]:
            return None
        if attempt.streams and said.input_tokens is None:
            text = "tells no usage in streams: whole answers are asked for as such"
        elif not attempt.streams and state.plain_at == i:
            text = "takes no whole answers as streams: they are asked for as such"
        else:
            return None
        self._able[i] = False
        return text
