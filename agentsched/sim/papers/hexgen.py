"""HexGen-Flow: text-to-SQL workflows with a deadline on four unlike engines."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from math import inf
from typing import Any

import numpy as np

from agentsched.sim.ideal import unloaded_s
from agentsched.sim.papers.experiment import Arm, Claim, Key, Lab, Measured, Paper, Window, policy
from agentsched.sim.pool_format import engine_profile
from agentsched.sim.streams import Stream, stream

__all__ = ["TEXT_TO_SQL"]

_WORKFLOWS = 419
_CANDIDATE_S = {"a100": 18.2, "a6000": 34.3, "l40": 32.6}
"""Seconds that generating a candidate takes on each GPU, as the source has it; the L40 stands for the L40S."""
_CANDIDATE_TOKENS = 420
_MIXES = {
    "A100 A100 A6000 L40S": ("a100", "a100", "a6000", "l40"),
    "A100 A6000 A100 A6000": ("a100", "a6000", "a100", "a6000"),
}
# step: calls at once, prompt tokens, median output tokens; every group waits for the one before
_TEMPLATE = (
    ("extract keywords", 1, 700, 60),
    ("select tables", 2, 2200, 80),
    ("select columns", 2, 2600, 120),
    ("generate candidate", 4, 3000, 420),
    ("revise candidate", 4, 3300, 260),
    ("write unit tests", 1, 2800, 350),
    ("judge", 1, 3600, 120),
)
_SCALES = (3.0, 4.5, 6.0, 8.0, 11.0, 14.8)
_RATE = 0.05
_BALANCED = policy("shortest_expected_completion", toll=0)
_FIFO, _DUE = "order of arrival", "by deadline"
_OURS = (policy("deadline_aware"), _DUE)
_VLLM = (policy("round_robin"), _FIFO)
_ARMS = (
    _VLLM,
    (policy("round_robin"), _DUE),
    (policy("least_outstanding"), _FIFO),
    (_BALANCED, _FIFO),
    (_BALANCED, _DUE),
    (policy("tail_aware"), _FIFO),
    _OURS,
)
_BLIND = frozenset({"round_robin", "least_outstanding", "shortest_expected_completion", "tail_aware"})
"""Rules that look at no deadline: as all workflows of an arm have the same, they do the same whatever it is."""
_SLOTS = {_FIFO: 10_000, _DUE: 8}
"""Calls at a time that a router sends to an engine: all of them, or so many that the rest waits where it can be put in
order."""


def _engine(gpu: str) -> dict[str, float]:
    """An engine with a quantised 70B model; its pace is the published step time by the tokens assumed for it."""
    pace_s = _CANDIDATE_S[gpu] / _CANDIDATE_TOKENS
    return {
        "step_base_s": 0.9 * pace_s,
        "step_per_sequence_s": 0.1 * pace_s,
        "step_per_kv_token_s": 1e-7,
        "prefill_tokens_per_s": 40.0 / pace_s,
        "max_slots": 16,
        "kv_tokens": 120_000,
    }


def _queries(rng: np.random.Generator) -> list[list[tuple[str, int, int, list[int]]]]:
    made = []
    for _ in range(_WORKFLOWS):
        calls: list[tuple[str, int, int, list[int]]] = []
        before: list[int] = []
        hard = float(rng.lognormal(0.0, 0.25))
        for step, width, prompt, median in _TEMPLATE:
            first = len(calls)
            for _ in range(width):
                output = max(8, round(median * hard * float(rng.lognormal(0.0, 0.4))))
                calls.append((step, round(prompt * float(rng.lognormal(0.0, 0.2))), output, before))
            before = list(range(first, len(calls)))
        made.append(calls)
    return made


@cache
def _budget_s(mix: str) -> float:
    """The sum over the template's calls of the mean time of each alone, over the engines."""
    queries = _queries(stream(0, Stream.SHAPES))
    profiles = [engine_profile(_engine(gpu)) for gpu in _MIXES[mix]]
    per_call = [
        float(np.mean([unloaded_s(profile, prompt, output) for profile in profiles]))
        for calls in queries[:100]
        for _, prompt, output, _ in calls
    ]
    return float(np.mean(per_call)) * len(queries[0])


def _rows(seed: int, count: int, deadline_s: float) -> Iterator[dict[str, Any]]:
    for k, calls in enumerate(_queries(stream(seed, Stream.SHAPES))[:count]):
        for index, (step, prompt, output, parents) in enumerate(calls):
            yield {
                "run_id": f"r{k}",
                "workflow": "text-to-sql",
                "call_index": index,
                "step": step,
                "parents": parents,
                "tool_s": 0.0,
                "input_tokens": prompt,
                "output_tokens": output,
                "deadline_s": deadline_s,
            }


def _text_to_sql(lab: Lab) -> list[Arm]:
    count = max(20, round(_WORKFLOWS * lab.scale))
    arms = []
    for number, (mix, gpus) in enumerate(_MIXES.items()):
        windows = tuple(Window(f"{scale:g}", 0.0, count / _RATE, within_s=scale * _budget_s(mix)) for scale in _SCALES)
        traces = {
            (scale, seed): lab.trace(
                f"text-to-sql-{number}-{scale:g}-{seed}", _rows(seed, count, scale * _budget_s(mix))
            )
            for scale in _SCALES
            for seed in lab.seeds
        }
        for choice, order in _ARMS:
            blind = choice.name in _BLIND
            for scale, window in zip(_SCALES[:1] if blind else _SCALES, windows, strict=False):
                of_seed = {seed: traces[scale, seed] for seed in lab.seeds}
                scenario = _scenario(gpus, _SLOTS[order], count, of_seed)
                arms.append(
                    lab.arm((choice.label, order, mix), scenario, choice, windows=windows if blind else (window,))
                )
    return arms


def _scenario(
    gpus: tuple[str, ...], slots: int, count: int, traces: Mapping[int, str]
) -> Callable[[int], dict[str, Any]]:
    return lambda seed: {
        "name": "text-to-sql",
        "load": _RATE,
        "duration": count / _RATE,
        "endpoints": [
            {"name": f"{gpu}-{k}", "profile": _engine(gpu), "max_concurrency": slots} for k, gpu in enumerate(gpus)
        ],
        "workload": {"trace": traces[seed]},
        "progress": 2.0,
    }


def _needed(found: Mapping[Key, Measured], label: str, order: str, mix: str) -> float:
    """The least scale at which 95 % pass, linear between those tried; inf: none of them."""
    shares = [found[label, order, mix, f"{scale:g}"].attainment.mean for scale in _SCALES]
    for k, reached in enumerate(shares):
        if reached >= _PASS:
            return _SCALES[0] if k == 0 else float(np.interp(_PASS, shares[k - 1 : k + 1], _SCALES[k - 1 : k + 1]))
    return inf


_PASS = 0.95


def _claims(found: Mapping[Key, Measured]) -> list[Claim]:
    claims, saved = [], []
    for mix in _MIXES:
        vllm = _needed(found, _VLLM[0].label, _VLLM[1], mix)
        for choice, order in _ARMS:
            need = _needed(found, choice.label, order, mix)
            what = f"{mix}: scale at which 95 % pass, {choice.label} {order}"
            remark = "" if need < inf else "not reached: more than this"
            claims.append(Claim(what, None, min(need, _SCALES[-1]), "", remark))
        need = _needed(found, _OURS[0].label, _OURS[1], mix)
        if need < inf and vllm < inf:
            saved.append(vllm / need)
        claims += [_best_rival(found, mix, scale) for scale in _SCALES]
    if saved:
        remark = "they: against vLLM; here: against round robin in order of arrival, over the engine mixes"
        claims.append(Claim("ours: deadlines shorter by, most", 1.67, max(saved), "x", remark))
        claims.append(Claim("ours: deadlines shorter by, mean", 1.41, float(np.mean(saved)), "x", remark))
    return claims


def _best_rival(found: Mapping[Key, Measured], mix: str, scale: float) -> Claim:
    def share(label: str, order: str) -> float:
        return found[label, order, mix, f"{scale:g}"].attainment.mean

    rivals = max(share(choice.label, order) for choice, order in _ARMS if choice.name != "deadline_aware")
    gained = 100.0 * (share(_OURS[0].label, _OURS[1]) - rivals)
    return Claim(f"{mix}: ours, points of pass rate on the best rival at scale {scale:g}", None, gained, "points")


TEXT_TO_SQL = Paper(
    name="text-to-sql",
    title="Text-to-SQL workflows of 15 calls on four unlike engines: pass rate against the deadline's scale",
    source="HexGen-Flow (abstract; source code, of which the per-length latency table is absent)",
    columns=("policy", "calls wait", "engines", "deadline scale"),
    assumed=(
        "engines: one GPU each with a quantised 70B model; paces from the published seconds of one step, taken to be "
        f"{_CANDIDATE_TOKENS} tokens; a tenth of the pace per sequence in the batch, prompts read 40 times as fast as "
        "answers are written, 16 slots",
        "the template: seven groups with 15 calls in all, sizes guessed, later groups wait for earlier ones; the "
        "deadline is scale times the sum of mean step times, as published",
        f"Poisson arrivals, {_RATE:g} workflows per second, the pool then being nearly full: the published rates are "
        "parameters of other engines",
        f"round robin in order of arrival stands for vLLM; 'by deadline': a router that sends {_SLOTS[_DUE]} calls at "
        "a time to an engine and the most urgent first, which stands for their local queues by urgency; "
        "shortest expected completion stands for their workload-balanced dispatch, its alpha is not swept",
    ),
    arms=_text_to_sql,
    claims=_claims,
)
