"""What real forecasts reach of what perfect ones would: the same policy on the same runs, told more or less."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentsched.sim.comparison import Comparison
from agentsched.sim.grid import PolicyChoice, Task
from agentsched.sim.intervals import Estimate, estimate
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.scenario import Scenario
from agentsched.sim.simulation import Setup

__all__ = ["ARMS", "LEARNED", "ONE_LENGTH", "POINT", "TRUE", "Foresight", "foresight_tasks", "foresights"]

LEARNED, TRUE, ONE_LENGTH, POINT = "learned", "true lengths", "one length, with its spread", "one length, as certain"

ARMS: Mapping[str, Knowledge] = {
    LEARNED: Knowledge.LEARNED,
    TRUE: Knowledge.ORACLE,
    ONE_LENGTH: Knowledge.CONSTANT,
    POINT: Knowledge.POINT,
}
"""What is known of lengths; what follows a call is learned in every arm, so that lengths alone differ."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """One scenario. Estimates are means over seeds, paired where two arms are compared.

    Attributes:
        scenario: its name.
        goodput: arm -> runs per second that met their deadline.
        share: goodput of the learned forecasts over that of true lengths.
        over_one_length, over_point: attainment of the learned forecasts less that with one length for all.
    """

    scenario: str
    goodput: Mapping[str, Estimate]
    share: Estimate
    over_one_length: Estimate
    over_point: Estimate


def foresight_tasks(
    scenarios: Sequence[Scenario],
    policy: PolicyChoice,
    seeds: Sequence[int],
    *,
    load: float | None = None,
    duration_s: float | None = None,
) -> list[Task]:
    """Every arm in every scenario with every seed; an arm's name stands in its policy's place."""
    return [
        Task(
            scenario,
            PolicyChoice(policy.name, policy.options, shown=arm),
            Setup(seed=seed, load=load, duration_s=duration_s, knowledge=lengths, rests=Knowledge.LEARNED),
        )
        for scenario in scenarios
        for seed in seeds
        for arm, lengths in ARMS.items()
    ]


def foresights(comparison: Comparison) -> list[Foresight]:
    """What the simulations of `foresight_tasks` came to, one for each scenario.

    Raises:
        ValueError: a seed met no deadline even with true lengths: there is nothing to take a share of.
    """
    cases = {(one.case.scenario, one.case.policy): one for one in comparison.results}
    made = []
    for name in dict.fromkeys(scenario for scenario, _ in cases):
        met = {arm: cases[name, arm].by_seed for arm in ARMS}
        if min(met[TRUE]) <= 0.0:
            raise ValueError(f"scenario {name}: no run met its deadline with true lengths")
        pairs = zip(met[LEARNED], met[TRUE], strict=True)
        made.append(
            Foresight(
                scenario=name,
                goodput={arm: cases[name, arm].goodput for arm in ARMS},
                # Both met the same runs, so that the ratio of shares is that of goodputs.
                share=estimate([learned / true for learned, true in pairs]),
                over_one_length=_gain(met[LEARNED], met[ONE_LENGTH]),
                over_point=_gain(met[LEARNED], met[POINT]),
            )
        )
    return made


def _gain(of: Sequence[float], on: Sequence[float]) -> Estimate:
    return estimate([one - other for one, other in zip(of, on, strict=True)])
