"""How long a call takes alone: what deadlines are multiples of."""

from collections.abc import Sequence

from agentsched.engine.profile import DisaggregatedProfile, EngineProfile, HardwareProfile, HostedProfile
from agentsched.sim.scenario import Scenario

__all__ = ["IdealTimes", "ideal_times", "unloaded_s"]


def unloaded_s(profile: EngineProfile, input_tokens: int, output_tokens: int) -> float:
    """Seconds from a request's arrival at an idle endpoint, with nothing of its prompt cached, to its last token.

    Exact for an instance and for a pair; at a hosted API every part takes its median.
    """
    if isinstance(profile, HostedProfile):
        prefill_s = 0.0 if profile.prefill_tokens_per_s is None else input_tokens / profile.prefill_tokens_per_s
        return profile.ttft_median_s + prefill_s + (output_tokens - 1) * profile.tpot_median_s
    if isinstance(profile, DisaggregatedProfile):
        reads, decodes = profile.prefill, profile.decode
        first_s = reads.frontend_s + _prefill_s(reads, input_tokens)
        if output_tokens == 1:
            return first_s
        second_s = decodes.step_base_s + decodes.prefill_s(1, input_tokens)
        rest_s = _decode_s(decodes, input_tokens + 1, output_tokens - 1)
        return first_s + profile.transfer_s(input_tokens) + second_s + rest_s
    return profile.frontend_s + _prefill_s(profile, input_tokens) + _decode_s(profile, input_tokens, output_tokens)


def _prefill_s(profile: HardwareProfile, input_tokens: int) -> float:
    total, done = 0.0, 0
    while done < input_tokens:
        tokens = min(profile.prefill_chunk_tokens, input_tokens - done)
        pairs = tokens * done + 0.5 * tokens * (tokens - 1)
        total += profile.step_base_s + profile.prefill_s(tokens, pairs)
        done += tokens
    return total


def _decode_s(profile: HardwareProfile, input_tokens: int, output_tokens: int) -> float:
    """All steps after the first token; the j-th of them reads the prompt and j tokens."""
    steps = output_tokens - 1
    alone_s = profile.decode_step_s(1, input_tokens)
    return steps * alone_s + profile.step_per_kv_token_s * steps * (steps + 1) / 2


class IdealTimes:
    """The fastest unloaded endpoint for each call.

    Args:
        endpoints: (profile, quality, network seconds each way) of each kind of endpoint.
    """

    def __init__(self, endpoints: Sequence[tuple[EngineProfile, float, float]]) -> None:
        self._endpoints = list(dict.fromkeys(endpoints))

    def call_s(self, input_tokens: int, output_tokens: int, min_quality: float) -> float:
        """Seconds of the call alone on the fastest endpoint that may serve it, network both ways included."""
        return min(
            2.0 * network_s + unloaded_s(profile, input_tokens, output_tokens)
            for profile, quality, network_s in self._endpoints
            if quality >= min_quality
        )


def ideal_times(scenario: Scenario) -> IdealTimes:
    """The ideal times of a scenario's pool."""
    return IdealTimes(
        [
            (group.engine, group.quality, scenario.network if group.network is None else group.network)
            for group in scenario.endpoints
        ]
    )
