"""Giving whole runs up in overload, and what deadline_aware makes of a crowd of them."""

from agentsched.policy.deadline_aware import DeadlineAware
from agentsched.policy.shortest_completion import ShortestExpectedCompletion
from agentsched.sim.simulation import Setup, simulate

CROWD = {
    "load": 30,
    "duration": 5,
    "deadlines": {"multiples": [{"times": 1.2, "share": 1}, {"times": 4, "share": 1}], "on_late": "raise"},
}


def test_runs_without_a_chance_end_long_before_their_deadline(small):
    kept = simulate(small(**CROWD), DeadlineAware, Setup())
    shed = simulate(small(**CROWD, admission={"floor": 0.05, "give_up": 0.05}), DeadlineAware, Setup())
    early = [
        [run for run in outcome.runs if run.outcome == "deadline" and run.latency_s < 0.9 * run.deadline_s]
        for outcome in (kept, shed)
    ]
    assert early[0] == []
    assert len(early[1]) > 10
    assert any(run.calls == 1 for run in early[1]), "some are not even begun"
    assert sum(run.met for run in shed.runs) >= sum(run.met for run in kept.runs)


def test_a_floor_that_nobody_is_below_changes_nothing(small):
    easy = {"load": 2, "deadlines": {"multiples": [{"times": 20, "share": 1}], "on_late": "raise"}}
    kept, floored = (
        simulate(small(**easy, **more), DeadlineAware, Setup()) for more in ({}, {"admission": {"floor": 0.05}})
    )
    assert [run.ended_s for run in kept.runs] == [run.ended_s for run in floored.runs]


def test_in_a_crowd_it_meets_more_deadlines_than_the_selfish_rule(small):
    crowd = {
        "load": 14,
        "duration": 10,
        "deadlines": {"multiples": [{"times": 2, "share": 1}, {"times": 6, "share": 1}]},
    }
    met = []
    for make in (DeadlineAware, lambda: ShortestExpectedCompletion(toll=0.0)):
        outcomes = [simulate(small(**crowd), make, Setup(seed=seed)) for seed in (1, 2)]
        met.append(sum(run.met for outcome in outcomes for run in outcome.runs))
    assert met[0] > met[1]
