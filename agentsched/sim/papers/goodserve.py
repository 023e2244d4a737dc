"""GoodServe: what plain routing loses on mixed GPUs, goodput against rate and deadline, and bad length predictions."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from agentsched.sim.grid import PolicyChoice
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.papers.experiment import Arm, Claim, Key, Lab, Measured, Paper, Window, policy
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.streams import Stream, stream

__all__ = ["ERRORS", "GOODPUT", "MOTIVATION", "SOURCE", "coding_requests", "one_of_each"]

SOURCE = "GoodServe (abstract, captions and released code; the body of the paper was not available)"
_OURS, _THEIRS = "deadline_aware", "just_enough"
_RIVALS = (
    policy("random"),
    policy("round_robin"),
    policy("power_of_two"),
    policy("least_outstanding"),
    policy("litellm_latency"),
    policy("shortest_expected_completion", toll=0),
)
_RULES = (*_RIVALS, policy(_THEIRS), policy(_THEIRS, load_aware=True), policy(_OURS))

_DEADLINE_S = 6.0
_IDLE_TPOT_S = {"v100": 0.0208, "a40": 0.0300, "a800": 0.0119, "h800": 0.0101}


def one_of_each() -> list[dict[str, Any]]:
    """One instance of each GPU: the study's 8B profile with the idle pace that the code names."""
    endpoints = []
    for gpu, tpot_s in _IDLE_TPOT_S.items():
        known = next(one.engine for one in load_scenario("s1").endpoints if f"8b-{gpu}" in one.engine.name)
        figures = {name: getattr(known, name) for name in _FIGURES}
        figures["step_base_s"] = tpot_s - figures["step_per_sequence_s"]
        endpoints.append({"name": gpu, "profile": figures})
    return endpoints


_FIGURES = (
    "step_base_s",
    "step_per_sequence_s",
    "step_per_kv_token_s",
    "prefill_tokens_per_s",
    "max_slots",
    "kv_tokens",
)


def _requests(rng: np.random.Generator, count: int, deadline_s: float) -> Iterator[dict[str, Any]]:
    for k in range(count):
        tokens = int(rng.integers(100, 501))
        yield {
            "run_id": f"r{k}",
            "workflow": "request",
            "step": "request",
            "input_tokens": 100,
            "output_tokens": tokens,
            "deadline_s": deadline_s,
        }


def _motivation(lab: Lab) -> list[Arm]:
    trace = lab.trace("goodserve-motivation", _requests(stream(0, Stream.SHAPES), 600, _DEADLINE_S))
    scenario = {
        "name": "goodserve-motivation",
        "load": 10.0,
        "duration": 60.0 * lab.scale,
        "endpoints": one_of_each(),
        "workload": {"trace": trace},
        "prompts": {"sigma": 0.0, "shift": 0.0, "most": 1000},
    }
    return [lab.arm((choice.label,), scenario, choice) for choice in _RULES]


def _best_rival(found: Mapping[Key, Measured], *rest: str) -> float:
    return max(found[(choice.label, *rest)].goodput.mean for choice in _RIVALS)


def _motivation_claims(found: Mapping[Key, Measured]) -> list[Claim]:
    best, ours, theirs = _best_rival(found), found[(_OURS,)].goodput.mean, found[(_THEIRS,)].goodput.mean
    remark = "the figure's values are not public"
    return [
        Claim("just_enough as published: goodput over the best plain rule", None, theirs / best, "x", remark),
        Claim("ours: goodput over the best plain rule", None, ours / best, "x", remark),
    ]


MOTIVATION = Paper(
    name="goodserve-motivation",
    title="600 requests at 10 per second on one V100, A40, A800 and H800, 6 s each (figure 2)",
    source=SOURCE,
    columns=("policy",),
    assumed=(
        "idle paces 20.8, 30.0, 11.9 and 10.1 ms belong to V100, A40, A800 and H800, by memory bandwidth",
        "growth of the pace with the batch, prompt speed, slots and memory as in the routing study's 8B profiles",
        "Poisson arrivals; the routers know lengths with a lognormal error of 60 %",
    ),
    arms=_motivation,
    claims=_motivation_claims,
)

_SETS = {"bird": (1500, 120, 0.6), "livecodebench": (600, 700, 0.8), "swe-bench": (6000, 400, 0.8)}
"""Prompt set -> prompt tokens, median output tokens, sigma: assumed."""

_BASE_S = 2.5
_SCALES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
_RATES = (6.0, 12.0, 18.0)
_GOODPUT_RULES = (
    policy("round_robin"),
    policy("least_outstanding"),
    policy("shortest_expected_completion", toll=0),
    policy(_THEIRS),
    policy(_THEIRS, load_aware=True),
    policy(_OURS),
)


def coding_requests(rng: np.random.Generator, count: int, deadline_s: float) -> Iterator[dict[str, Any]]:
    """Requests of the three prompt sets, mixed at random, all with the same deadline."""
    names = list(_SETS)
    for k in range(count):
        name = names[int(rng.integers(len(names)))]
        prompt, median, sigma = _SETS[name]
        yield {
            "run_id": f"r{k}",
            "workflow": name,
            "step": name,
            "input_tokens": max(1, round(prompt * float(rng.lognormal(0.0, 0.3)))),
            "output_tokens": min(4096, max(4, round(median * float(rng.lognormal(0.0, sigma))))),
            "deadline_s": deadline_s,
        }


_BLIND = frozenset({"round_robin", "least_outstanding", "shortest_expected_completion"})
"""Rules that look at no deadline: one simulation tells how many are in time at any scale."""


def _goodput(lab: Lab) -> list[Arm]:
    seconds = 60.0 * lab.scale
    windows = {scale: Window(f"{scale:g}", 0.0, seconds, within_s=scale * _BASE_S) for scale in _SCALES}
    traces = {
        scale: lab.trace(
            f"goodserve-goodput-{scale:g}", coding_requests(stream(0, Stream.SHAPES), 2000, scale * _BASE_S)
        )
        for scale in _SCALES
    }

    def arm(choice: PolicyChoice, rate: float, scale: float, *judged: Window) -> Arm:
        scenario = {
            "name": f"goodserve-goodput-{scale:g}-{rate:g}",
            "load": rate,
            "duration": seconds,
            "endpoints": [{**one, "count": 2} for one in one_of_each()],
            "workload": {"trace": traces[scale]},
        }
        return lab.arm((choice.label, f"{rate:g}/s"), scenario, choice, windows=judged)

    arms = []
    for rate in _RATES:
        for choice in _GOODPUT_RULES:
            if choice.name in _BLIND:
                arms.append(arm(choice, rate, _SCALES[0], *windows.values()))
            else:
                arms += [arm(choice, rate, scale, windows[scale]) for scale in _SCALES]
    return arms


def _needed_scale(found: Mapping[Key, Measured], label: str, rate: str, share: float) -> float:
    """The least multiple of the base deadline at which this share is in time, linear between; inf: none of those."""
    shares = [found[label, rate, f"{scale:g}"].attainment.mean for scale in _SCALES]
    for k, reached in enumerate(shares):
        if reached >= share:
            if k == 0:
                return _SCALES[0]
            before = shares[k - 1]
            return float(np.interp(share, [before, reached], [_SCALES[k - 1], _SCALES[k]]))
    return float("inf")


def _goodput_claims(found: Mapping[Key, Measured]) -> list[Claim]:
    plain = [choice.label for choice in _GOODPUT_RULES if choice.name not in (_OURS, _THEIRS)]
    claims = []
    for label, whose in ((_THEIRS, "just_enough as published"), (_OURS, "ours")):
        gains = [
            found[label, f"{rate:g}/s", f"{scale:g}"].goodput.mean / best - 1.0
            for rate in _RATES
            for scale in _SCALES
            if (best := max(found[other, f"{rate:g}/s", f"{scale:g}"].goodput.mean for other in plain)) > 0
        ]
        claims.append(
            Claim(f"{whose}: most goodput gained on the best plain rule", 27.4, 100.0 * max(gains), "%", "maximum")
        )
        for share, published in ((0.95, -20.1), (0.99, -33.0)):
            saved = []
            for rate in _RATES:
                need = _needed_scale(found, label, f"{rate:g}/s", share)
                least = min(_needed_scale(found, other, f"{rate:g}/s", share) for other in plain)
                if np.isfinite(need) and np.isfinite(least):
                    saved.append(need / least - 1.0)
            if saved:
                what = f"{whose}: deadline needed for {share:.0%}, mean change on the best plain rule"
                claims.append(Claim(what, published, 100.0 * float(np.mean(saved)), "%", f"{len(saved)} rates"))
    return claims


GOODPUT = Paper(
    name="goodserve-goodput",
    title="Goodput against rate and deadline scale, three prompt sets mixed (figure 6)",
    source=SOURCE,
    columns=("policy", "rate", "deadline scale"),
    assumed=(
        "two instances of each of the four GPUs; their number is not public",
        f"one deadline for all, {_BASE_S:g} s times the scale: the released base is a placeholder",
        "sizes of the three prompt sets are lognormal guesses; arrivals are Poisson, the trace is not named",
        "just_enough without its migration, which has an experiment of its own: goodserve-migration",
        "required deadlines are from another page than the paper",
    ),
    arms=_goodput,
    claims=_goodput_claims,
)

_ERRORS = (0.0, 0.25, 0.5, 0.75, 1.0)


def _errors(lab: Lab) -> list[Arm]:
    base = load_scenario("s1").model_dump(mode="python", exclude_unset=True)
    arms = []
    for choice in (policy(_THEIRS, load_aware=True), policy(_OURS)):
        for error in _ERRORS:
            scenario = {**base, **_told(error), "duration": 120.0 * lab.scale, "warm_up": 0.12}
            arms.append(lab.arm((choice.label, f"{error:.0%}"), scenario, choice))
        constant = {**base, "name": "errors-one-length", "duration": 120.0 * lab.scale, "warm_up": 0.12}
        arms.append(lab.arm((choice.label, "one length"), constant, choice, knowledge=Knowledge.CONSTANT))
        drawn = {**constant, "name": "errors-random"}
        arms.append(lab.arm((choice.label, "random"), drawn, choice, knowledge=Knowledge.RANDOM))
    return arms


def _told(error: float) -> dict[str, Any]:
    return {"name": f"errors-{error:g}", "knowledge": {"length_error": error}}


def _errors_claims(found: Mapping[Key, Measured]) -> list[Claim]:
    claims = []
    for label, whose in (("just_enough:load_aware=True", "just_enough, load-aware"), (_OURS, "ours")):
        exact = found[label, "0%"].attainment.mean
        for error in ("50%", "100%", "one length", "random"):
            lost = 100.0 * (exact - found[label, error].attainment.mean)
            claims.append(Claim(f"{whose}: points lost from exact lengths to {error}", None, lost, "points"))
    return claims


ERRORS = Paper(
    name="predictor-error",
    title="What errors of the length prediction cost: 0 to 100 %, one length for all, and lengths at random",
    source=SOURCE + "; its ablation",
    columns=("policy", "error"),
    assumed=(
        "the study's scenario S1 at its knee; the error is the sigma of a lognormal factor, and whoever predicts knows "
        "how large it is",
        "random: a length drawn from the step's distribution, told as certain",
    ),
    arms=_errors,
    claims=_errors_claims,
)
