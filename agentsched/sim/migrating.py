"""The migration of GoodServe: a running answer that is going to be late is taken to another endpoint, by its tokens."""

from dataclasses import dataclass

import numpy as np

from agentsched.core.call import Failure, FailureKind
from agentsched.errors import ConfigError
from agentsched.scheduler.call_state import AttemptState, CallState
from agentsched.scheduler.endpoint_table import EndpointTable

__all__ = ["Migration", "Mover"]


@dataclass(frozen=True, slots=True)
class Migration:
    """When an answer is looked at again, and what moving it must promise.

    GoodServe (its released code): after every 50 tokens the length is predicted again; if what is left will not be
    there in time at the pace of its instance, the request goes elsewhere, ten times at most. Prompt and answer so far
    are sent as token ids and read again there. Whether it will be in time there is not asked.

    Attributes:
        every_tokens: answer tokens between two looks.
        most: moves of one call.
        gain_tested: corrected: it moves only where it would be in time elsewhere, what must be read again included.

    Raises:
        ConfigError: a figure is not positive.
    """

    every_tokens: int = 50
    most: int = 10
    gain_tested: bool = False

    def __post_init__(self) -> None:
        for name in ("every_tokens", "most"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigError("out of range", field=f"migration.{name}", given=value, allowed="1 or more")


class Mover:
    """Applies the rule to the attempts of one client.

    Args:
        rule: when to look, and what moving must promise.
    """

    def __init__(self, rule: Migration) -> None:
        self._rule = rule
        self._looked: dict[str, int] = {}

    def leaves(self, state: CallState, attempt: AttemptState, table: EndpointTable, now: float) -> Failure | None:
        """Why the attempt, which has just given tokens, is left now; None: it is not."""
        rule, call = self._rule, state.call
        due_at = call.deadline_at if call.due_at is None else call.due_at
        if due_at is None or state.made > rule.most or len(state.candidates) == 1:
            return None
        if attempt.tokens - self._looked.get(attempt.attempt_id, 0) < rule.every_tokens:
            return None
        self._looked[attempt.attempt_id] = attempt.tokens
        written = attempt.known_tokens + attempt.tokens
        left = max(0.0, state.lengths.above(float(written)).mean - written)
        spare_s = due_at - now
        if left * float(table.rows.tpot_s[attempt.endpoint]) <= spare_s:
            return None
        if rule.gain_tested and _quickest_elsewhere_s(state, attempt, table, left, written) > spare_s:
            return None
        return Failure(FailureKind.SLOW, f"{left:.0f} tokens are left for {spare_s:.2f} s")


def _quickest_elsewhere_s(
    state: CallState, attempt: AttemptState, table: EndpointTable, left: float, written: int
) -> float:
    """Seconds in which the best other endpoint reads prompt and answer so far and writes the rest."""
    others = np.array([i for i in state.candidates if i != attempt.endpoint and not table.gates.full(i)], np.intp)
    if others.size == 0:
        return float("inf")
    rows = table.rows
    waiting = rows.prefill_tokens[others] + state.call.input_tokens + written
    pace_s = rows.tpot_alone_s[others] + rows.tpot_per_batch_s[others] * (rows.in_flight[others] + 1.0)
    times_s = rows.ttft_idle_s[others] + waiting / rows.prefill_tokens_per_s[others] + left * pace_s
    return float(times_s.min())
