"""RouteBalance: quality, cost and latency against the rate, waves and bursts, budgets of single prompts."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from agentsched.sim.papers.experiment import Arm, Claim, Key, Lab, Measured, Paper, policy
from agentsched.sim.streams import Stream, stream

__all__ = ["BUDGETS", "RATES", "WAVES"]

_SOURCE = "RouteBalance (abstract, documentation and released code; the body of the paper was not available)"
_PROMPTS = 3534
_MOST_TOKENS = 1024

# name: instances, seconds per token alone, growth per sequence, prompt tokens per second, USD per million, quality
_MODELS: dict[str, tuple[int, float, float, float, float, float]] = {
    "72b": (2, 0.0474, 0.0004, 3000.0, 0.40, 0.419),
    "14b": (3, 0.0184, 0.0002, 5000.0, 0.15, 0.381),
    "7b": (5, 0.0206, 0.0002, 6000.0, 0.07, 0.343),
    "3b": (3, 0.0123, 0.0001, 12000.0, 0.06, 0.286),
}


def _pool() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "count": count,
            "profile": {
                "step_base_s": pace - growth,
                "step_per_sequence_s": growth,
                "step_per_kv_token_s": 5e-8,
                "prefill_tokens_per_s": reads,
                "max_slots": 128,
                "kv_tokens": 200_000,
            },
            "price": {"input": 0.38 if name == "72b" else price, "output": price},
            "quality": quality,
        }
        for name, (count, pace, growth, reads, price, quality) in _MODELS.items()
    ]


def _prompts(rng: np.random.Generator, budgeted: float = 0.0) -> Iterator[dict[str, Any]]:
    """Single prompts; ``budgeted`` of them may cost no more than a uniform amount between the 3B's and the 72B's."""
    for k in range(_PROMPTS):
        prompt = max(1, round(120 * float(rng.lognormal(0.0, 0.6))))
        yield {
            "record": "call",
            "schema": 1,
            "run_id": f"r{k}",
            "workflow": "prompt",
            "step": "prompt",
            "input_tokens": prompt,
            "output_tokens": min(_MOST_TOKENS, max(4, round(110 * float(rng.lognormal(0.0, 0.6))))),
        }
        share = float(rng.uniform())
        if float(rng.uniform()) < budgeted:
            low, high = (_usd(name, prompt, 128) for name in ("3b", "72b"))
            budget = {"max_cost_usd": low + share * (high - low)}
            yield {"record": "run", "schema": 1, "run_id": f"r{k}", "workflow": "prompt", "slo": budget}


def _usd(name: str, prompt: int, output: int) -> float:
    price = _MODELS[name][4]
    return ((0.38 if name == "72b" else price) * prompt + price * output) * 1e-6


def _scenario(lab: Lab, name: str, trace: str, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "load": 18.0,
        "duration": max(20.0, seconds * lab.scale),
        "endpoints": _pool(),
        "workload": {"trace": trace},
        "outputs": {"least": 4, "most": _MOST_TOKENS},
        "prompts": {"most": 8000},
        **more,
    }


_RULES = (
    policy("fused", preset="balanced"),
    policy("fused", preset="latency_heavy"),
    policy("fused", preset="quality_heavy"),
    policy("fused", preset="cost_heavy"),
    policy("round_robin"),
    policy("least_outstanding"),
    policy("random"),
    policy("shortest_expected_completion"),
    policy("deadline_aware"),
)
_LAMBDAS = (6.0, 8.0, 10.0, 12.0, 18.0, 24.0, 30.0)
_NO_LATENCY = policy("fused", preset="balanced", latency=0.0)
_STATIC = replace(policy("agentsched.sim.papers.static_prior.StaticPrior"), shown="fused:preset=balanced, static prior")
_ISOLATED = (_NO_LATENCY, _STATIC)


def _rates(lab: Lab) -> list[Arm]:
    trace = lab.trace("routebalance", _prompts(stream(0, Stream.SHAPES)))
    scenario = _scenario(lab, "routebalance-rates", trace, 118.0)
    return [
        lab.arm((choice.label, f"{rate:g}/s"), scenario, choice, load=rate)
        for rate in _LAMBDAS
        for choice in (*_RULES, *_ISOLATED)
    ]


def _quality(one: Measured) -> float:
    return 0.0 if one.quality is None else one.quality.mean


def _rates_claims(found: Mapping[Key, Measured]) -> list[Claim]:
    def at(preset: str, rate: float) -> Measured:
        return found[f"fused:preset={preset}", f"{rate:g}/s"]

    claims = [
        Claim("quality-heavy: quality at 6/s", 0.419, _quality(at("quality_heavy", 6.0)), "", "72B's own, assumed"),
        Claim("cost-heavy: cheapest request", 1.68e-5, at("cost_heavy", 6.0).cost_usd.mean, "USD"),
        Claim("balanced: mean latency at 30/s", 2.39, at("balanced", 30.0).mean_s.mean, "s", "2.39 to 2.8 published"),
    ]
    for rate, published in ((12.0, 3.42), (24.0, 3.50), (30.0, 3.75)):
        ours = found[_NO_LATENCY.label, f"{rate:g}/s"].mean_s.mean
        claims.append(Claim(f"no latency in the choice: mean at {rate:g}/s", published, ours, "s"))
    claims += _isolation(found, "18/s", 2.615, 2.41)
    best = min(found[choice.label, "30/s"].mean_s.mean for choice in _RULES if choice.name != "deadline_aware")
    ours = found["deadline_aware", "30/s"].mean_s.mean
    claims.append(Claim("ours without a deadline: mean at 30/s over the best rival's", None, ours / best, "x"))
    return claims


def _isolation(found: Mapping[Key, Measured], where: str, learned_s: float, static_s: float) -> list[Claim]:
    """Learned paces against a static prior: arm 4 of the isolation."""
    learned = found["fused:preset=balanced", where].mean_s.mean
    static = found[_STATIC.label, where].mean_s.mean
    return [
        Claim(f"learned pace, {where}: mean latency", learned_s, learned, "s"),
        Claim(f"static prior in its place, {where}: mean latency", static_s, static, "s"),
        Claim(f"static prior over learned pace, {where}", static_s / learned_s, static / learned, "x"),
    ]


_ASSUMED = (
    "growth of the pace with the batch, prompt speeds, slots and memory; idle paces and prices are the released ones",
    "prompts and answers are lognormal (medians 120 and 110 tokens): the data set's lengths by model are not used",
    "qualities: the 72B's is the published peak, the others keep the routing study's ratios; a prompt's quality is "
    "that of the model that answers it",
    "the weights of the presets: only their names are public",
)

RATES = Paper(
    name="routebalance-rates",
    title="13 instances of four sizes, 6 to 30 prompts per second: quality, cost and latency",
    source=_SOURCE,
    columns=("policy", "rate"),
    assumed=(*_ASSUMED, "no batches of 10 ms in front of the choice"),
    arms=_rates,
    claims=_rates_claims,
)

_SHAPES: dict[str, dict[str, Any]] = {
    "square 30/6": {"kind": "square_wave", "period": 60.0, "high_share": 0.5, "high": 30 / 18},
    "square 40/6": {"kind": "square_wave", "period": 60.0, "high_share": 0.5, "high": 40 / 23},
    "bursts .3": {"kind": "gamma", "cv": 0.3**-0.5},
}
_MEANS = {"square 30/6": 18.0, "square 40/6": 23.0, "bursts .3": 18.0}


def _waves(lab: Lab) -> list[Arm]:
    trace = lab.trace("routebalance", _prompts(stream(0, Stream.SHAPES)))
    return [
        lab.arm(
            (choice.label, shape),
            _scenario(lab, f"routebalance-{shape}", trace, 180.0, arrivals=arrivals),
            choice,
            load=_MEANS[shape],
        )
        for shape, arrivals in _SHAPES.items()
        for choice in (*_RULES, *_ISOLATED)
    ]


def _waves_claims(found: Mapping[Key, Measured]) -> list[Claim]:
    published = {"square 30/6": (2.577, 7.107), "square 40/6": (3.788, None), "bursts .3": (2.524, 4.392)}
    claims = []
    for shape, (fused_s, plain_s) in published.items():
        ours = found["fused:preset=balanced", shape].mean_s.mean
        claims.append(Claim(f"balanced, {shape}: mean latency", fused_s, ours, "s"))
        if plain_s is not None:
            plain = found["round_robin", shape].mean_s.mean
            claims.append(Claim(f"pass-through, {shape}: mean latency", plain_s, plain, "s", "round robin here"))
        deadline_aware = found["deadline_aware", shape].mean_s.mean
        claims.append(
            Claim(f"ours without a deadline, {shape}: mean latency over balanced", None, deadline_aware / ours, "x")
        )
    return [*claims, *_isolation(found, "square 40/6", 3.788, 3.12)]


WAVES = Paper(
    name="routebalance-waves",
    title="The same pool under square waves and bursts",
    source=_SOURCE,
    columns=("policy", "arrivals"),
    assumed=(*_ASSUMED, "burstiness .3 is the shape of gamma gaps; square waves last 30 s at each rate"),
    arms=_waves,
    claims=_waves_claims,
)

_FRACTIONS = (0.1, 0.25, 0.5, 1.0)
_BUDGET_RULES = (
    policy("fused", preset="balanced"),
    policy("fused", preset="quality_heavy"),
    policy("least_outstanding"),
    policy("deadline_aware"),
)


def _budgets(lab: Lab) -> list[Arm]:
    arms = []
    for fraction in _FRACTIONS:
        trace = lab.trace(f"routebalance-{fraction:g}", _prompts(stream(0, Stream.SHAPES), fraction))
        scenario = _scenario(lab, f"routebalance-budgets-{fraction:g}", trace, 118.0)
        arms += [lab.arm((choice.label, f"{fraction:.0%}"), scenario, choice, load=12.0) for choice in _BUDGET_RULES]
    return arms


def _budgets_claims(found: Mapping[Key, Measured]) -> list[Claim]:
    return [
        Claim(f"{choice.label}: answered within budget, {fraction:.0%} with one", None, share, "", "no figures public")
        for choice in _BUDGET_RULES
        for fraction in _FRACTIONS
        for share in (found[choice.label, f"{fraction:.0%}"].attainment.mean,)
    ]


BUDGETS = Paper(
    name="prompt-budgets",
    title="A share of the prompts with a budget between the 3B's and the 72B's cost at 128 tokens",
    source=_SOURCE,
    columns=("policy", "with a budget"),
    assumed=(*_ASSUMED, "a budget is hard: a prompt that no model can be expected to answer within it is refused"),
    arms=_budgets,
    claims=_budgets_claims,
)
