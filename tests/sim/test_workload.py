from dataclasses import replace
from itertools import pairwise
from math import exp

import numpy as np
import pytest

from agentsched.errors import ConfigError
from agentsched.sim.averages import averages_of
from agentsched.sim.plan import RunPlan
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.workflows import WorkflowDrawer
from agentsched.sim.workload import draw_runs

S1 = load_scenario("s1")


def runs_of(name: str = "s1", seed: int = 1, *, load: float | None = None, duration_s: float = 300.0, clients: int = 1):
    scenario = load_scenario(name)
    ideals = averages_of(scenario).ideal_s
    return draw_runs(scenario, seed, load=load, duration_s=duration_s, clients=clients, mean_ideals_s=ideals)


def shape(run: RunPlan) -> RunPlan:
    return replace(run, arrival_s=0.0, client=0)


def test_one_seed_one_workload():
    assert runs_of(seed=4) == runs_of(seed=4)
    assert runs_of(seed=4) != runs_of(seed=5)


def test_load_and_clients_change_arrivals_and_homes_only():
    usual, busy, spread = runs_of(load=3), runs_of(load=6), runs_of(load=3, clients=8)
    assert [shape(run) for run in usual] == [shape(run) for run in busy[: len(usual)]]
    assert [replace(run, client=0) for run in spread] == usual
    assert {run.client for run in spread} == set(range(8))


def drafts(workflow: str, count: int = 3000):
    drawer = WorkflowDrawer(S1, 7)
    kind = next(one for one in S1.workflows if one.name == workflow)
    return [drawer.draw_one_of(kind).calls for _ in range(count)]


def test_the_mix_is_that_of_the_study():
    runs = runs_of(load=30)
    shares = {name: sum(run.workflow == name for run in runs) / len(runs) for name in ("rag", "react", "code")}
    assert shares == pytest.approx({"rag": 0.35, "react": 0.25, "code": 0.15}, abs=0.01)


def test_outputs_have_the_median_and_sigma_of_their_stage():
    logs = np.log([calls[1].output_tokens for calls in drafts("rag")])
    assert np.median(logs) == pytest.approx(np.log(250), abs=0.05)
    assert logs.std() == pytest.approx(0.75, rel=0.05)


def test_the_outputs_of_a_run_have_a_factor_in_common():
    logs = np.log([[calls[0].output_tokens, calls[1].output_tokens] for calls in drafts("rag")])
    covariance = float(np.cov(logs.T)[0, 1])
    assert covariance == pytest.approx(0.35**2, rel=0.25)


def test_outputs_of_one_length_stay_so_whatever_the_factor_of_their_run():
    scenario = load_scenario(
        {
            "base": "s1",
            "network": "0s",
            "workflows": [{"name": "w", "share": 1, "stages": [
                {"step": "same", "prompt": 100, "output": {"median": 50, "sigma": 0}},
                {"step": "tight", "prompt": 100, "output": {"median": 50, "sigma": 0.1}},
            ]}],
        }
    )  # fmt: skip
    drawer = WorkflowDrawer(scenario, 1)
    outputs = np.array([[call.output_tokens for call in drawer.draw().calls] for _ in range(2000)])
    assert set(outputs[:, 0]) == {50}
    assert np.log(outputs[:, 1]).std() == pytest.approx(0.1, rel=0.1)


def test_prompts_scatter_around_their_stage():
    logs = np.log([calls[0].input_tokens for calls in drafts("single")])
    assert logs.mean() == pytest.approx(np.log(300) - 0.03, abs=0.02)
    assert logs.std() == pytest.approx(0.25, rel=0.05)


def test_a_loop_is_geometric_and_its_prompts_grow_on_the_previous_ones():
    runs = drafts("react")
    counts = np.array([len(calls) for calls in runs])
    assert (counts.min(), counts.max()) == (1, 25)
    assert counts.mean() == pytest.approx(6 - 5 * (5 / 6) ** 24, rel=0.05)
    for calls in runs[:200]:
        assert [call.parents for call in calls] == [(k - 1,) if k else () for k in range(len(calls))]
        for before, after in pairwise(calls):
            assert after.lineage == before.lineage
            assert after.input_tokens >= min(24_000, before.input_tokens + before.output_tokens + 50)


def test_a_code_agent_makes_two_to_sixteen_calls():
    counts = np.array([len(calls) for calls in drafts("code")])
    assert (counts.min(), counts.max()) == (2, 16)


def test_a_fan_out_is_joined():
    runs = drafts("research", 500)
    assert {len(calls) - 2 for calls in runs} == {3, 4, 5, 6, 7, 8}
    for calls in runs:
        branches = tuple(range(1, len(calls) - 1))
        assert all(calls[k].parents == (0,) for k in branches)
        assert calls[-1].parents == branches
        assert len({call.lineage for call in calls}) == len(calls)


def test_demands_have_the_shares_of_the_tiers():
    calls = [call for run in runs_of("s3", load=20) for call in run.calls]
    shares = {q: sum(call.min_quality == q for call in calls) / len(calls) for q in (0.30, 0.36, 0.40, 0.44)}
    assert shares == pytest.approx({0.30: 0.45, 0.36: 0.30, 0.40: 0.18, 0.44: 0.07}, abs=0.01)


def test_more_runs_than_there_is_room_for_are_refused():
    with pytest.raises(
        ConfigError, match=r"duration: 1e\+06 runs per second for 3600 s are too many; allowed: up to 2,0"
    ):
        runs_of(load=1e6, duration_s=3600.0)


def test_deadlines_are_multiples_of_the_ideal_of_the_run_or_of_its_workflow():
    runs = runs_of(load=10)
    multiples = [round((run.deadline_s - 0.5) / run.ideal_s, 6) for run in runs]
    assert set(multiples) == {2.0, 3.0, 6.0}
    assert multiples.count(3.0) / len(runs) == pytest.approx(0.4, abs=0.03)
    by_class = {run.deadline_s for run in runs_of("class-slo") if run.workflow == "react"}
    mean_s = averages_of(load_scenario("class-slo")).ideal_s["react"]
    assert by_class == {factor * mean_s + 0.5 for factor in (2, 3, 6)}


def test_averages_are_those_of_the_scenario():
    averages = averages_of(S1)
    runs = runs_of(load=30, seed=9)
    for name in ("rag", "single", "code"):
        own = [run.ideal_s for run in runs if run.workflow == name]
        assert averages.ideal_s[name] == pytest.approx(np.mean(own), rel=0.12)
    after_check, after_answer = averages.rests["rag", "check"], averages.rests["rag", "answer"]
    assert after_check.calls.tolist() == [0.0] * 32
    assert after_answer.calls.tolist() == [1.0] * 32
    assert after_answer.output_tokens.mean() == pytest.approx(60 * exp(0.18), rel=0.15)
    assert after_answer.prompt_tokens.mean() == pytest.approx(500, rel=0.15)
    assert after_answer.tool_s.mean() == pytest.approx(0.1, rel=0.2)
