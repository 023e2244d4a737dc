"""Just enough, the rule of GoodServe: the slowest endpoint that still makes the deadline."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from agentsched.core.decision import Choice, Situation
from agentsched.policy.options import flag, number
from agentsched.policy.space import Between, Space

__all__ = ["JustEnough"]


class JustEnough:
    """Of the endpoints C = {g : T_q(g) <= D and a place is free} the slowest; if C is empty, the least violation.

    GoodServe (its paper and released code): T_q(g) = prompt / prefill speed + predicted output x smoothed TPOT of g, so
    that fast instances stay free for requests that need them. What this socket cannot hold of it: the new prediction
    after every 50 tokens with its migration is a second decision about a running call (see policy/rectify.py), and a
    client does not see free key/value memory, for which a free slot stands here.

    D is what is left until the run's deadline, less the mean of what follows this call where that is known. Without a
    deadline the fastest is taken.

    Args:
        load_aware: strengthened: T_q is this client's full forecast, with what the call itself adds to the batch and
            with everything known of queues, instead of the smoothed figures of the last look.
        margin: T_q times this must fit.

    Raises:
        ConfigError: an option is out of range.
    """

    name = "just_enough"
    space: ClassVar[Space] = {"margin": Between(0.5, 8.0, log=True)}

    def __init__(self, load_aware: bool = False, margin: float = 1.0) -> None:
        self._load_aware = flag("load_aware", load_aware)
        self._margin = number("margin", margin, 0.01, 100.0)

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        times_s = self._times_s(situation)
        budget_s = situation.slack_s
        if budget_s is None:
            return Choice(int(times_s.argmin()), -times_s)
        if situation.rest_s is not None:
            budget_s -= float(situation.rest_s.mean())
        late_s = self._margin * times_s - budget_s
        scores = np.where((late_s <= 0.0) & (situation.states.ready_in_s <= 0.0), times_s, -np.abs(late_s) - 1e-9)
        return Choice(int(scores.argmax()), scores)

    def _times_s(self, situation: Situation) -> NDArray[np.float64]:
        """T_q of each endpoint, seconds; the wait for a place included in both readings."""
        tokens, states = max(0.0, situation.output_tokens.mean - 1.0), situation.states
        if self._load_aware:
            times_s: NDArray[np.float64] = situation.ttft_s + tokens * situation.tpot_s
            return times_s
        seen_s: NDArray[np.float64] = states.ttft_idle_s + states.ready_in_s + tokens * states.tpot_s
        seen_s += situation.uncached_tokens / states.prefill_tokens_per_s
        return seen_s
