"""Quality against cost against latency: what the weights of a policy, and floors under the quality, can be set to."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from agentsched.errors import ConfigError
from agentsched.policy.studies import SWEEPS
from agentsched.sim.comparison import CaseResult
from agentsched.sim.grid import PolicyChoice
from agentsched.sim.scenario import Scenario
from agentsched.sim.workload_format import Demand

__all__ = ["Point", "frontier", "swept", "with_floor"]


@dataclass(frozen=True, slots=True)
class Point:
    """One setting in one scenario.

    Attributes:
        result: what it reached.
        on_frontier: no other setting is as good in quality, cost and P95 latency, and better in one of them.
    """

    result: CaseResult
    on_frontier: bool


def swept(policy: PolicyChoice) -> list[PolicyChoice]:
    """The policy at each setting of its sweep; as it is where options are given, or where it has no sweep."""
    settings = () if policy.options else SWEEPS.get(policy.name, ())
    return [PolicyChoice(policy.name, tuple(options.items())) for options in settings] or [policy]


def with_floor(scenario: Scenario, min_quality: float) -> Scenario:
    """The scenario with runs whose SLO asks for at least this quality in every call.

    Raises:
        ConfigError: no endpoint is as good.
    """
    best = max(group.quality for group in scenario.endpoints)
    if not 0.0 <= min_quality <= best:
        raise ConfigError(
            "no endpoint is as good", field="--min-quality", given=min_quality, allowed=f"from 0 to {best:g}"
        )
    demands = scenario.demands or [Demand(min_quality=0.0, share=1.0)]
    raised = [Demand(min_quality=max(min_quality, demand.min_quality), share=demand.share) for demand in demands]
    return scenario.model_copy(update={"demands": raised, "name": f"{scenario.name}, quality >= {min_quality:g}"})


def frontier(results: Sequence[CaseResult]) -> list[Point]:
    """Which of some settings are worth having; those without a quality are left out."""
    known = [result for result in results if result.quality is not None]
    beaten = {id(one) for one, other in product(known, known) if _beats(other, one)}
    return [Point(result, id(result) not in beaten) for result in known]


def _beats(one: CaseResult, other: CaseResult) -> bool:
    own, rival = _goods(one), _goods(other)
    return all(a >= b for a, b in zip(own, rival, strict=True)) and own != rival


def _goods(result: CaseResult) -> tuple[float, float, float]:
    """What more is better of."""
    assert result.quality is not None
    return result.quality.mean, -result.cost_usd.mean, -result.latency_p95_s.mean
