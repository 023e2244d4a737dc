"""What clients of a simulation learn, and what that is worth: one length for all, calibrated; learners as live."""

import numpy as np
import pytest

from agentsched.core.call import ModelCall, RunInfo
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.remainder import RunHistory
from agentsched.policy.deadline_aware import DeadlineAware
from agentsched.sim.averages import averages_of
from agentsched.sim.comparison import compare
from agentsched.sim.foresight import ARMS, LEARNED, ONE_LENGTH, POINT, TRUE, foresight_tasks, foresights
from agentsched.sim.grid import PolicyChoice, run_task
from agentsched.sim.knowledge import Book, Knowledge, predictors
from agentsched.sim.learning import learner_of
from agentsched.sim.simulation import Setup, simulate


def a_call(number: int, step: str) -> ModelCall:
    return ModelCall(f"c{number}", f"r{number}", "chain", step, 0, "model")


def ended(call: ModelCall, output_tokens: int, at: float) -> CallEnded:
    return CallEnded(call, at, at, "ok", "fast", 1, 0, 0.0, 0.1, 10, output_tokens, None, 0.0)


def known_of(knowledge: Knowledge, small, rests: Knowledge | None = None):
    scenario = small()
    return predictors(knowledge, Book(), scenario, averages_of(scenario), rests)


def test_one_length_gets_the_spread_of_its_errors_in_each_step(small):
    known = known_of(Knowledge.CONSTANT, small)
    learner = learner_of(Knowledge.CONSTANT, None, known)
    assert learner is not None
    rng = np.random.default_rng(1)
    for number in range(800):
        step, median = (("short", 20.0), ("long", 300.0))[number % 2]
        learner.take(ended(a_call(number, step), round(median * np.exp(0.5 * rng.standard_normal())), number))
    news = learner.news(1000.0)
    assert news is not None
    assert news.remainders is known[1]
    for step, median in (("short", 20.0), ("long", 300.0)):
        forecast = news.lengths.predict(a_call(-1, step), RunHistory())
        assert forecast.quantile(0.5) == pytest.approx(median, rel=0.25)
        fresh = median * np.exp(0.5 * rng.standard_normal(2000))
        assert 0.85 < np.mean(fresh <= forecast.quantile(0.9)) < 0.99
        assert 0.01 < np.mean(fresh <= forecast.quantile(0.1)) < 0.15
    assert learner.news(2000.0) is None


def test_answers_that_failed_teach_one_length_nothing(small):
    learner = learner_of(Knowledge.CONSTANT, None, known_of(Knowledge.CONSTANT, small))
    assert learner is not None
    call = a_call(1, "plan")
    learner.take(CallEnded(call, 0.0, 1.0, "deadline", None, 1, 0, 0.0, None, 10, 0, None, 0.0))
    assert learner.news(10.0) is None


@pytest.mark.parametrize("knowledge", [Knowledge.STUDY, Knowledge.POINT, Knowledge.ORACLE])
def test_what_is_given_is_not_learned(small, knowledge):
    assert learner_of(knowledge, None, known_of(knowledge, small)) is None


def test_what_follows_can_be_learned_beside_lengths_that_are_given(small):
    known = known_of(Knowledge.POINT, small, Knowledge.LEARNED)
    learner = learner_of(Knowledge.POINT, Knowledge.LEARNED, known)
    assert learner is not None
    learner.take(ended(a_call(1, "plan"), 40, 1.0))
    assert learner.news(2.0) is None
    learner.take(RunClosed(RunInfo("r1", "chain", 0.0), 2.0, "ok", 1, 1, 10, 40, 0.0))
    news = learner.news(3.0)
    assert news is not None
    assert news.lengths is known[0]
    assert news.remainders is not known[1]


def test_a_spread_is_worth_something(small):
    """A pool near its knee misses deadlines by taking one length for certain that it meets with the length's spread."""
    crowd = {
        "load": 9,
        "duration": 10,
        "deadlines": {"multiples": [{"times": 2, "share": 1}, {"times": 4, "share": 1}]},
    }
    met = {
        knowledge: sum(
            run.met
            for seed in (1, 2)
            for run in simulate(small(**crowd), DeadlineAware, Setup(seed=seed, knowledge=knowledge)).runs
        )
        for knowledge in (Knowledge.CONSTANT, Knowledge.POINT, Knowledge.ORACLE)
    }
    assert met[Knowledge.ORACLE] > met[Knowledge.CONSTANT] > met[Knowledge.POINT], met


def test_arms_differ_in_lengths_alone_and_are_compared_on_the_same_runs(small):
    tasks = foresight_tasks([small(load=4, duration=6)], PolicyChoice("deadline_aware"), [1, 2])
    assert {task.setup.rests for task in tasks} == {Knowledge.LEARNED}
    (found,) = foresights(compare([(task, run_task(task)) for task in tasks], tasks))
    assert list(found.goodput) == list(ARMS) == [LEARNED, TRUE, ONE_LENGTH, POINT]
    learned, true = found.goodput[LEARNED].mean, found.goodput[TRUE].mean
    assert found.share.mean == pytest.approx(learned / true, abs=0.02)
    assert found.share.count == 2
    assert 0.5 < found.share.mean <= 1.2
