"""What attempts teach of their endpoints, while they run and when they are over: first tokens, paces, whole answers."""

from agentsched.core.call import Usage
from agentsched.scheduler.call_state import AttemptState, CallState
from agentsched.scheduler.endpoint_table import EndpointTable
from agentsched.scheduler.stakes import RunningStakes

__all__ = ["Lessons"]

_MIN_TOKENS_FOR_PACE = 4
"""A pace is taken over at least this many tokens."""

_SHORTEST_FORECAST_S = 1e-3
"""A forecast below this counts as this where an answer is compared with it, seconds."""


class Lessons:
    """Looks at attempts, and notes in them how far they have come.

    Args:
        table: learns of the endpoints.
        stakes: what running attempts have at stake moves with what they have written.
    """

    def __init__(self, table: EndpointTable, stakes: RunningStakes) -> None:
        self._table, self._stakes = table, stakes

    def saw_progress(self, attempt: AttemptState, tokens: int, now: float, *, paused: bool) -> None:
        """Tokens came: learn the endpoint's TTFT or its pace, and move the attempt's idle clock."""
        held_up = paused or attempt.paused
        new_tokens = tokens - attempt.paced_tokens
        if attempt.first_at is None:
            attempt.first_at = attempt.paced_at = now
            attempt.paced_tokens = tokens
            self._table.prefill_done(attempt.endpoint, attempt.uncached_tokens)
            ttft_s = now - attempt.started_at
            crowd = self._crowd(attempt, now)
            self._table.speeds.saw_first_token(attempt.endpoint, ttft_s, attempt.unloaded_ttft_s, crowd, now)
        elif held_up or new_tokens >= _MIN_TOKENS_FOR_PACE:
            if not held_up:
                seconds = now - attempt.paced_at
                self._table.speeds.saw_pace(attempt.endpoint, new_tokens, seconds, now)
                pace_s = seconds / new_tokens
                attempt.pace_s = pace_s if attempt.pace_s == 0.0 else 0.5 * (attempt.pace_s + pace_s)
                if now - attempt.progress_at > attempt.longest_lull_s:
                    attempt.longest_lull_s = now - attempt.progress_at
            attempt.paced_tokens, attempt.paced_at = tokens, now
        attempt.tokens, attempt.progress_at, attempt.paused = tokens, now, paused
        if paused:
            attempt.held_up = True
        if attempt.stake_row is not None:
            self._stakes.progressed(attempt, now)

    def _crowd(self, attempt: AttemptState, now: float) -> float:
        """How many calls ran where the attempt began, as far as is known: alone it shows what an idle server takes."""
        return attempt.in_flight + self._table.others.in_flight(attempt.endpoint, now)

    def saw_answer(self, state: CallState, attempt: AttemptState, usage: Usage, now: float) -> bool:
        """A whole answer came: learn the service time, the speed, and what the prefix cache now holds.

        Answers whether trust in the forecasts was lost or regained by it.
        """
        tokens, elapsed = usage.output_tokens or 0, now - attempt.started_at
        self._table.saw_answer(attempt.endpoint, elapsed, tokens)
        if tokens > 0 and not attempt.held_up:
            self._saw_speed(attempt, usage, elapsed, now)
        if state.call.prefix:
            state.run.last_endpoint[state.call.prefix] = (attempt.endpoint, (usage.input_tokens or 0) + tokens)
        if attempt.held_up or attempt.known_tokens:
            return False
        return self._table.coverage.saw(elapsed, *attempt.likely_s)

    def _saw_speed(self, attempt: AttemptState, usage: Usage, elapsed: float, now: float) -> None:
        tokens = usage.output_tokens or 0
        decode_s = max(0, tokens - 1) * attempt.predicted_tpot_s
        factor = elapsed / max(_SHORTEST_FORECAST_S, attempt.predicted_ttft_s + decode_s)
        if factor > 0.0:
            self._table.speeds.saw_misfit(attempt.endpoint, factor)
        if attempt.first_at is None:
            self._saw_whole(attempt, tokens, factor, usage.decode_s, elapsed, now)
        elif attempt.paced_at == attempt.first_at and tokens - attempt.paced_tokens >= _MIN_TOKENS_FOR_PACE:
            self._table.speeds.saw_pace(attempt.endpoint, tokens - attempt.paced_tokens, now - attempt.first_at, now)

    def _saw_whole(
        self, attempt: AttemptState, tokens: int, factor: float, decode_s: float | None, elapsed: float, now: float
    ) -> None:
        """An answer came in one piece: both parts of its forecast were off by the same factor, as far as one can see.

        Long and short answers in turn then set the two parts right: only the true ones suit both. Where the server
        says how long its tokens took (``decode_s``), the rest was the way to the first one.
        """
        table, i, ttft_s = self._table, attempt.endpoint, factor * attempt.predicted_ttft_s
        if decode_s is None or decode_s > elapsed:
            decode_s = factor * (tokens - 1) * attempt.predicted_tpot_s
        else:
            ttft_s = elapsed - decode_s
        table.speeds.saw_first_token(i, ttft_s, attempt.unloaded_ttft_s, self._crowd(attempt, now), now)
        if tokens > _MIN_TOKENS_FOR_PACE:
            table.speeds.saw_pace(i, tokens - 1, decode_s, now)
