"""Learning keeps to its share of a core by leaving out whole runs."""

import logging

import pytest

from agentsched.core.call import ModelCall
from agentsched.core.records import CallEnded, Feedback, RunClosed, RunInfo
from agentsched.dispatch import learning
from agentsched.dispatch.learning import BackgroundLearner
from agentsched.dispatch.run_sampling import RunSampling


def test_the_first_seconds_go_first_and_then_the_share_holds():
    sampling, learned, now = RunSampling(0.0, share=0.05, saved_s=0.1, first_s=1.0), 0, 0.0
    for k in range(20_000):  # a hundred seconds, 200 runs in each, every one of which takes 2 ms to learn from
        now = k * 0.005
        sampling.wanted(f"r{k}")
        if sampling.ended(f"r{k}"):
            learned += 1
            sampling.spent(0.002, now)
        else:
            sampling.spent(0.0, now)
    assert 0.002 * learned == pytest.approx(1.0 + 0.05 * now, rel=0.05)
    assert sampling.skipped == 20_000 - learned


def test_a_run_is_learned_from_as_a_whole_or_not_at_all():
    sampling = RunSampling(0.0, first_s=0.1)
    assert sampling.wanted("first")
    sampling.spent(0.2, 0.0)
    assert sampling.wanted("first")
    assert not sampling.wanted("second")
    sampling.spent(0.0, 100.0)
    assert not sampling.wanted("second")
    assert (sampling.ended("first"), sampling.ended("second")) == (True, False)
    assert sampling.wanted("second"), "another run of that name"


def test_after_the_beginning_little_is_saved_up():
    sampling = RunSampling(0.0, share=0.05, saved_s=0.03, first_s=0.3)
    sampling.spent(0.3, 0.0)
    sampling.spent(0.0, 1000.0)
    learned = 0
    while sampling.wanted(f"r{learned}"):
        sampling.spent(0.002, 1000.0)
        learned += 1
    assert learned == 15


def test_runs_that_never_end_are_forgotten():
    sampling = RunSampling(0.0)
    for k in range(30_000):
        sampling.wanted(f"r{k}")
    assert len(sampling._open) == 10_000


def test_a_long_run_is_remembered_however_many_short_ones_end_meanwhile():
    sampling = RunSampling(0.0, first_s=0.1)
    sampling.spent(0.2, 0.0)
    assert not sampling.wanted("long")
    sampling.spent(0.0, 100.0)
    for k in range(30_000):
        sampling.ended(f"r{k}")
    assert not sampling.ended("long")


def test_rarely_used_learning_misses_nothing():
    sampling = RunSampling(0.0)
    for k in range(1000):
        assert sampling.wanted(f"r{k}")
        sampling.spent(0.001, float(k))


def test_the_learner_leaves_out_runs_once_its_share_is_used(monkeypatch, caplog):
    monkeypatch.setattr(learning, "RunSampling", lambda now: RunSampling(now, share=0.0, first_s=1e-4))
    known, scored = [], []
    learner = BackgroundLearner(lambda *all: known.append(all), lambda drift: None, scored.append, models={"e": "m"})
    try:
        with caplog.at_level(logging.INFO, "agentsched"):
            for k in range(200):
                call = ModelCall(f"c{k}", f"r{k}", "w", "s", 0, "m", prompt_head="p")
                learner.take(CallEnded(call, float(k), k + 0.5, "ok", "e", 1, 0, 0.0, 0.1, 10, 50, None, 0.0))
                learner.take(RunClosed(RunInfo(f"r{k}", "w", float(k)), k + 0.5, "ok", 1, 1, 10, 50, 0.0))
            learner.flush()
        assert 0 < learner._sampling.skipped < 200
        assert sum("left out" in record.message for record in caplog.records) == 1
        learner.take(Feedback("r199", 1.0, 300.0))
        learner.flush()
    finally:
        learner.close()
    assert known[-1][2] is not known[0][2], "a run that was left out can be scored"
