"""RouteBalance with what its profiles say of speeds, whatever is seen: the last arm of its isolation."""

from dataclasses import replace

from agentsched.core.decision import Choice, Situation
from agentsched.policy.fused import Fused

__all__ = ["StaticPrior"]


class StaticPrior(Fused):
    """The fused choice on paces a + b n and times to first token of the configured profiles, n the own calls there.

    Nothing that answers teach is used but how many of them are open.

    Args:
        preset: as `Fused`.

    Raises:
        ConfigError: the preset is unknown.
    """

    name = "static_prior"

    def __init__(self, preset: str = "balanced") -> None:
        super().__init__(preset)

    def choose(self, situation: Situation) -> Choice:
        """Place the call."""
        states = situation.states
        waiting = states.prefill_tokens + situation.uncached_tokens
        ttft_s = states.ready_in_s + states.ttft_idle_s + waiting / states.prefill_tokens_per_s
        tpot_s = states.tpot_alone_s + states.tpot_per_batch_s * (states.in_flight + 1.0)
        return super().choose(replace(situation, ttft_s=ttft_s, tpot_s=tpot_s))
