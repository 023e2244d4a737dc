"""What rescuing running calls is worth: the same runs with and without it."""

from typing import Any

import numpy as np

from agentsched.core.rules import HedgeRules, Rules, StreamRules
from agentsched.policy.deadline_aware import DeadlineAware
from agentsched.sim.outcome import Outcome
from agentsched.sim.scenario import Scenario
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.simulation import FIRST_CHOICE_ONLY, Setup, simulate

NO_CONTINUATION = Rules(stream=StreamRules(continuation=False))
HOSTED = {
    "ttft_median_s": 0.4,
    "ttft_sigma": 0.35,
    "tpot_median_s": 0.012,
    "tpot_sigma": 0.2,
    "stall_probability": 0.03,
    "stall_mean_s": 15.0,
}


def played(scenario: Scenario, rules: Rules, seed: int) -> Outcome:
    return simulate(scenario, DeadlineAware, Setup(seed=seed, rules=rules))


def rectified(outcome: Outcome) -> dict[str, int]:
    """Attempts by why they were made."""
    sums: dict[str, int] = {}
    for whys in outcome.attempts.values():
        for why, count in whys.items():
            sums[why] = sums.get(why, 0) + count
    return sums


def test_streams_that_die_with_their_server_go_on_elsewhere(small):
    """Agents do not ask again: a run whose stream breaks is lost, unless somebody goes on with it."""
    scenario = small(
        duration=60.0,
        call_retries=0,
        continuation=True,
        faults={"failure": {"duration": 3, "every": 15}},
        deadlines={"multiples": [{"times": 6, "share": 1}], "plus": 2.0},
    )
    lost = recovered = 0
    for seed in (1, 2, 4):
        with_it, without = played(scenario, Rules(), seed), played(scenario, NO_CONTINUATION, seed)
        assert sum(run.met for run in with_it.runs) >= sum(run.met for run in without.runs)
        assert rectified(with_it)["migrate"] > 0 == rectified(without).get("migrate", 0)
        broken = {run.index for run in without.runs if run.outcome == "error"}
        lost += len(broken)
        recovered += sum(run.met for run in with_it.runs if run.index in broken)
    assert lost >= 50
    assert recovered >= 0.8 * lost


def hosted(**keys: Any) -> Scenario:
    stage = {"step": "x", "prompt": 500, "output": {"median": 90, "sigma": 0.4}}
    return load_scenario(
        {
            "version": 1,
            "name": "hosted",
            "load": 3.0,
            "duration": 150.0,
            "progress": 0.1,
            "continuation": True,
            "endpoints": [{"name": name, "profile": HOSTED} for name in ("x", "y", "z")],
            "workflows": [{"name": "w", "share": 1.0, "stages": [stage]}],
        }
        | keys
    )


def test_stalls_of_hosted_endpoints_are_hedged_at_a_small_price():
    """3 % of the calls stall for 15 s on average; without a deadline."""
    latency_s: dict[str, list[float]] = {"first": [], "rescued": []}
    calls = attempts = 0
    for seed in (1, 2, 3):
        for name, rules in (("first", FIRST_CHOICE_ONLY), ("rescued", Rules())):
            outcome = played(hosted(), rules, seed)
            latency_s[name] += [run.latency_s for run in outcome.runs]
        calls += sum(run.calls for run in outcome.runs)
        attempts += sum(run.attempts for run in outcome.runs)
    assert np.quantile(latency_s["rescued"], 0.99) <= 0.5 * np.quantile(latency_s["first"], 0.99)
    assert attempts - calls <= 0.05 * calls + 3 * HedgeRules().reserve


def test_no_storm_of_second_tries_in_overload(small):
    """The load is far beyond what the pool can serve; nothing is out of order."""
    outcome = played(small(load=25.0, duration=6.0, continuation=True), Rules(), 1)
    assert sum(run.met for run in outcome.runs) < 0.7 * len(outcome.runs)
    whys = rectified(outcome)
    further = sum(count for why, count in whys.items() if why not in ("first", "queued"))
    assert further <= 0.005 * sum(whys.values()) + HedgeRules().reserve


def test_the_pool_loses_71_percent_of_its_instances_and_gets_them_back(small):
    """5 of 7 instances are down for 15 s. What they held goes on elsewhere, the rest is planned anew, and as soon as
    they are back they are used again: nobody has to be told."""
    scenario = small(
        load=7.0,
        duration=60.0,
        call_retries=0,
        continuation=True,
        endpoints=[
            {"name": "lost", "count": 5, "profile": "study-8b-a800"},
            {"name": "kept", "count": 2, "profile": "study-8b-a800"},
        ],
        faults={"planned": [{"endpoints": ["lost"], "at": 15.0, "duration": 15.0}]},
        deadlines={"multiples": [{"times": 3, "share": 1}], "plus": 0.5},
    )
    outcome = played(scenario, Rules(), 1)
    began = {
        when: [run for run in outcome.runs if first <= run.arrival_s < last]
        for when, first, last in (("before", 0.0, 10.0), ("lost", 15.0, 30.0), ("after", 45.0, 60.0))
    }
    met = {when: float(np.mean([run.met for run in runs])) for when, runs in began.items()}
    # A call that finds four dead ones in a row, in the first second of it, is given up: the most attempts that one has.
    assert sum(run.outcome == "error" for run in outcome.runs) <= 0.01 * len(outcome.runs)
    assert met["before"] >= 0.95
    assert met["lost"] >= 0.5
    assert met["after"] >= 0.95
    sent = {name: sum(whys.values()) for name, whys in outcome.attempts.items()}
    back = sum(count for name, count in sent.items() if name.startswith("lost"))
    assert back >= 0.28 * sum(sent.values()), "those that came back were not used again"
