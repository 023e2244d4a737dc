"""SwarmX: two pools and two priorities; what the good pool cannot take in a surge spills to the other one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from agentsched.engine.derive import SERVER_OVERHEAD, on_other_gpu
from agentsched.engine.hardware import GPUS, MODELS, Gpu
from agentsched.engine.profile import HardwareProfile
from agentsched.engine.profiles import load_profile
from agentsched.sim.grid import PolicyChoice
from agentsched.sim.papers.experiment import Arm, Claim, Key, Lab, Measured, Paper, Window, policy
from agentsched.sim.streams import Stream, stream

__all__ = ["SPILL"]

_H20, _L20 = Gpu("h20", 96, 4000, 148), Gpu("l20", 48, 864, 119.5)
_POOLS = ((_H20, 2), (_L20, 4))
_SLOTS = 24

_URGENT, _BULK = "urgent", "bulk"
_URGENT_SHARE = 0.3
_CALM_RATE, _SURGE_RATE = 1.5, 5.0
_SURGE_S, _END_S = (100.0, 200.0), 300.0
_STEPS = (("plan", 800, 150), ("act", 1200, 200), ("answer", 1500, 300))

_SHARED, _SPLIT = "shared", "urgent to H20, bulk to L20"
_PLAIN = "shared, no priorities"
_SPILL = PolicyChoice("agentsched.sim.papers.spill_router.SpillRouter", shown="H20 first, then L20")
_OURS = policy("deadline_aware")
_ARMS: tuple[tuple[PolicyChoice, str], ...] = (
    (policy("least_outstanding"), _SPLIT),
    (policy("least_outstanding"), _SHARED),
    (_SPILL, _SHARED),
    (policy("shortest_expected_completion", toll=0), _SHARED),
    (policy("tail_aware"), _SHARED),
    (_OURS, _SPLIT),
    (_OURS, _PLAIN),
    (_OURS, _SHARED),
)


def _profile(gpu: Gpu) -> dict[str, Any]:
    """An 8B model on a GPU that nobody measured, by the ratios of bandwidth and arithmetic to one that was."""
    measured = load_profile("llama3-8b-h100")
    assert isinstance(measured, HardwareProfile)
    model = MODELS["meta-llama/Meta-Llama-3.1-8B"]
    return asdict(on_other_gpu(measured, model, GPUS["h100_sxm"], gpu, SERVER_OVERHEAD))


def _rows(seed: int, scale: float, pools: str) -> Iterator[dict[str, Any]]:
    shapes, arrivals = stream(seed, Stream.SHAPES), stream(seed, Stream.ARRIVALS)
    at = 0.0
    while True:
        surge = _SURGE_S[0] * scale <= at < _SURGE_S[1] * scale
        at += float(arrivals.exponential(1.0 / (_SURGE_RATE if surge else _CALM_RATE)))
        if at >= _END_S * scale:
            return
        yield from _run(shapes, f"r{at:.6f}", at, pools)


def _run(rng: np.random.Generator, run_id: str, at: float, pools: str) -> Iterator[dict[str, Any]]:
    workflow = _URGENT if float(rng.uniform()) < _URGENT_SHARE else _BULK
    priority = 2 if workflow == _URGENT and pools != _PLAIN else 0
    of_run = {"schema": 1, "run_id": run_id, "workflow": workflow}
    yield {"record": "run", **of_run, "arrival_s": at, "slo": {"priority": priority}}
    for index, (step, prompt, output) in enumerate(_STEPS):
        yield {
            "record": "call",
            **of_run,
            "call_index": index,
            "step": step,
            "model": workflow,
            "parents": [index - 1] if index else [],
            "tool_s": 0.3 if index else 0.0,
            "input_tokens": round(prompt * float(rng.lognormal(0.0, 0.3))),
            "output_tokens": max(8, round(output * float(rng.lognormal(0.0, 0.6)))),
        }


def _arms(lab: Lab) -> list[Arm]:
    scale = max(lab.scale, 0.1)
    windows = tuple(
        Window(f"{workflow}, {label}", since * scale, until * scale, workflow)
        for workflow in (_URGENT, _BULK)
        for label, since, until in (("calm", 0.0, _SURGE_S[0]), ("surge", *_SURGE_S))
    )
    traces = {
        (seed, pools): lab.trace(f"priority-spill-{seed}-{k}", _rows(seed, scale, pools))
        for seed in lab.seeds
        for k, pools in enumerate((_SPLIT, _PLAIN, _SHARED))
    }

    def scenario(pools: str) -> Callable[[int], dict[str, Any]]:
        def of(seed: int) -> dict[str, Any]:
            served = {gpu.name: [name] if pools == _SPLIT else [_URGENT, _BULK] for gpu, name in _OWNERS}
            trace = traces[seed, pools]
            return {
                "name": "priority-spill",
                "load": _CALM_RATE,
                "duration": _END_S * scale,
                "endpoints": [
                    {
                        "name": gpu.name,
                        "count": count,
                        "profile": _profile(gpu),
                        "max_concurrency": _SLOTS,
                        "models": served[gpu.name],
                        "quality": float(gpu is _H20),
                    }
                    for gpu, count in _POOLS
                ],
                "workload": {"trace": trace, "arrivals": trace, "in_order": True},
                "deadlines": {"multiples": [{"times": 3.0, "share": 1.0}], "of": "workflow"},
            }

        return of

    return [lab.arm((choice.label, pools), scenario(pools), choice, windows=windows) for choice, pools in _ARMS]


_OWNERS = ((_H20, _URGENT), (_L20, _BULK))


def _claims(found: Mapping[Key, Measured]) -> list[Claim]:
    claims = []
    remark = "known from a caption only"
    for choice, pools in _ARMS:
        urgent = found[choice.label, pools, f"{_URGENT}, surge"]
        bulk = found[choice.label, pools, f"{_BULK}, surge"]
        where = f"{choice.label}, {pools}, surge"
        claims.append(Claim(f"{where}: urgent runs in time", None, 100.0 * urgent.attainment.mean, "%", remark))
        claims.append(Claim(f"{where}: bulk runs in time", None, 100.0 * bulk.attainment.mean, "%"))
        if bulk.quality is not None:
            share = 100.0 * (1.0 - bulk.quality.mean)
            claims.append(Claim(f"{where}: bulk calls that L20 answered", None, share, "%"))
    return claims


SPILL = Paper(
    name="priority-spill",
    title="Two H20 and four L20, urgent and bulk runs, a surge of over three times the load: who spills over",
    source="SwarmX (a caption: priority spill H20 to L20; no figures are public)",
    columns=("policy", "pools", "runs that began"),
    assumed=(
        "an 8B model; speeds of H20 and L20 from the measured H100's by the data sheets' bandwidth and arithmetic; "
        f"{_SLOTS} calls at a time and instance",
        f"agents of three calls; {_URGENT_SHARE:.0%} of them urgent (priority 2: worth four of the others); "
        f"{_CALM_RATE:g} runs per second, {_SURGE_RATE:g} from 100 to 200 s",
        "deadline: three times the mean ideal of the workflow, plus half a second",
        "H20 first, then L20: the emptiest H20 with a free slot, of which a quarter is kept for urgent calls",
        "the column quality tells the share of calls that H20 answered",
        "calls that wait at the client do so by deadline; of the rules only ours knows what priority is for",
    ),
    arms=_arms,
    claims=_claims,
)
