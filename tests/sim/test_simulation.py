"""Whole simulations: nothing is lost, everything repeats, policies meet the same work."""

from dataclasses import replace

import numpy as np
import pytest

from agentsched.core.call import FailureKind, ModelCall
from agentsched.core.remainder import RunHistory
from agentsched.core.rules import Rules
from agentsched.errors import ConfigError
from agentsched.policy.least_outstanding import SpeedWeightedLeastOutstanding
from agentsched.policy.round_robin import RoundRobin
from agentsched.policy.shortest_completion import ShortestExpectedCompletion
from agentsched.policy.table import POLICIES, make_policy
from agentsched.scheduler.events import AttemptFailed, CallArrived
from agentsched.sim.averages import averages_of
from agentsched.sim.knowledge import Book, Knowledge, predictors
from agentsched.sim.migrating import Migration
from agentsched.sim.pool import client_pool
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.simulation import FIRST_CHOICE_ONLY, Setup, Simulation, simulate
from agentsched.sim.workload import draw_runs
from tests.sim.conftest import a_call, a_run, play

UNREAD = sorted(name for name, policy in POLICIES.items() if not getattr(policy, "reads_speeds", True))
STAGE = {"step": "s", "prompt": 500, "output": {"median": 300, "sigma": 0.5}}
API = {"ttft_median_s": 0.2, "ttft_sigma": 0.4, "tpot_median_s": 0.005, "tpot_sigma": 0.2}
BOTH = [SpeedWeightedLeastOutstanding, ShortestExpectedCompletion]
HARD = {
    "faults": {"slowdown": {"factor": 3, "duration": 2, "every": 8}, "failure": {"duration": 1, "every": 10}},
    "arrivals": {"kind": "gamma", "cv": 3},
}


@pytest.mark.parametrize("policy", BOTH)
@pytest.mark.parametrize("on_late", ["ignore", "raise"])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_run_ends_once_and_nothing_is_left(small, policy, on_late, seed):
    # `simulate` itself checks the ends, the engines and the schedulers' books; here they are under stress.
    deadlines = {"multiples": [{"times": 1.5, "share": 1}], "on_late": on_late}
    scenario = small(**HARD, load=12, duration=8, deadlines=deadlines, stream=seed != 2)
    outcome = simulate(scenario, policy, Setup(seed=seed, clients=seed))
    assert [run.index for run in outcome.runs] == list(range(len(outcome.runs)))
    ends = {run.outcome for run in outcome.runs}
    assert ends <= ({"ok", "late", "error"} if on_late == "ignore" else {"ok", "deadline", "error"})
    assert len(ends) > 1
    for run in outcome.runs:
        assert run.ended_s >= run.arrival_s
        if on_late == "raise":
            assert run.latency_s <= run.deadline_s + 1e-9


def test_an_instance_with_little_memory_preempts_and_loses_nothing(small):
    tiny = {**small().endpoints[0].profile, "kv_tokens": 3000}
    scenario = small(
        endpoints=[{"name": "tiny", "profile": tiny}], load=4, prompts={"most": 1500}, outputs={"most": 1000}
    )
    outcome = simulate(scenario, SpeedWeightedLeastOutstanding, Setup())
    assert outcome.loads["tiny"].preemptions > 0
    assert {run.outcome for run in outcome.runs} <= {"ok", "late"}


def test_the_same_seed_gives_the_same_to_the_last_bit(small):
    setup = Setup(seed=5, clients=3, knowledge=Knowledge.LEARNED)
    first, second = (simulate(small(**HARD), ShortestExpectedCompletion, setup) for _ in range(2))
    assert first.digest() == second.digest()
    assert first.digest() != simulate(small(**HARD), ShortestExpectedCompletion, Setup(seed=6)).digest()


def test_policies_meet_the_same_runs_and_lengths(small):
    scenario = small(**HARD, call_retries=0, load=6)
    runs = draw_runs(scenario, 3, load=None, duration_s=20, clients=1, mean_ideals_s=averages_of(scenario).ideal_s)
    one, other = (play(scenario, runs, policy, seed=3) for policy in BOTH)
    arrived = [
        {event.call.call_id: event.call.input_tokens for event, _ in played.story.of(CallArrived)}
        for played in (one, other)
    ]
    both = arrived[0].keys() & arrived[1].keys()
    assert len(both) > 100
    assert all(arrived[0][call_id] == arrived[1][call_id] for call_id in both)
    for left, right in zip(one.results, other.results, strict=True):
        assert (left.arrival_s, left.deadline_s) == (right.arrival_s, right.deadline_s)
        if (left.outcome, right.outcome) == ("ok", "ok") and left.attempts == right.attempts == left.calls:
            assert left.output_tokens == right.output_tokens


def test_only_runs_after_the_warm_up_count(small):
    outcome = simulate(small(warm_up=0.5, load=5), SpeedWeightedLeastOutstanding, Setup())
    assert 0 < len(outcome.counted) < len(outcome.runs)
    assert min(run.arrival_s for run in outcome.counted) >= 10.0


def test_clients_know_nothing_of_each_other(small):
    # Four calls at once: one client spreads them, four clients each send theirs to the fastest.
    calls = [a_run(a_call(200), index=k) for k in range(4)]
    together = play(small(), calls).simulation.outcome(0, 1).attempts
    assert sum(bool(whys) for whys in together.values()) > 1
    apart = (
        play(small(), [replace(run, client=run.index) for run in calls], clients=4).simulation.outcome(0, 1).attempts
    )
    assert apart == {"fast": {"first": 4}, "slow-1": {}, "slow-2": {}}


def test_a_hosted_api_refuses_above_its_limit_and_is_left_in_peace(small):
    api = {"ttft_median_s": 0.2, "ttft_sigma": 0.3, "tpot_median_s": 0.01, "tpot_sigma": 0.2, "requests_per_minute": 30}
    scenario = small(endpoints=[{"name": "api", "profile": api, "network": 0.04}])
    runs = [replace(a_run(a_call(20), index=k, arrival_s=0.1 * k), client=k % 2) for k in range(50)]
    played = play(scenario, runs, clients=2)
    refused = [event.failure for event, _ in played.story.of(AttemptFailed)]
    assert refused
    assert {failure.kind for failure in refused} == {FailureKind.RATE_LIMITED}
    assert all(failure.retry_after_s is not None for failure in refused)
    assert all(result.outcome == "ok" for result in played.results)
    # The server lets 30 begin at once, and one every two seconds after that.
    assert 38.0 < max(result.ended_s for result in played.results) < 75.0


def test_stalls_of_a_hosted_api_are_left_when_the_scheduler_may(small):
    stalling = {"ttft_median_s": 0.2, "ttft_sigma": 0.1, "tpot_median_s": 0.002, "tpot_sigma": 0.1}
    endpoints = [
        {"name": "stalls", "profile": {**stalling, "stall_probability": 1.0, "stall_mean_s": 500}},
        {"name": "works", "profile": {**stalling, "tpot_median_s": 0.004}},
    ]
    played = play(small(endpoints=endpoints), [a_run(a_call(50))])
    assert played.results[0].outcome == "ok"
    assert played.results[0].latency_s < 20
    assert played.simulation.outcome(0, 1).attempts["works"]


@pytest.mark.parametrize("knowledge", list(Knowledge))
def test_all_kinds_of_knowledge(small, knowledge):
    outcome = simulate(small(load=4), ShortestExpectedCompletion, Setup(knowledge=knowledge))
    assert len(outcome.runs) > 40
    assert sum(run.met for run in outcome.runs) > 0.5 * len(outcome.runs)


def test_what_the_kinds_of_knowledge_say_of_a_length(small):
    scenario = load_scenario("s1")
    averages = averages_of(scenario)
    book = Book()
    drawn = draw_runs(scenario, 1, load=20, duration_s=300, clients=1, mean_ideals_s=averages.ideal_s)
    for run in drawn:
        book.expect(f"r{run.index}", run)
    calls = [(run, k, call) for run in drawn for k, call in enumerate(run.calls)][:4000]
    study, _ = predictors(Knowledge.STUDY, book, scenario, averages)
    oracle, truth = predictors(Knowledge.ORACLE, book, scenario, averages)
    constant, _ = predictors(Knowledge.CONSTANT, book, scenario, averages)
    below, errors = [], []
    for number, (run, k, plan) in enumerate(calls):
        call = ModelCall(f"c{number}", f"r{run.index}", run.workflow, plan.step, k, "model")
        book.open(call.call_id, plan)
        forecast = study.predict(call, RunHistory())
        below.append(forecast.cdf(plan.output_tokens))
        errors.append(np.log(forecast.quantile(0.5) / plan.output_tokens))
        assert np.ptp(oracle.predict(call, RunHistory()).values) == 0.0
        assert oracle.predict(call, RunHistory()).mean == plan.output_tokens
        rest = truth.predict(call, RunHistory())
        follow = [one for one in run.calls if k in one.parents]
        assert rest.calls.min() == rest.calls.max()
        assert bool(rest.calls[0]) == bool(follow)
        assert rest.tool_s[0] <= plan.rest_s or not follow
        assert constant.predict(call, RunHistory()).mean == pytest.approx(averages.output_tokens)
        assert study.predict(call, RunHistory()).values.tolist() == forecast.values.tolist()
        book.close(call.call_id)
    # A posterior is calibrated: the truth falls evenly into its quantiles.
    assert np.mean(below) == pytest.approx(0.5, abs=0.03)
    assert np.mean(np.array(below) < 0.1) == pytest.approx(0.1, abs=0.03)
    assert 0.4 < np.std(errors) < 0.6  # better than the reading alone, whose error is .6


def test_beliefs_of_speeds_are_within_the_error():
    scenario = load_scenario("s1")
    pools = [client_pool(scenario, seed, mean_context_tokens=1000) for seed in range(20)]
    ratios = np.array([[e.profile.tpot_s for e in pool.endpoints] for pool in pools]) / np.repeat(
        [0.025, 0.028, 0.010, 0.0065], 2
    )
    assert 0.9 <= ratios.min() < 0.93
    assert 1.07 < ratios.max() <= 1.1


@pytest.mark.parametrize("wrong", [{"clients": 0}, {"clients": 33}, {"load": 0.0}, {"seed": -1}, {"duration_s": -1.0}])
def test_a_setup_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Setup(**wrong)


def reading(policy):
    policy.reads_speeds = True
    return policy


def simulated(scenario, make, rules=FIRST_CHOICE_ONLY, migration=None):
    """What came of a simulation, but for what answers that broke off had cost, and how much happened in it."""
    setup, averages = Setup(rules=rules, migration=migration), averages_of(scenario)
    runs = draw_runs(scenario, 1, load=None, duration_s=20.0, clients=1, mean_ideals_s=averages.ideal_s)
    simulation = Simulation(scenario, make, setup, averages)
    simulation.run(runs)
    ended = [replace(run, output_tokens=0, cost_usd=0.0) for run in simulation.outcome(0.0, 20.0).runs]
    return ended, simulation.timeline.happened


@pytest.mark.parametrize("scenario", ["s1", "s4"])
@pytest.mark.parametrize("name", UNREAD)
def test_tokens_that_nobody_looks_at_are_told_of_seldom_and_nothing_changes(name, scenario):
    scenario = load_scenario(scenario)
    seldom = simulated(scenario, lambda: make_policy(name))
    often = simulated(scenario, lambda: reading(make_policy(name)))
    assert seldom[0] == often[0]
    assert seldom[1] < 0.9 * often[1]


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ({}, {"rules": Rules()}),
        ({}, {"migration": Migration()}),
        ({"deadlines": {"multiples": [{"times": 1.5, "share": 1}], "on_late": "raise"}}, {}),
        ({"admission": {"floor": 0.1}}, {}),
        ({"workflows": [{"name": "w", "share": 1, "stages": [{**STAGE, "optional": True}, STAGE]}]}, {}),
        ({"continuation": True}, {}),
        ({"endpoints": [{"name": "api", "profile": {**API, "tokens_per_minute": 100_000}}]}, {}),
    ],
    ids=["thoughts", "moves", "runs are cut", "runs are refused", "steps are optional", "streams go on", "limits"],
)
def test_they_are_told_of_often_where_anything_may_depend_on_them(small, change, how):
    scenario = small(load=3, **change)
    assert simulated(scenario, RoundRobin, **how) == simulated(scenario, lambda: reading(RoundRobin()), **how)
