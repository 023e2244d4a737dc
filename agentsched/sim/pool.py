"""The scenario's endpoints: the engines that serve, and what a client believes of them at first."""

from dataclasses import replace

import numpy as np

from agentsched.core.endpoint import Endpoint, Group, Pool, Profile
from agentsched.engine.disaggregated import DisaggregatedPair
from agentsched.engine.hosted import HostedApi
from agentsched.engine.instance import Instance
from agentsched.engine.profile import DisaggregatedProfile, EngineProfile, HostedProfile
from agentsched.engine.request import ServingModel
from agentsched.sim.plan import MODEL
from agentsched.sim.pool_format import Endpoints
from agentsched.sim.scenario import Scenario
from agentsched.sim.streams import Stream, stream

__all__ = ["client_pool", "serving_model", "serving_models"]


def serving_models(scenario: Scenario, seed: int) -> dict[str, ServingModel]:
    """One engine for each endpoint, by name."""
    models: dict[str, ServingModel] = {}
    for group in scenario.endpoints:
        for name in group.names:
            models[name] = serving_model(group.engine, seed, len(models))
    return models


def serving_model(profile: EngineProfile, seed: int, number: int) -> ServingModel:
    """The engine of a profile; ``number`` tells apart the endpoints of a pool."""
    if isinstance(profile, HostedProfile):
        return HostedApi(profile, stream(seed, Stream.HOSTED, number), detail=False)
    if isinstance(profile, DisaggregatedProfile):
        return DisaggregatedPair(profile, detail=False)
    return Instance(profile, detail=False)


def client_pool(scenario: Scenario, seed: int, *, mean_context_tokens: float) -> Pool:
    """The pool as its clients' configuration describes it: limits and prices are right, speeds within the error.

    Args:
        scenario: what is simulated.
        seed: of the errors; all clients share them, as they share a configuration.
        mean_context_tokens: what the key/value term of the step time is folded into the per-batch figure with.
    """
    rng = stream(seed, Stream.BELIEFS)
    endpoints = [
        _endpoint(name, group, scenario, _belief(group, scenario, mean_context_tokens, rng))
        for group in scenario.endpoints
        for name in group.names
    ]
    return Pool(endpoints, {model: Group(names) for model, names in _served(scenario).items()})


def _served(scenario: Scenario) -> dict[str, tuple[str, ...]]:
    """Model name -> the endpoints that serve it; those that serve whatever is asked for, under every name."""
    named = dict.fromkeys(model for group in scenario.endpoints for model in group.models or ())
    served = {
        model: tuple(
            name
            for group in scenario.endpoints
            if group.models is None or model in group.models
            for name in group.names
        )
        for model in (MODEL, *named)
    }
    return {model: names for model, names in served.items() if names}


def _belief(group: Endpoints, scenario: Scenario, mean_context_tokens: float, rng: np.random.Generator) -> Profile:
    profile, network_s = group.engine, scenario.network if group.network is None else group.network
    if isinstance(profile, HostedProfile):
        prior = profile.prior()
        prior = replace(prior, ttft_s=prior.ttft_s + 2.0 * network_s)
    else:
        prior = profile.prior(mean_context_tokens=mean_context_tokens, network_s=2.0 * network_s)
    error = scenario.knowledge.profile_error
    a, b, speed = (float(factor) for factor in rng.uniform(1.0 - error, 1.0 + error, 3))
    return replace(
        prior,
        tpot_s=prior.tpot_s * a,
        tpot_per_batch_s=prior.tpot_per_batch_s * b,
        prefill_tokens_per_s=prior.prefill_tokens_per_s * speed,
    )


def _endpoint(name: str, group: Endpoints, scenario: Scenario, belief: Profile) -> Endpoint:
    profile = group.engine
    hosted = isinstance(profile, HostedProfile)
    slots = group.max_concurrency
    if slots is None and not isinstance(profile, HostedProfile):
        slots = profile.max_slots
    return Endpoint(
        name=name,
        base_url="http://simulated.invalid/v1",
        model=MODEL,
        kind="openai" if hosted else "vllm",
        profile=belief,
        max_concurrency=slots,
        rpm=profile.requests_per_minute if isinstance(profile, HostedProfile) else None,
        tpm=profile.tokens_per_minute if isinstance(profile, HostedProfile) else None,
        price=group.price.core(),
        quality=group.quality,
        context_tokens=profile.context_limit_tokens,
    )
