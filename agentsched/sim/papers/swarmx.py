"""SwarmX: deep research on single-task instances, and the loss of most of the pool."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from agentsched.sim.papers.experiment import Arm, Claim, Key, Lab, Measured, Paper, Window, policy
from agentsched.sim.streams import Stream, stream

__all__ = ["CAPACITY", "DEEP_RESEARCH"]

_SOURCE = "SwarmX (abstract, captions, released harness and data; the body of the paper was not available)"

_WORKFLOWS, _RATE, _SECONDS = 240, 1.16, 207.0
_TOKENS_PER_S = 100.0
_SERIAL = {
    "step_base_s": 1 / _TOKENS_PER_S,
    "step_per_sequence_s": 0.0,
    "step_per_kv_token_s": 0.0,
    "prefill_tokens_per_s": 1e6,
    "max_slots": 1,
    "kv_tokens": 1_000_000,
}
"""One task at a time, in order of arrival; a second of service is 100 tokens."""


def _mixture(rng: np.random.Generator, share: float, first: tuple[float, float], second: tuple[float, float]) -> float:
    median, sigma = first if float(rng.uniform()) < share else second
    return median * float(rng.lognormal(0.0, sigma))


def _boot_s(rng: np.random.Generator) -> float:
    return _mixture(rng, 0.65, (20.0, 0.3), (80.0, 0.3))


def _search_s(rng: np.random.Generator) -> float:
    return 3.32 * float(rng.lognormal(0.0, 0.687))


def _merge_s(rng: np.random.Generator) -> float:
    return _mixture(rng, 0.8, (108.0, 0.09), (34.0, 0.28))


def _research(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """boot -> n searches -> n reads, one to one -> merge; boot and merge on the large model, the rest on the small."""
    at = 0.0
    for k in range(_WORKFLOWS):
        at += float(rng.exponential(1.0 / _RATE))
        width = int(rng.integers(5, 16))
        calls: list[tuple[str, str, float, list[int]]] = [("boot", "large", _boot_s(rng), [])]
        calls += [("search", "small", _search_s(rng), [0]) for _ in range(width)]
        calls += [("read", "small", _search_s(rng), [1 + branch]) for branch in range(width)]
        calls.append(("merge", "large", _merge_s(rng), list(range(1 + width, 1 + 2 * width))))
        for index, (step, model, seconds, parents) in enumerate(calls):
            yield {
                "run_id": f"r{k}",
                "workflow": "deep research",
                "arrival_s": at,
                "call_index": index,
                "step": step,
                "model": model,
                "parents": parents,
                "tool_s": 0.0,
                "input_tokens": 1,
                "output_tokens": max(1, round(seconds * _TOKENS_PER_S)),
            }


_COMMITTED = "at once"
_HELD = "when one is free"
_PUBLISHED_S = {  # 95 % finished, all finished
    ("random", _COMMITTED): (1040.0, 1248.0),
    ("power_of_two", _COMMITTED): (779.0, 836.0),
    ("round_robin", _COMMITTED): (735.0, 775.0),
    ("shortest_expected_completion:toll=0", _HELD): (801.0, 912.0),
    ("tail_aware", _HELD): (663.0, 687.0),
}
_COUNTING = (policy("random"), policy("power_of_two"), policy("round_robin"), policy("least_outstanding"))
_FORECASTING = (
    policy("shortest_expected_completion", toll=0),
    policy("tail_aware"),
    policy("deadline_aware"),
)


def _deep_research(lab: Lab) -> list[Arm]:
    trace = lab.trace("deep-research", _research(stream(0, Stream.SHAPES)))
    arms = []
    for sent, most, rules in ((_COMMITTED, 10_000, _COUNTING), (_HELD, 1, _FORECASTING)):
        scenario = {
            "name": f"deep-research-{most}",
            "load": _RATE,
            "duration": _SECONDS,
            "network": 0.001,
            "stream": False,
            "endpoints": [
                {"name": name, "count": 48, "profile": _SERIAL, "max_concurrency": most, "models": [name]}
                for name in ("large", "small")
            ],
            "workload": {"trace": trace, "arrivals": trace, "in_order": True},
            "outputs": {"least": 1, "most": 100_000},
            "prompts": {"most": 100},
        }
        arms += [lab.arm((choice.label, sent), scenario, choice) for choice in rules]
    return arms


def _deep_research_claims(found: Mapping[Key, Measured]) -> list[Claim]:
    claims = []
    for key, (p95_s, last_s) in _PUBLISHED_S.items():
        ours = found[key]
        claims.append(Claim(f"{key[0]}: 95 % of the workflows finished after", p95_s, ours.finish_p95_s.mean, "s"))
        claims.append(Claim(f"{key[0]}: all finished after", last_s, ours.last_s.mean, "s"))
    best_s = min(found[choice.label, _COMMITTED].last_s.mean for choice in _COUNTING)
    ratio = found["deadline_aware", _HELD].last_s.mean / best_s
    return [*claims, Claim("ours: all finished, over the best rule that counts", None, ratio, "x")]


DEEP_RESEARCH = Paper(
    name="deep-research",
    title="240 deep-research workflows on 48 large and 48 small single-task instances",
    source=_SOURCE,
    columns=("policy", "sent"),
    assumed=(
        "service times are mixtures fitted to the published percentiles; whoever forecasts them errs by 60 %",
        "min-time is shortest expected completion without a toll, probabilistic is the tail-aware rule",
        "the authors counted 216 of 240 merges for probabilistic; here all runs end",
        f"sent {_COMMITTED}: the router commits a task to an instance when it arrives, as theirs does. Our forecasts "
        f"are of instances that batch, so rules that need them are told the one slot and send {_HELD}; where all tasks "
        "wait at the client, little is left to choose",
    ),
    arms=_deep_research,
    claims=_deep_research_claims,
)

_LOST = 10
_INSTANCES = 14
_LOSS_AT_S, _BACK_AT_S, _END_S = 100.0, 160.0, 300.0
_CAPACITY_RULES = (
    policy("round_robin"),
    policy("least_outstanding"),
    policy("shortest_expected_completion", toll=0),
    policy("tail_aware"),
    policy("deadline_aware"),
)


def _capacity(lab: Lab) -> list[Arm]:
    scenario = {
        "name": "capacity-loss",
        "load": 6.0,
        "duration": _END_S,
        "endpoints": [
            {"name": "lost", "count": _LOST, "profile": "study-8b-a800"},
            {"name": "kept", "count": _INSTANCES - _LOST, "profile": "study-8b-a800"},
        ],
        "faults": {"planned": [{"endpoints": ["lost"], "at": _LOSS_AT_S, "duration": _BACK_AT_S - _LOSS_AT_S}]},
        "workflows": _AGENTS,
        "deadlines": {"multiples": [{"times": 3.0, "share": 1.0}]},
    }
    windows = (
        Window("before", 20.0, _LOSS_AT_S - 20.0),
        Window("lost", _LOSS_AT_S - 20.0, _BACK_AT_S),
        Window("after", _BACK_AT_S, _END_S),
    )
    return [lab.arm((choice.label,), scenario, choice, windows=windows, rectify=True) for choice in _CAPACITY_RULES]


_AGENTS = [
    {
        "name": "agent",
        "share": 1.0,
        "stages": [
            {"step": "plan", "prompt": 600, "output": {"median": 150, "sigma": 0.5}},
            {
                "step": "act",
                "prompt": 900,
                "prompt_growth": 250,
                "output": {"median": 120, "sigma": 0.8},
                "tool": {"median": 0.4, "sigma": 0.5},
                "loop": {"mean": 4, "most": 12},
                "shared_prefix": True,
            },
            {"step": "answer", "prompt": 1500, "output": {"median": 250, "sigma": 0.6}},
        ],
    }
]


def _capacity_claims(found: Mapping[Key, Measured]) -> list[Claim]:
    claims = []
    for choice in _CAPACITY_RULES:
        during, before = found[choice.label, "lost"], found[choice.label, "before"]
        claims.append(
            Claim(
                f"{choice.label}: P90 of runs that began in the loss, over that before it",
                None,
                during.p90_s.mean / before.p90_s.mean,
                "x",
                "known from a caption only",
            )
        )
    return claims


CAPACITY = Paper(
    name="capacity-loss",
    title="71 % of the instances are lost for a minute, and come back",
    source=_SOURCE,
    columns=("policy", "runs that began"),
    assumed=(
        "10 of 14 equal instances (8B on A800) are down from 100 s to 160 s; what they held is lost and made again",
        "an agent that plans, acts about four times and answers, at a load that 14 instances carry with ease",
        "deadline of three times the ideal, plus half a second",
    ),
    arms=_capacity,
    claims=_capacity_claims,
)
