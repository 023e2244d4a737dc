"""The rules by which load and deadline are chosen, and what the page says of them."""

import pytest

from agentsched.demo.cases import draw_workload
from agentsched.demo.plan import DEADLINE, LOAD, make_plan
from agentsched.demo.pool import FASTEST, PROFILES, capacity_calls_per_s, demo_pool, idle_s
from agentsched.engine.instance import Instance
from agentsched.engine.request import Request


def test_given_values_win() -> None:
    plan = make_plan(seed=5, workflows=7, rate_per_s=0.5, deadline_s=3.0)
    assert (plan.seed, plan.workflows, plan.rate_per_s, plan.deadline_s) == (5, 7, 0.5, 3.0)
    assert plan.patience_s > plan.deadline_s


def test_the_load_stresses_round_robin_and_a_single_endpoint_but_not_the_pool() -> None:
    plan = make_plan()
    cases = draw_workload(0, 200, 1.0).cases
    calls_per_s = plan.rate_per_s * plan.calls_per_workflow
    alone = {name: capacity_calls_per_s(cases, (profile,)) for name, profile in PROFILES.items()}
    assert plan.load == pytest.approx(LOAD)
    assert calls_per_s / len(PROFILES) > min(alone.values())
    assert calls_per_s > alone[FASTEST]
    assert calls_per_s < 0.75 * sum(alone.values())


def test_the_deadline_is_one_multiple_of_an_idle_time_for_all() -> None:
    plan = make_plan()
    assert plan.deadline_s == pytest.approx(DEADLINE * plan.idle_s, abs=0.06)


def test_quick_is_the_same_load_on_fewer_workflows() -> None:
    quick, full = make_plan(quick=True), make_plan()
    assert quick.rate_per_s == full.rate_per_s
    assert quick.deadline_s == full.deadline_s
    assert quick.workflows < full.workflows / 2


def test_a_whole_comparison_takes_under_three_minutes() -> None:
    starting_s, page_s = 8.0, 5.0
    assert 3 * (make_plan().longest_s + starting_s) + page_s < 180


def test_the_fastest_endpoint_is_the_fastest() -> None:
    case = draw_workload(0, 1, 1.0).cases[0]
    times = {name: idle_s(case, profile) for name, profile in PROFILES.items()}
    assert min(times, key=lambda name: times[name]) == FASTEST
    assert {endpoint.name for endpoint in demo_pool().endpoints} == set(PROFILES)


def test_the_idle_time_is_that_of_the_engine() -> None:
    case = max(draw_workload(0, 20, 1.0).cases, key=lambda case: case.calls)
    engine = Instance(PROFILES[FASTEST])
    now = 0.0
    for depth, level in enumerate(case.levels):
        waiting = {f"{depth}-{index}" for index in range(len(level))}
        for name, (prompt, answer) in zip(sorted(waiting), level, strict=True):
            engine.submit(Request(name, prompt, answer), now)
        while waiting:
            at = engine.next_step_at()
            assert at is not None
            now = at
            for emission in engine.advance(now):
                waiting -= set(emission.finished)
    assert idle_s(case, PROFILES[FASTEST]) == pytest.approx(now, rel=0.08)  # branches do not start at once
