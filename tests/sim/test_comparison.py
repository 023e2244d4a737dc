import multiprocessing
import time

import pytest

from agentsched.engine.request import Load
from agentsched.errors import ConfigError
from agentsched.sim.comparison import compare
from agentsched.sim.grid import PolicyChoice, Task, run_tasks, tasks_of
from agentsched.sim.outcome import Outcome, RunResult
from agentsched.sim.simulation import Setup

SEC, WLO = PolicyChoice("shortest_expected_completion", (("toll", 0.5),)), PolicyChoice("weighted_least_outstanding")


def outcome(*latencies: float, workflow: str = "w") -> Outcome:
    """Runs with a deadline of 2 s each; the first is warm-up."""
    runs = tuple(
        RunResult(k, workflow, 0, float(k), k + took, 2.0, 1.0, "ok" if took <= 2.0 else "late", 1, 1, 10, 10, 0.5)
        for k, took in enumerate(latencies)
    )
    return Outcome(runs, 1.0, 11.0, 20.0, {"a": {"first": len(runs)}, "b": {}}, {"a": Load(0, 0)}, 1)


def test_policies_are_averaged_and_paired_by_seed(small):
    tasks = tasks_of([small()], [WLO, SEC], [Setup(seed=seed, load=1.0) for seed in (1, 2)])
    made = {
        (WLO.label, 1): outcome(9, 1, 1, 3),
        (WLO.label, 2): outcome(9, 1, 3, 3),
        (SEC.label, 1): outcome(9, 1, 1, 1),
        (SEC.label, 2): outcome(9, 1, 1, 3),
    }
    # In any order.
    pairs = [(task, made[task.policy.label, task.setup.seed]) for task in reversed(tasks)]
    comparison = compare(pairs, tasks)
    base, other = comparison.results
    assert (base.by_seed, other.by_seed) == ((pytest.approx(2 / 3), pytest.approx(1 / 3)), (1.0, pytest.approx(2 / 3)))
    assert base.goodput.mean == pytest.approx(0.15)
    assert base.latency_p50_s.mean == pytest.approx(2.0)
    assert other.outcomes == {"ok": 5, "late": 1}
    assert other.share_of_attempts == {"a": 1.0, "b": 0.0}
    gain = comparison.gains[other.case]
    assert (gain.mean, gain.half) == (pytest.approx(1 / 3), pytest.approx(0.0, abs=1e-12))
    assert base.case not in comparison.gains
    document = comparison.to_dict()
    assert [case["policy"] for case in document["cases"]] == ["weighted_least_outstanding", SEC.label]
    assert document["cases"][1]["gain"]["mean"] == gain.mean
    assert "lateness" not in document["cases"][0]


def test_a_workflow_that_is_missing_in_a_seed_has_no_figure(small):
    tasks = tasks_of([small()], [WLO], [Setup(seed=seed) for seed in (1, 2)])
    both = compare([(tasks[0], outcome(9, 1)), (tasks[1], outcome(9, 1, workflow="v"))], tasks)
    assert both.results[0].by_workflow == {}


def test_without_a_run_that_counts_there_is_no_figure(small):
    tasks = tasks_of([small()], [WLO], [Setup(seed=7)])
    with pytest.raises(ConfigError, match="small: no run arrived after the warm-up with seed 7"):
        compare([(tasks[0], outcome(9))], tasks)


def seed_of(task: Task) -> int:
    return task.setup.seed


@pytest.mark.parametrize("processes", [1, 2])
def test_tasks_are_done_once_each_in_one_process_or_several(small, processes: int):
    tasks = tasks_of([small()], [WLO, SEC], [Setup(seed=seed) for seed in range(3)])
    done = list(run_tasks(tasks, seed_of, processes=processes))
    assert sorted((task.policy.label, seed) for task, seed in done) == sorted(
        (task.policy.label, task.setup.seed) for task in tasks
    )
    assert all(task.setup.seed == seed for task, seed in done)


def test_who_stops_does_not_wait_for_simulations_under_way():
    seconds = [60.0, "not a number"]
    begun = time.monotonic()
    with pytest.raises(TypeError):
        list(run_tasks(seconds, time.sleep, processes=2))
    assert not multiprocessing.active_children()
    assert time.monotonic() - begun < 50.0
