"""What is studied of a policy beside its tuning: parts that can be switched off, weights that trade good for good."""

from collections.abc import Mapping

from agentsched.policy.space import Option

__all__ = ["ABLATIONS", "SWEEPS"]

ABLATIONS: Mapping[str, Mapping[str, Mapping[str, Option]]] = {
    "deadline_aware": {
        "no toll": {"toll": 0.0, "queue_toll": 0.0},
        "no toll for slots and rate limits": {"queue_toll": 0.0},
        "mean instead of distribution": {"samples": 1},
        "no remainder": {"remainder": False},
        "run's own lengths heeded": {"correction": True},
        "joins not known": {"joins": False},
        "prefix caches not known": {"prefix": False},
        "pessimistic pace": {"pessimism": 0.3},
        "no cost term": {"cost": 0.0},
        "no latency term": {"latency": 0.0},
    },
    "shortest_expected_completion": {"no toll": {"toll": 0.0}},
    "tail_aware": {"independent sums": {"independent": True}},
    "just_enough": {"load-aware": {"load_aware": True}},
    "peak_ewma": {"looks at all": {"sampled": False}},
}
"""Policy -> what is changed -> the options that change it."""

SWEEPS: Mapping[str, tuple[Mapping[str, Option], ...]] = {
    "fused": (
        {"quality": 0.0, "cost": 1.0, "latency": 0.0, "load": 0.0},
        {"quality": 0.0, "cost": 0.7, "latency": 0.2, "load": 0.1},
        {"quality": 0.0, "cost": 0.4, "latency": 0.5, "load": 0.1},
        {"quality": 0.2, "cost": 0.4, "latency": 0.3, "load": 0.1},
        {"quality": 0.4, "cost": 0.3, "latency": 0.2, "load": 0.1},
        {"quality": 0.4, "cost": 0.1, "latency": 0.4, "load": 0.1},
        {"quality": 0.6, "cost": 0.1, "latency": 0.2, "load": 0.1},
        {"quality": 0.8, "cost": 0.05, "latency": 0.1, "load": 0.05},
        {"quality": 1.0, "cost": 0.0, "latency": 0.0, "load": 0.0},
    ),
    "deadline_aware": (
        {"quality": 0.0, "cost": 1.0},
        {"quality": 0.0, "cost": 0.2},
        {"quality": 0.0, "cost": 0.02},
        {"quality": 1.0, "cost": 0.2},
        {"quality": 1.0, "cost": 0.02},
        {"quality": 3.0, "cost": 0.02},
        {"quality": 30.0, "cost": 0.02},
        {"quality": 1000.0, "cost": 0.0},
    ),
}
"""Policy -> settings from one end of its quality, cost and latency to the other."""
