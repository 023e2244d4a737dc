"""HexGen-Flow: text-to-SQL workflows with a deadline on four unlike engines."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from agentsched.engine.profiles import load_profile
from agentsched.sim.ideal import unloaded_s
from agentsched.sim.papers.experiment import Arm, Claim, Key, Lab, Measured, Paper, policy
from agentsched.sim.streams import Stream, stream

__all__ = ["TEXT_TO_SQL"]

_WORKFLOWS = 419
_ENGINES = {"a100-1": "a100", "a100-2": "a100", "a6000": "rtx6000", "l40s": "l40s"}
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
_SCALES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
_RATE = 0.6
_RULES = (
    policy("round_robin"),
    policy("least_outstanding"),
    policy("power_of_two"),
    policy("shortest_expected_completion", toll=0),
    policy("tail_aware"),
    policy("deadline_aware"),
)


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
def _budget_s() -> float:
    """The sum over the template's calls of the mean time of each alone, over the engines."""
    queries = _queries(stream(0, Stream.SHAPES))
    profiles = [load_profile(f"llama3-70b-{gpu}-tp4") for gpu in _ENGINES.values()]
    per_call = [
        float(np.mean([unloaded_s(profile, prompt, output) for profile in profiles]))
        for calls in queries[:100]
        for _, prompt, output, _ in calls
    ]
    return float(np.mean(per_call)) * len(queries[0])


def _rows(scale: float) -> Iterator[dict[str, Any]]:
    for k, calls in enumerate(_queries(stream(0, Stream.SHAPES))):
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
                "deadline_s": scale * _budget_s(),
            }


def _text_to_sql(lab: Lab) -> list[Arm]:
    arms = []
    for scale in _SCALES:
        trace = lab.trace(f"text-to-sql-{scale:g}", _rows(scale))
        scenario = {
            "name": f"text-to-sql-{scale:g}",
            "load": _RATE,
            "duration": _WORKFLOWS / _RATE * 0.25 * lab.scale,
            "endpoints": [{"name": name, "profile": f"llama3-70b-{gpu}-tp4"} for name, gpu in _ENGINES.items()],
            "workload": {"trace": trace},
        }
        arms += [lab.arm((choice.label, f"{scale:g}"), scenario, choice) for choice in _RULES]
    return arms


def _claims(found: Mapping[Key, Measured]) -> list[Claim]:
    claims = []
    for scale in _SCALES:
        rivals = max(found[choice.label, f"{scale:g}"].attainment.mean for choice in _RULES[:-1])
        ours = found[_RULES[-1].label, f"{scale:g}"].attainment.mean
        what = f"ours: points of pass rate on the best rival at scale {scale:g}"
        claims.append(Claim(what, None, 100.0 * (ours - rivals), "points", "no figures public"))
    return claims


TEXT_TO_SQL = Paper(
    name="text-to-sql",
    title="Text-to-SQL workflows of 15 calls on two A100, an A6000 and an L40S, against the deadline's scale",
    source="HexGen-Flow (source code; per-length latency table absent)",
    columns=("policy", "deadline scale"),
    assumed=(
        "engines: the fitted profiles of a 70B model on four such GPUs each, in place of the absent latency table",
        "the template: seven groups with 15 calls in all, sizes guessed; the deadline is scale times the sum of mean "
        "step times, as published, but scales are lower, for the sum counts parallel calls one after another",
        f"a quarter of the {_WORKFLOWS} workflows, Poisson arrivals at {_RATE:g} per second",
    ),
    arms=_text_to_sql,
    claims=_claims,
)
