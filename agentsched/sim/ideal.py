"""How long a call takes alone: what deadlines are multiples of."""

from collections.abc import Sequence
from typing import NamedTuple

from agentsched.engine.profile import EngineProfile, HardwareProfile, HostedProfile
from agentsched.errors import ConfigError
from agentsched.sim.plan import MODEL
from agentsched.sim.scenario import Scenario

__all__ = ["IdealTimes", "Offer", "ideal_times", "unloaded_s"]


def unloaded_s(profile: EngineProfile, input_tokens: int, output_tokens: int) -> float:
    """Seconds from a request's arrival at an idle endpoint, with nothing of its prompt cached, to its last token.

    Exact for an instance and for a pair; at a hosted API every part takes its median.
    """
    if isinstance(profile, HardwareProfile):
        return profile.frontend_s + _prefill_s(profile, input_tokens) + _decode_s(profile, input_tokens, output_tokens)
    if isinstance(profile, HostedProfile):
        prefill_s = 0.0 if profile.prefill_tokens_per_s is None else input_tokens / profile.prefill_tokens_per_s
        return profile.ttft_median_s + prefill_s + (output_tokens - 1) * profile.tpot_median_s
    reads, decodes = profile.prefill, profile.decode
    first_s = reads.frontend_s + _prefill_s(reads, input_tokens)
    if output_tokens == 1:
        return first_s
    second_s = decodes.step_base_s + decodes.prefill_s(1, input_tokens)
    rest_s = _decode_s(decodes, input_tokens + 1, output_tokens - 1)
    return first_s + profile.transfer_s(input_tokens) + second_s + rest_s


def _prefill_s(profile: HardwareProfile, input_tokens: int) -> float:
    total, done = 0.0, 0
    while done < input_tokens:
        tokens = input_tokens - done
        if tokens > profile.prefill_chunk_tokens:
            tokens = profile.prefill_chunk_tokens
        pairs = tokens * done + 0.5 * tokens * (tokens - 1)
        total += profile.step_base_s + profile.prefill_s(tokens, pairs)
        done += tokens
    return total


def _decode_s(profile: HardwareProfile, input_tokens: int, output_tokens: int) -> float:
    """All steps after the first token; the j-th of them reads the prompt and j tokens."""
    steps = output_tokens - 1
    alone_s = profile.decode_step_s(1, input_tokens)
    return steps * alone_s + profile.step_per_kv_token_s * steps * (steps + 1) / 2


class Offer(NamedTuple):
    """One kind of endpoint, as far as it matters to who may serve a call, and how fast.

    Attributes:
        profile: its speed.
        quality: what a call's demand is compared with.
        network_s: network time each way, seconds.
        models: the model names that it serves; None: any.
    """

    profile: EngineProfile
    quality: float
    network_s: float
    models: frozenset[str] | None = None


class IdealTimes:
    """The fastest unloaded endpoint for each call.

    Args:
        offers: one for each kind of endpoint.
    """

    def __init__(self, offers: Sequence[Offer]) -> None:
        self._offers = list(dict.fromkeys(offers))

    def call_s(self, input_tokens: int, output_tokens: int, min_quality: float, model: str = MODEL) -> float:
        """Seconds of the call alone on the fastest endpoint that may serve it, network both ways included.

        Raises:
            ConfigError: none may.
        """
        seconds = [
            2.0 * offer.network_s + unloaded_s(offer.profile, input_tokens, output_tokens)
            for offer in self._offers
            if offer.quality >= min_quality and (offer.models is None or model in offer.models)
        ]
        if not seconds:
            named = "" if model == MODEL else f" the model {model!r} with"
            raise ConfigError(f"none serves{named} a quality of {min_quality:g} or more", field="endpoints")
        return min(seconds)


def ideal_times(scenario: Scenario) -> IdealTimes:
    """The ideal times of a scenario's pool."""
    return IdealTimes(
        [
            Offer(
                group.engine,
                group.quality,
                scenario.network if group.network is None else group.network,
                None if group.models is None else frozenset(group.models),
            )
            for group in scenario.endpoints
        ]
    )
