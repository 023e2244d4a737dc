"""What one runtime learned, the next one knows before its first call; a user's score reaches the scheduler."""

import logging
from dataclasses import replace

import pytest

from agentsched.core.call import ModelCall
from agentsched.core.records import Feedback
from agentsched.core.remainder import RunHistory
from agentsched.core.slo import SLO
from agentsched.runtime import Runtime
from agentsched.settings import Settings
from agentsched.settings.values import LearningSettings, LogSettings, StateSettings
from agentsched.workflow.scope import Run
from tests.dispatch.conftest import asked, emulated  # noqa: F401 - a fixture


@pytest.fixture
def settings(emulated, tmp_path):  # noqa: F811 - a fixture
    return Settings(emulated.pool(), state=StateSettings(profiles=str(tmp_path / "profiles.sqlite")))


def a_run(runtime: Runtime, steps=("plan", "write")) -> Run:
    run = Run("w", SLO("20s"), runtime=runtime)
    runtime.start_run(run)
    for i, step in enumerate(steps):
        parents = (f"{run.run_id}{i - 1}",) if i else ()
        call = ModelCall(
            f"{run.run_id}{i}", run.run_id, "w", step, i, "m", deadline_at=run.limit_at, parents=parents, input_tokens=9
        )
        runtime.dispatcher.send_blocking(call, asked())
    run.finished = True
    runtime.end_run(run, "ok")
    return run


def test_the_next_runtime_begins_with_what_this_one_learned(settings):
    first = Runtime(settings)
    for _ in range(5):
        a_run(first)
    first.close()
    second = Runtime(settings)
    try:
        run = Run("w", SLO("20s"), runtime=second)
        second.start_run(run)
        second.flush()
        history = RunHistory()
        history.arrived("plan", 0.0)
        call = ModelCall("c", run.run_id, "w", "plan", 0, "m", input_tokens=9)
        scheduler = second.dispatcher.scheduler
        assert scheduler._lengths.predict(call, history).quantile(0.5) < 60, "20-token answers were seen"
        assert sorted(scheduler._remainders.predict(call, history).calls)[16] == 1
        assert run.forecast() is not None
        assert max(scheduler.ledger.table.speeds.pace_count) > 1.0, "speeds were taken over"
    finally:
        second.close()


def test_nothing_is_kept_where_nothing_shall_be(settings, tmp_path):
    runtime = Runtime(replace(settings, state=StateSettings(profiles="off")))
    a_run(runtime)
    runtime.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_used_is_told_once_without_a_decision_log_too(settings, tmp_path, caplog):
    (tmp_path / "profiles.sqlite").mkdir()
    runtime = Runtime(settings)
    for _ in range(2):
        a_run(runtime)
        runtime.flush()
    runtime.close()
    (record,) = [record for record in caplog.records if record.name == "agentsched"]
    assert record.levelno == logging.WARNING
    assert "what is learned is not kept" in record.getMessage()


def test_a_score_reaches_the_scheduler(settings):
    runtime = Runtime(replace(settings, state=StateSettings()))
    try:
        for _ in range(4):
            runtime.emit(Feedback(a_run(runtime).run_id, 0.2, 0.0))
        runtime.flush()
        qualities = runtime.dispatcher.scheduler._placer.qualities
        assert qualities.groups["w", "write", "m"].mean == pytest.approx(0.2)
    finally:
        runtime.close()


def test_without_torch_everything_but_training_works(settings, monkeypatch, tmp_path):
    monkeypatch.setattr("agentsched.runtime.can_train", lambda: False)
    log = LogSettings(path=tmp_path / "runs.jsonl")
    runtime = Runtime(replace(settings, learning=LearningSettings("network"), log=log))
    try:
        a_run(runtime)
        runtime.flush()
        assert runtime._learner._training is None
        assert "learning.train needs torch" in log.path.read_text()
    finally:
        runtime.close()


def test_what_is_to_be_trained_reaches_the_learner(settings, monkeypatch):
    monkeypatch.setattr("agentsched.runtime.can_train", lambda: True)
    runtime = Runtime(replace(settings, learning=LearningSettings("experts", 3.0)))
    try:
        a_run(runtime)
        runtime.flush()
        assert runtime._learner._training._aside.kind == "experts"
    finally:
        runtime.close()
