"""SwarmX: the loss of most of the pool."""

from collections.abc import Mapping

from agentsched.core.rules import Rules
from agentsched.sim.papers.experiment import Arm, Claim, Key, Lab, Measured, Paper, Window, policy

__all__ = ["CAPACITY"]

_SOURCE = "SwarmX (abstract, captions, released harness and data; the body of the paper was not available)"

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
    return [lab.arm((choice.label,), scenario, choice, windows=windows, rules=Rules()) for choice in _CAPACITY_RULES]


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
