"""Priority spill: who goes where when the good pool is full."""

from collections.abc import Callable
from dataclasses import replace

from agentsched.sim.papers.experiment import Key, Measured
from agentsched.sim.papers.spill import SPILL
from agentsched.sim.papers.spill_router import SpillRouter
from agentsched.testing import check_policy, situation


def test_the_reserve_is_for_those_with_priority() -> None:
    first, second = {"quality": 1.0, "slots": 8.0, "in_flight": 7.0}, {"quality": 0.0, "slots": 8.0, "in_flight": 0.0}
    plain = situation(first, second)
    urgent = replace(plain, call=replace(plain.call, priority=1))
    assert SpillRouter(reserve=0.25).choose(plain).index == 1
    assert SpillRouter(reserve=0.25).choose(urgent).index == 0
    assert SpillRouter(reserve=0.0).choose(plain).index == 0


def test_the_router_keeps_the_promises_of_policies() -> None:
    check_policy(SpillRouter, situations=40)


def test_priority_keeps_urgent_runs_in_time_in_the_surge(made: Callable[..., dict[Key, Measured]]) -> None:
    found = made(SPILL, lambda arm: arm.key[0] == "deadline_aware" and arm.key[1].startswith("shared"), 0.3)
    with_it = found["deadline_aware", "shared", "urgent, surge"]
    without = found["deadline_aware", "shared, no priorities", "urgent, surge"]
    assert with_it.runs == without.runs > 20
    assert with_it.attainment.mean > without.attainment.mean
    assert with_it.quality is not None
    assert without.quality is not None
    assert with_it.quality.mean > without.quality.mean, "urgent calls stay on the better pool"
