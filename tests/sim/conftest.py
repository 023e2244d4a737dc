"""Small scenarios, and everything that a simulation did."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from agentsched.core.protocols import Policy
from agentsched.policy.least_outstanding import SpeedWeightedLeastOutstanding
from agentsched.scheduler.actions import Action
from agentsched.scheduler.events import Event
from agentsched.sim.averages import averages_of
from agentsched.sim.outcome import RunResult
from agentsched.sim.plan import CallPlan, RunPlan
from agentsched.sim.scenario import Scenario
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.simulation import Setup, Simulation

FAST = {
    "step_base_s": 0.01,
    "step_per_sequence_s": 0.0001,
    "step_per_kv_token_s": 1e-7,
    "prefill_tokens_per_s": 10000,
    "max_slots": 64,
    "kv_tokens": 100000,
}
SMALL: Mapping[str, Any] = {
    "version": 1,
    "name": "small",
    "load": 2.0,
    "duration": 20.0,
    "endpoints": [
        {"name": "fast", "profile": FAST},
        {"name": "slow", "count": 2, "profile": {**FAST, "step_base_s": 0.02}},
    ],
    "workflows": [
        {
            "name": "chain",
            "share": 1.0,
            "stages": [
                {"step": "plan", "prompt": 400, "output": {"median": 40, "sigma": 0.5}},
                {
                    "step": "search",
                    "prompt": 500,
                    "output": {"median": 80, "sigma": 0.5},
                    "tool": {"median": 0.3, "sigma": 0.5},
                    "width": {"least": 2, "most": 4},
                },
                {
                    "step": "act",
                    "prompt": 600,
                    "prompt_growth": 100,
                    "output": {"median": 60, "sigma": 0.6},
                    "tool": {"median": 0.2, "sigma": 0.4},
                    "loop": {"mean": 2, "most": 5},
                    "shared_prefix": True,
                },
            ],
        },
        {
            "name": "single",
            "share": 1.0,
            "stages": [{"step": "x", "prompt": 300, "output": {"median": 90, "sigma": 0.5}}],
        },
    ],
    "deadlines": {"multiples": [{"times": 2, "share": 1}, {"times": 4, "share": 1}], "plus": 0.2},
}


@pytest.fixture
def small() -> Callable[..., Scenario]:
    """A scenario of three endpoints; keyword arguments replace keys of its top level."""

    def make(**keys: Any) -> Scenario:
        return load_scenario({**SMALL, **keys})

    return make


@dataclass
class Story:
    """What happened, in order."""

    happened: list[tuple[Event, float, list[Action]]] = field(default_factory=list)

    def watch(self, event: Event, now: float, actions: list[Action]) -> None:
        self.happened.append((event, now, actions))

    def of(self, kind: type) -> Iterator[tuple[Any, float]]:
        """Events of one kind with their instants."""
        return ((event, now) for event, now, _ in self.happened if isinstance(event, kind))


@dataclass
class Played:
    """A simulation that has run."""

    simulation: Simulation
    story: Story

    @property
    def results(self) -> list[RunResult]:
        return self.simulation.results


def play(
    scenario: Scenario,
    runs: list[RunPlan],
    policy: Callable[[], Policy] = SpeedWeightedLeastOutstanding,
    **setup: Any,
) -> Played:
    """Run given plans."""
    story = Story()
    simulation = Simulation(scenario, policy, Setup(**setup), averages_of(scenario), story.watch)
    simulation.run(runs)
    return Played(simulation, story)


OWN = -1


def a_call(
    output_tokens: int = 20, *, input_tokens: int = 100, parents: tuple[int, ...] = (), **fields: Any
) -> CallPlan:
    """One call of a plan."""
    values: dict[str, Any] = {
        "step": "x",
        "tool_s": 0.0,
        "lineage": OWN,
        "min_quality": 0.0,
        "noise": 0.0,
        "ideal_s": 1.0,
        "rest_s": 0.0,
        **fields,
    }
    return CallPlan(input_tokens=input_tokens, output_tokens=output_tokens, parents=parents, **values)


def a_run(*calls: CallPlan, index: int = 0, arrival_s: float = 0.0, deadline_s: float | None = None) -> RunPlan:
    """One run; its calls have prompts of their own unless they name a lineage."""
    calls = tuple(replace(call, lineage=k) if call.lineage == OWN else call for k, call in enumerate(calls))
    return RunPlan(
        index=index,
        workflow="single",
        client=0,
        arrival_s=arrival_s,
        deadline_s=deadline_s,
        ideal_s=1.0,
        calls=calls,
    )
