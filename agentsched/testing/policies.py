"""The conformance check of policies: what `agentsched.core.protocols.Policy` promises, put to the test."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from agentsched.core.decision import Choice, Situation
from agentsched.core.protocols import Policy
from agentsched.scheduler.actions import Action
from agentsched.scheduler.events import Event
from agentsched.scheduler.recording import encode
from agentsched.scheduler.scheduler import Scheduler
from agentsched.sim.averages import averages_of
from agentsched.sim.knowledge import Book, Knowledge, predictors
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.simulation import Setup, Simulation
from agentsched.sim.workload import draw_runs
from agentsched.testing.situations import random_situations

__all__ = ["check_policy"]

_ENGINE = {
    "step_base_s": 0.01,
    "step_per_sequence_s": 0.001,
    "step_per_kv_token_s": 1e-7,
    "prefill_tokens_per_s": 8000,
    "max_slots": 4,
    "kv_tokens": 20000,
}
_SCENARIO: dict[str, Any] = {
    "version": 1,
    "name": "conformance",
    "load": 4.0,
    "duration": 8.0,
    "endpoints": [
        {"name": "gpu", "count": 3, "profile": _ENGINE},
        {
            "name": "api",
            "profile": {
                "ttft_median_s": 0.2,
                "ttft_sigma": 0.4,
                "tpot_median_s": 0.005,
                "tpot_sigma": 0.2,
                "requests_per_minute": 60,
            },
        },
    ],
    "faults": {"failure": {"duration": 1.0, "every": 8.0}},
    "workflows": [
        {
            "name": "w",
            "share": 1.0,
            "stages": [
                {"step": "plan", "prompt": 300, "output": {"median": 30, "sigma": 0.5}},
                {
                    "step": "search",
                    "prompt": 400,
                    "output": {"median": 60, "sigma": 0.5},
                    "width": {"least": 1, "most": 4},
                },
            ],
        }
    ],
    "prompts": {"most": 4000},
    "outputs": {"most": 1000},
    "deadlines": {"multiples": [{"times": 2, "share": 1}, {"times": 6, "share": 1}], "on_late": "raise"},
}
"""A pool that is full at times, breaks down, and has a rate limit; runs that are cut at their deadlines."""


_SPEEDS = (
    "tpot_s",
    "tpot_in_flight",
    "seen_age_s",
    "excess_ttft_s",
    "tpot_alone_s",
    "tpot_per_batch_s",
    "prefill_tokens_per_s",
    "ttft_idle_s",
)


def check_policy(make: Callable[[], Policy], *, seed: int = 0, situations: int = 140) -> None:
    """Put a policy to every promise of its socket; takes about a second.

    It must name itself; answer every situation, from 1 to 512 candidates and however extreme, with a candidate that has
    the best score, no score being NaN; never take one that will never be ready while another will; change neither the
    situation nor, by choosing, itself; choose alike whatever the speeds, if it says that it does not read them; and do
    a recorded run again exactly.

    Args:
        make: makes a new policy, always with the same options.
        seed: of the situations.
        situations: how many.

    Raises:
        AssertionError: it breaks a promise; the message says which, and where.
    """
    policy = make()
    _require(isinstance(getattr(policy, "name", None), str) and bool(policy.name), f"{policy!r} has no name")
    met = list(random_situations(np.random.default_rng(seed), situations))
    choices = [_chosen(policy, situation) for situation in met]
    for situation, choice in zip(reversed(met), reversed(choices), strict=True):
        where = f"{policy.name}: {len(situation.names)} candidates, {situation.call}"
        _require(_same(policy.choose(situation), choice), f"choosing has changed the policy; {where}")
        _require(_same(make().choose(situation), choice), f"a new policy chooses otherwise; {where}")
        if not getattr(policy, "reads_speeds", True):
            index = policy.choose(_at_other_speeds(situation)).index
            _require(index == choice.index, f"it chooses otherwise at other speeds, which it says not to read; {where}")
    _check_replay(make)


def _chosen(policy: Policy, situation: Situation) -> Choice:
    """The policy's choice, which is a possible one."""
    where = f"{policy.name}: {len(situation.names)} candidates, {situation.call}"
    try:
        choice = policy.choose(situation)
    except ValueError as error:
        if "read-only" in str(error):
            raise AssertionError(f"it writes to the situation; {where}") from error
        raise
    count, ready = len(situation.names), situation.states.ready_in_s
    _require(isinstance(choice.index, int), f"index is no int but {type(choice.index).__name__}; {where}")
    _require(0 <= choice.index < count, f"index {choice.index} is no candidate; {where}")
    _require(choice.scores.shape == (count,), f"scores have the shape {choice.scores.shape}; {where}")
    _require(not np.isnan(choice.scores).any(), f"a score is NaN; {where}")
    _require(bool(choice.scores[choice.index] == choice.scores.max()), f"the choice has not the best score; {where}")
    if np.isfinite(ready).any():
        _require(bool(np.isfinite(ready[choice.index])), f"the choice will never be ready, but others will; {where}")
    return choice


def _at_other_speeds(situation: Situation) -> Situation:
    """The same, but for what is believed of speeds, and what follows from that."""
    seen = situation.states
    states = replace(seen, **{name: getattr(seen, name)[::-1] * 3.0 for name in _SPEEDS})
    ttft_s, tpot_s = situation.ttft_s[::-1] * 3.0, situation.tpot_s[::-1] * 3.0
    return replace(situation, states=states, ttft_s=ttft_s, tpot_s=tpot_s, rest_s=None, correction=3.0)


def _same(one: Choice, other: Choice) -> bool:
    return one.index == other.index and bool(np.array_equal(one.scores, other.scores))


def _check_replay(make: Callable[[], Policy]) -> None:
    """Simulate, and have a fresh scheduler with a fresh policy do the same again from the events alone."""
    scenario = load_scenario(_SCENARIO)
    averages, story = averages_of(scenario), list[tuple[Event, float, object]]()

    def watch(event: Event, now: float, actions: Sequence[Action]) -> None:
        story.append((event, now, encode(actions)))

    setup = Setup(knowledge=Knowledge.LEARNED)
    simulation = Simulation(scenario, make, setup, averages, watch)
    runs = draw_runs(
        scenario,
        setup.seed,
        load=scenario.load,
        duration_s=scenario.duration,
        clients=setup.clients,
        mean_ideals_s=averages.ideal_s,
    )
    simulation.run(runs)
    played = simulation.clients[0].scheduler
    fresh = Scheduler(played.pool, make(), *predictors(setup.knowledge, Book(), scenario, averages), played.rules)
    for event, now, recorded in story:
        acted = encode(fresh.handle(event, now=now))
        _require(acted == recorded, f"a recording does not replay: {acted} instead of {recorded}")


def _require(good: bool, otherwise: str) -> None:
    if not good:
        raise AssertionError(otherwise)
