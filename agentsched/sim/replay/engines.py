"""A configured pool as engines: what its endpoints are simulated as, and what had to be assumed of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agentsched.core.endpoint import Endpoint
from agentsched.engine.profile import EngineProfile, HardwareProfile, HostedProfile
from agentsched.engine.profiles import load_profile
from agentsched.telemetry.run_log import AttemptLog

__all__ = ["Latencies", "SimulatedEndpoint", "latencies_of", "simulated_endpoint"]

_HOSTED = frozenset({"openai", "azure", "envoy"})
"""Kinds of servers whose calls do not slow each other down, as far as a client can see."""

_ENOUGH = 20
"""So many answers of an endpoint tell the distribution of its latency."""

_TTFT_SIGMA, _TPOT_SIGMA = 0.5, 0.3
"""Assumed spread of a hosted API of which nothing is recorded: the middle of the shipped scenario ``s4``'s APIs."""

_SLOTS, _KV_TOKENS = 256, 400_000
"""What an instance holds where nothing says it: so much that it rarely limits."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """Lognormal latency of an endpoint's answers as they were recorded; seconds."""

    ttft_median_s: float
    ttft_sigma: float
    tpot_median_s: float
    tpot_sigma: float
    answers: int


def latencies_of(attempts: Sequence[AttemptLog]) -> dict[str, Latencies]:
    """Latencies of those endpoints whose streamed answers were recorded often enough."""
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one in attempts:
        tokens = one.output_tokens or 0
        told = one.endpoint is not None and one.ttft_s is not None and one.e2e_s is not None
        if one.status == "ok" and one.stream and told and tokens > 1:
            assert one.endpoint is not None
            assert one.ttft_s is not None
            assert one.e2e_s is not None
            tpot_s = (one.e2e_s - one.ttft_s) / (tokens - 1)
            if one.ttft_s > 0.0 and tpot_s > 0.0:
                seen[one.endpoint].append((one.ttft_s, tpot_s))
    return {name: _latencies(pairs) for name, pairs in seen.items() if len(pairs) >= _ENOUGH}


def _latencies(pairs: Sequence[tuple[float, float]]) -> Latencies:
    logs = np.log(np.array(pairs))
    (ttft, tpot), (ttft_sigma, tpot_sigma) = np.median(logs, axis=0), logs.std(axis=0)
    return Latencies(float(np.exp(ttft)), float(ttft_sigma), float(np.exp(tpot)), float(tpot_sigma), len(pairs))


@dataclass(frozen=True, slots=True)
class SimulatedEndpoint:
    """What stands for an endpoint.

    Attributes:
        name: the endpoint's name.
        profile: its engine.
        network_s: seconds each way.
        basis: where the profile comes from, in words.
    """

    name: str
    profile: EngineProfile
    network_s: float
    basis: str


def simulated_endpoint(
    endpoint: Endpoint, hardware: str | None, recorded: Mapping[str, Latencies], network_s: float
) -> SimulatedEndpoint:
    """The engine that stands for a configured endpoint.

    Args:
        endpoint: as configured.
        hardware: the name of its hardware profile; None: it has figures of its own.
        recorded: latencies of endpoints in the log, by name.
        network_s: seconds each way to an endpoint on named hardware; figures of one's own hold the network already.
    """
    if hardware is not None:
        profile = load_profile(hardware)
        if isinstance(profile, HostedProfile):
            profile = replace(
                profile,
                requests_per_minute=profile.requests_per_minute if endpoint.rpm is None else endpoint.rpm,
                tokens_per_minute=profile.tokens_per_minute if endpoint.tpm is None else endpoint.tpm,
            )
        return SimulatedEndpoint(endpoint.name, profile, network_s, f"profile {hardware}")
    if endpoint.kind in _HOSTED:
        return _hosted(endpoint, recorded.get(endpoint.name))
    return SimulatedEndpoint(
        endpoint.name, _instance(endpoint), 0.0, "its configured figures, with memory that hardly limits"
    )


def _hosted(endpoint: Endpoint, seen: Latencies | None) -> SimulatedEndpoint:
    prior = endpoint.profile
    if seen is None:
        spread = f"{_TTFT_SIGMA:g} for TTFT, {_TPOT_SIGMA:g} for TPOT"
        basis = f"its configured figures as medians; assumed: load is not felt, sigma is {spread}"
        seen = Latencies(max(1e-3, prior.ttft_s), _TTFT_SIGMA, prior.tpot_s, _TPOT_SIGMA, 0)
        prefill = prior.prefill_tokens_per_s
    else:
        basis, prefill = f"the latency of its {seen.answers} streamed answers in the log", None
    profile = HostedProfile(
        name=endpoint.name,
        ttft_median_s=seen.ttft_median_s,
        ttft_sigma=seen.ttft_sigma,
        tpot_median_s=seen.tpot_median_s,
        tpot_sigma=seen.tpot_sigma,
        prefill_tokens_per_s=prefill,
        requests_per_minute=endpoint.rpm,
        tokens_per_minute=endpoint.tpm,
        max_context_tokens=endpoint.context_tokens or 10**9,
    )
    return SimulatedEndpoint(endpoint.name, profile, 0.0, basis)


def _instance(endpoint: Endpoint) -> HardwareProfile:
    prior = endpoint.profile
    return HardwareProfile(
        name=endpoint.name,
        step_base_s=prior.tpot_s,
        step_per_sequence_s=prior.tpot_per_batch_s,
        step_per_kv_token_s=0.0,
        prefill_tokens_per_s=prior.prefill_tokens_per_s,
        max_slots=max(_SLOTS, endpoint.max_concurrency or 0),
        kv_tokens=max(_KV_TOKENS, 2 * (endpoint.context_tokens or 0)),
        max_context_tokens=endpoint.context_tokens,
        frontend_s=max(0.0, prior.ttft_s - prior.tpot_s - prior.tpot_per_batch_s),
    )
