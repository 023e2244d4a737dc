from collections.abc import Callable

import pytest

from agentsched.demo.plan import ARMS, Plan
from agentsched.demo.pool import PROFILES
from agentsched.demo.results import ArmResult, ClientReport, Ended, EndpointCount, Outcome, Pacing

DEADLINE_S = 10.0

MakeArm = Callable[..., ArmResult]


def make_arm(
    arm: str = "agentsched", *, p95_s: float = 0.0001, chunks: int = 1000, latencies: tuple[float, ...]
) -> ArmResult:
    """An arm whose workflows arrived one per second; 20 s or more means that the asker gave up."""
    ended = tuple(
        Ended(number, float(number), seconds, Outcome.ANSWERED if seconds < 20 else Outcome.GAVE_UP, "abc")
        for number, seconds in enumerate(latencies)
    )
    return ArmResult(
        arm=arm,
        deadline_s=DEADLINE_S,
        ended=ended,
        client=ClientReport(calls=40, cpu_s=0.4, wall_s=9.0, lag_p50_s=0.001, lag_p95_s=0.002, lag_worst_s=0.05),
        endpoints={
            name: EndpointCount(requests=11, input_tokens=1000, output_tokens=100, cost_usd=0.001) for name in PROFILES
        },
        pacing=Pacing(chunks=chunks, p95_s=p95_s, allowed_s=0.0006),
    )


@pytest.fixture
def arm() -> MakeArm:
    return make_arm


@pytest.fixture
def arms() -> list[ArmResult]:
    """The three arms: 1, 2 and 4 of 5 workflows in time."""
    latencies = ((4.0, 11.0, 12.0, 20.0, 20.0), (5.0, 6.0, 12.0, 13.0, 20.0), (3.0, 4.0, 5.0, 9.0, 10.5))
    return [make_arm(name, latencies=each) for name, each in zip(ARMS, latencies, strict=True)]


@pytest.fixture
def plan() -> Plan:
    return Plan(
        seed=0, workflows=5, rate_per_s=1.0, deadline_s=DEADLINE_S, idle_s=4.0, calls_per_workflow=8.0, load=0.5
    )
