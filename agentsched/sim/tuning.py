"""One search for every policy: forty settings, the default among them, on the same tuning seeds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import yaml

from agentsched.errors import ConfigError
from agentsched.policy.space import Option, Space
from agentsched.policy.table import POLICIES, policy_factory
from agentsched.sim.grid import PolicyChoice, Task
from agentsched.sim.outcome import Outcome
from agentsched.sim.scenario import Scenario
from agentsched.sim.simulation import Setup

__all__ = [
    "CONFIGURATIONS",
    "ROUNDS",
    "SHIPPED",
    "TUNING_SEEDS",
    "Tuned",
    "read_tuned",
    "search_space",
    "tune",
    "write_tuned",
]

TUNING_SEEDS = (101, 102, 103, 104, 105)
"""Seeds of the search; no published figure is taken from them."""

CONFIGURATIONS = 40
"""Settings that are tried of each policy."""

ROUNDS = ((1, CONFIGURATIONS), (3, 13), (5, 5))
"""Successive halving: how many seeds the best so many settings have seen at the end of each round."""

SHIPPED = Path(__file__).with_name("tuned.yaml")
"""What a search found that is shipped with agentsched."""

Run = Callable[[Sequence[Task]], Iterable[tuple[Task, Outcome]]]
"""Makes simulations, in any order."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search found for one policy.

    Attributes:
        policy: the policy with the options that were fixed.
        options: the best of those that were searched.
        attainment: mean share of runs that met their deadline, over scenarios and all tuning seeds.
        default: the same for the policy's own defaults.
        tried: settings tried.
    """

    policy: PolicyChoice
    options: Mapping[str, Option]
    attainment: float
    default: float
    tried: int

    @property
    def choice(self) -> PolicyChoice:
        """The policy as tuned."""
        return _with(self.policy, self.options)


def search_space(policy: PolicyChoice) -> Space:
    """What may be tuned of a policy, without what is fixed.

    Raises:
        ConfigError: nothing may.
    """
    declared: Space = getattr(policy_factory(policy.name), "space", {})
    fixed = dict(policy.options)
    space = {option: span for option, span in declared.items() if option not in fixed}
    if not space:
        allowed = ", ".join(sorted(name for name, made in POLICIES.items() if getattr(made, "space", {})))
        raise ConfigError("has nothing to tune", field="policy", given=policy.label, allowed=allowed)
    return space


def _settings(policy: PolicyChoice, count: int) -> list[dict[str, Option]]:
    """The policy's defaults, then a Latin hypercube over its space: each option's range is covered evenly."""
    space = search_space(policy)
    rng = np.random.default_rng(crc32(policy.label.encode()))
    rows = count - 1
    columns = {option: (rng.permutation(rows) + rng.random(rows)) / rows for option in space}
    return [{}, *({option: span.at(float(columns[option][k])) for option, span in space.items()} for k in range(rows))]


@dataclass(slots=True)
class _Trial:
    """One setting and what it reached on each scenario and seed."""

    options: dict[str, Option]
    met: dict[tuple[str, int], float] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        return sum(self.met.values()) / len(self.met)


def tune(policy: PolicyChoice, scenarios: Sequence[Scenario], setup: Setup, run: Run) -> Tuned:
    """Search the settings with which a policy meets most deadlines.

    Every policy gets the same number of settings, the same seeds and the same rounds. Its defaults go through all
    rounds, so that the result is never worse than they are on the tuning seeds.

    Args:
        policy: which, with the options that are not searched.
        scenarios: each counts as much as any other.
        setup: load, clients, knowledge, duration; its seed is not used.
        run: makes the simulations.

    Raises:
        ConfigError: nothing may be tuned, a scenario has no deadlines, or no run arrived after the warm-up.
    """
    for scenario in scenarios:
        if scenario.deadlines is None:
            raise ConfigError("has no deadlines that could be met", field="scenario", given=scenario.name)
    default, *others = (_Trial(options) for options in _settings(policy, CONFIGURATIONS))
    for seeds, count in ROUNDS:
        others = sorted(others, key=lambda trial: -trial.mean if trial.met else 0.0)[: count - 1]
        _extend(
            [default, *others], policy, scenarios, [replace(setup, seed=seed) for seed in TUNING_SEEDS[:seeds]], run
        )
    best = max([default, *others], key=lambda trial: trial.mean)
    return Tuned(policy, best.options, best.mean, default.mean, CONFIGURATIONS)


def _extend(
    trials: Sequence[_Trial], policy: PolicyChoice, scenarios: Sequence[Scenario], setups: Sequence[Setup], run: Run
) -> None:
    """Make those simulations of the trials that have not been made."""
    wanted: dict[PolicyChoice, _Trial] = {_with(policy, trial.options): trial for trial in trials}
    tasks = [
        Task(scenario, choice, setup)
        for choice, trial in wanted.items()
        for scenario in scenarios
        for setup in setups
        if (scenario.name, setup.seed) not in trial.met
    ]
    for task, outcome in run(tasks):
        counted = outcome.counted
        if not counted:
            message = f"no run arrived after the warm-up with seed {task.setup.seed}"
            raise ConfigError(message, field=task.scenario.name, allowed="a longer duration, or more load")
        wanted[task.policy].met[task.scenario.name, task.setup.seed] = sum(one.met for one in counted) / len(counted)


def _with(policy: PolicyChoice, options: Mapping[str, Option]) -> PolicyChoice:
    return PolicyChoice(policy.name, (*policy.options, *options.items()))


# -- the file --------------------------------------------------------------------------------------------------------


def write_tuned(path: Path, found: Sequence[Tuned], told: str = "") -> None:
    """Write what was found into a YAML file; other policies that it holds already stay.

    Args:
        path: the file, which may exist.
        found: what was found.
        told: what the command was told beside the policy, so that the search can be made again.

    Raises:
        ConfigError: the file exists and is none of these, or cannot be written.
    """
    policies = _policies(path) if path.exists() else {}
    for one in found:
        policies[one.policy.label] = {
            "options": dict(one.options),
            "attainment": round(one.attainment, 4),
            "default": round(one.default, 4),
            "tried": one.tried,
            "command": f"agentsched sim tune {one.policy.label} {told}".rstrip(),
        }
    text = yaml.safe_dump({"version": 1, "policies": dict(sorted(policies.items()))}, sort_keys=False, width=118)
    try:
        path.write_text(f"# Made by `agentsched sim tune`, read by `agentsched sim run --tuned`.\n{text}", "utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}", field="--out", given=str(path)) from error


def read_tuned(path: Path, policy: PolicyChoice) -> PolicyChoice:
    """The policy with the options that the file holds for it; as it is where the file holds none.

    Raises:
        ConfigError: the file cannot be read, or holds an option that the policy lacks.
    """
    held = _policies(path).get(policy.label)
    if held is None:
        return policy
    return replace(_with(policy, held["options"]), shown=f"{policy.label} (tuned)")


def _policies(path: Path) -> dict[str, Any]:
    allowed = "a file made by agentsched sim tune"
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot be read: {error}", field="tuned", given=str(path), allowed=allowed) from error
    policies = document.get("policies") if isinstance(document, dict) and document.get("version") == 1 else None
    if not isinstance(policies, dict) or not all(
        isinstance(held, dict) and isinstance(held.get("options"), dict) for held in policies.values()
    ):
        raise ConfigError("holds no tuned policies", field="tuned", given=str(path), allowed=allowed)
    return policies
