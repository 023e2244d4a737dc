"""What an arm came to: what was observed from outside, and the figures made of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from agentsched.telemetry.spread import Spread, spread, wilson_interval

__all__ = ["ArmResult", "ClientReport", "Ended", "EndpointCount", "Figures", "Outcome", "Pacing"]


class Outcome(StrEnum):
    """How a workflow ended."""

    ANSWERED = "answered"
    DEADLINE = "deadline"
    """agentsched ended it at its deadline."""
    GAVE_UP = "gave up"
    """Whoever asked gave up: the latency is a lower bound."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of one workflow.

    Attributes:
        case: its number.
        arrival_s: when it was due, seconds since the first arrival.
        latency_s: seconds from then until whoever asked had an answer or an error.
        outcome: see `Outcome`.
        digest: of the answer's text; empty without one.
        error: what it failed with.
    """

    case: int
    arrival_s: float
    latency_s: float
    outcome: Outcome
    digest: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class ClientReport:
    """What the load generator says about itself.

    Attributes:
        calls: model calls that the agents made.
        cpu_s: CPU seconds it used.
        wall_s: seconds it ran.
        lag_p50_s: lateness of its event loop, median, seconds.
        lag_p95_s: 95th percentile.
        lag_worst_s: largest.
    """

    calls: int
    cpu_s: float
    wall_s: float
    lag_p50_s: float
    lag_p95_s: float
    lag_worst_s: float

    @classmethod
    def of(cls, lags_s: Sequence[float], calls: int, cpu_s: float, wall_s: float) -> "ClientReport":
        """Sum up samples of the event loop's lateness."""
        p50, p95, worst = (float(q) for q in np.quantile(lags_s or [0.0], (0.5, 0.95, 1.0)))
        return cls(calls, cpu_s, wall_s, p50, p95, worst)


@dataclass(frozen=True, slots=True)
class EndpointCount:
    """What one endpoint counted during the arm.

    Attributes:
        requests: requests it received.
        input_tokens: prompt tokens it read or found in its prefix cache.
        output_tokens: tokens it generated, those nobody waited for included.
        cost_usd: these tokens at its price.
    """

    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Pacing:
    """The emulator's check of itself: how far from their instants its chunks were written.

    Attributes:
        chunks: chunks counted.
        p95_s: 95th percentile of the distance, seconds.
        allowed_s: what it may be.
    """

    chunks: int
    p95_s: float
    allowed_s: float

    @property
    def passed(self) -> bool:
        """Whether the emulator kept time, so that figures taken against it mean something."""
        return self.chunks >= _FEWEST_CHUNKS and self.p95_s <= self.allowed_s


_FEWEST_CHUNKS = 200
"""Fewer chunks say nothing about a 95th percentile."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one arm.

    Attributes:
        attained: workflows that were answered by the deadline.
        attainment: their share.
        interval: its 95 % interval (Wilson).
        goodput_per_s: attained workflows per second of the arrivals' window.
        latency_s: of all workflows, until there was an answer or an error, seconds.
        outcomes: workflows by outcome.
        late: workflows answered, but after the deadline.
        calls: model calls that the agents made.
        retries: requests that the endpoints received beyond those calls.
        input_tokens: see `EndpointCount`.
        output_tokens: see `EndpointCount`.
        cost_usd: see `EndpointCount`.
        censored_from_s: from here on latencies are lower bounds, because whoever asked gave up; None if nobody did.
    """

    attained: int
    attainment: float
    interval: tuple[float, float]
    goodput_per_s: float
    latency_s: Spread
    outcomes: Mapping[str, int]
    late: int
    calls: int
    retries: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    censored_from_s: float | None


@dataclass(frozen=True, slots=True)
class ArmResult:
    """Everything observed in one arm.

    Attributes:
        arm: its name.
        deadline_s: the deadline.
        ended: one entry per workflow, in the order of their ends.
        client: the load generator about itself.
        endpoints: what each endpoint counted.
        pacing: the emulator's check of itself.
    """

    arm: str
    deadline_s: float
    ended: tuple[Ended, ...]
    client: ClientReport
    endpoints: Mapping[str, EndpointCount]
    pacing: Pacing

    @property
    def figures(self) -> Figures | None:
        """The figures; None if the emulator did not keep time: then there are none to be had."""
        if not self.pacing.passed:
            return None
        met = [ended for ended in self.ended if self.met(ended)]
        low, high = wilson_interval(len(met), len(self.ended))
        outcomes = Counter(str(ended.outcome) for ended in self.ended)
        latency = spread(ended.latency_s for ended in self.ended)
        assert latency is not None, "an arm has at least one workflow"
        counts = self.endpoints.values()
        return Figures(
            attained=len(met),
            attainment=len(met) / len(self.ended),
            interval=(low, high),
            goodput_per_s=len(met) / self.window_s,
            latency_s=latency,
            outcomes=dict(outcomes),
            late=outcomes[Outcome.ANSWERED] - len(met),
            calls=self.client.calls,
            retries=max(0, sum(count.requests for count in counts) - self.client.calls),
            input_tokens=sum(count.input_tokens for count in counts),
            output_tokens=sum(count.output_tokens for count in counts),
            cost_usd=sum(count.cost_usd for count in counts),
            censored_from_s=min((e.latency_s for e in self.ended if e.outcome == Outcome.GAVE_UP), default=None),
        )

    @property
    def window_s(self) -> float:
        """Seconds from the first to the last arrival, the same in every arm; at least one."""
        return max(1.0, max(ended.arrival_s for ended in self.ended))

    def met(self, ended: Ended) -> bool:
        """Whether this workflow was answered by the deadline."""
        return ended.outcome == Outcome.ANSWERED and ended.latency_s <= self.deadline_s

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        figures = self.figures
        return {
            "arm": self.arm,
            "figures": None if figures is None else asdict(figures),
            "pacing": {**asdict(self.pacing), "passed": self.pacing.passed},
            "client": asdict(self.client),
            "endpoints": {name: asdict(count) for name, count in self.endpoints.items()},
            "workflows": [asdict(ended) for ended in self.ended],
        }
