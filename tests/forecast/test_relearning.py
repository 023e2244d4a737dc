"""After a change a workflow is learned anew, where that does better, and given back its past where it does not."""

import numpy as np
import pytest

from agentsched.core.call import ModelCall, RunInfo
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.remainder import RunHistory
from agentsched.forecast.calibration import Drift
from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.length_learner import LengthLearner
from agentsched.forecast.relearning import Relearned, Relearning

STEPS = {"often": 200.0, "seldom": 900.0, "rare": 60.0}
SEQUENCE = ("often", "often", "often", "seldom", "often", "often", "often", "rare")


class Stream:
    """Runs of workflows with lognormal lengths, taught one call after another as the live learner is."""

    def __init__(self, relearn=True):
        self.rng = np.random.default_rng(5)
        self.learner, self.known = LengthLearner(), EmpiricalLengths()
        self.relearning = Relearning(self.learner) if relearn else None
        self.results: list[Relearned] = []
        self.losses: list[float] = []
        self.count = 0

    def runs(self, count, factor=lambda step: 1.0, workflow="w"):
        for _ in range(count):
            self.count += 1
            for place, step in enumerate(SEQUENCE):
                tokens = STEPS[step] * factor(step) * np.exp(0.25 * self.rng.standard_normal())
                call = ModelCall(f"{self.count}.{place}", f"r{self.count}", workflow, step, place, "m")
                at = 100.0 * self.count + place
                self.call(CallEnded(call, at, at + 0.5, "ok", "e", 1, 0, 0.0, 0.1, 10, int(tokens), None, 0.0))
            closed = RunClosed(RunInfo(f"r{self.count}", workflow, 0.0), 100.0 * self.count + 9, "ok", 8, 8, 1, 1, 0.0)
            self.learner.run_closed(closed)

    def call(self, record):
        loss = self.learner.call_ended(record)
        self.losses.append(loss)
        if self.relearning is not None:
            self.relearn(record, loss)
        self.known = self.learner.snapshot() or self.known

    def relearn(self, record, loss):
        ended = self.relearning.saw(record, loss)
        if ended is not None:
            self.results.append(ended)
        for drift in self.learner.take_drifts():
            self.relearning.changed(drift)
        trial = self.relearning.due()
        if trial is not None:
            assert sum(1 for _ in trial.work()) == len(trial.calls)
            self.results.append(self.relearning.finished(trial))

    def median(self, step, workflow="w"):
        history = RunHistory()
        history.arrived(step, 0.0)
        return self.known.predict(ModelCall("c", "now", workflow, step, 0, "m"), history).quantile(0.5)

    @property
    def outcomes(self):
        return [result.outcome for result in self.results]


def test_a_change_of_all_steps_reaches_those_that_are_seldom_called():
    made = {}
    for relearn in (True, False):
        stream = Stream(relearn)
        stream.runs(60)
        before = len(stream.losses)
        stream.runs(40, lambda step: 0.25)
        made[relearn] = float(np.mean(stream.losses[before + 80 :]))
        if relearn:
            assert stream.outcomes[0] == "taken"
            assert stream.outcomes[-1] == "confirmed"
            assert stream.median("rare") == pytest.approx(15, rel=0.2)
    assert made[True] < 0.93 * made[False]


def test_a_change_of_one_step_alone_costs_the_others_nothing():
    """What was known of the others would be lost: learning all of them anew does no better."""
    stream = Stream()
    stream.runs(60)
    stream.runs(12, lambda step: 3.0 if step == "often" else 1.0)
    assert "taken back" not in stream.outcomes
    assert stream.median("often") == pytest.approx(600, rel=0.15)
    assert stream.median("seldom") == pytest.approx(900, rel=0.15)
    assert stream.median("rare") == pytest.approx(60, rel=0.2)


def test_what_was_learned_anew_is_taken_back_when_the_past_returns():
    stream = Stream()
    stream.runs(60)
    stream.runs(14, lambda step: 0.25)
    assert stream.outcomes == ["taken"]
    stream.runs(14)
    assert stream.outcomes[1] == "taken back"
    assert stream.results[1].loss > 1.02 * stream.results[1].loss_before
    assert stream.median("rare") == pytest.approx(60, rel=0.2)
    assert "is taken back after 100 further calls" in str(stream.results[1])


def test_nothing_happens_while_nothing_changes():
    stream = Stream()
    stream.runs(150)
    assert stream.results == []


def test_calls_that_came_while_it_worked_are_learned_too():
    stream = Stream()
    stream.runs(60)
    held = []
    finish = stream.relearning.due
    stream.relearning.due = lambda: None
    stream.runs(14, lambda step: 0.25)
    trial = finish()
    held.extend(trial.work())
    stream.runs(14, lambda step: 0.1)
    assert stream.relearning.finished(trial).outcome == "taken"
    stream.known = stream.learner.snapshot()
    assert stream.median("rare") < 12


def test_other_workflows_keep_every_figure():
    stream = Stream()
    stream.runs(40, workflow="v")
    stream.runs(40)
    call, history = ModelCall("c", "now", "v", "often", 0, "m"), RunHistory()
    history.arrived("often", 0.0)
    stream.known = stream.learner.snapshot() or stream.known
    before = stream.known.predict(call, history).values
    stream.learner.exchange("w", LengthLearner())
    after = stream.learner.snapshot()
    np.testing.assert_allclose(after.predict(call, history).values, before)
    assert not [key for key in after.groups if key[0] == "w"]
    assert not [scope for scope in after.offsets if scope[0] == "w"]


def test_exchanged_twice_nothing_has_changed():
    stream = Stream()
    stream.runs(40)
    first = stream.learner.snapshot() or stream.known
    former = stream.learner.exchange("w", LengthLearner())
    assert former.exchange("w", LengthLearner()) is not former
    former = Stream()
    former.runs(40)
    taken = former.learner.exchange("w", LengthLearner())
    former.learner.exchange("w", taken)
    again = former.learner.snapshot()
    history = RunHistory()
    history.arrived("rare", 0.0)
    call = ModelCall("c", "now", "w", "rare", 0, "m")
    np.testing.assert_allclose(again.predict(call, history).values, first.predict(call, history).values, rtol=0.02)


def test_it_is_bounded():
    stream = Stream()
    stream.runs(300, workflow="quiet")
    for k in range(12):
        stream.relearning.changed(Drift((f"w{k}", "often", "m"), beyond=20, below=0, window=40))
    assert len(stream.relearning._changes) == 8
    stream.relearning._recent.extend(stream.relearning._recent.copy())
    assert len(stream.relearning._recent) == 4_096


def test_a_workflow_without_a_name_has_no_part_of_its_own():
    stream = Stream()
    stream.runs(60, workflow="")
    stream.runs(40, lambda step: 0.25, workflow="")
    assert stream.results == []


def test_while_the_last_trials_result_is_awaited_nothing_is_due():
    stream = Stream()
    stream.runs(60)
    stream.relearning.changed(Drift(("w", "often", "m"), beyond=20, below=0, window=40))
    trials = []
    due, stream.relearning.due = stream.relearning.due, lambda: None
    for _ in range(4):
        stream.runs(70)
        trials.append(due())
    assert all(trials)
    assert due() is None
    for trial in trials:
        list(trial.work())
        stream.relearning.finished(trial)
    assert not stream.relearning._changes


def test_a_workflow_that_is_called_no_more_is_in_nobodys_way():
    stream = Stream()
    stream.runs(10)
    for k in range(12):
        stream.relearning.changed(Drift((f"w{k}", "often", "m"), beyond=20, below=0, window=40))
    assert list(stream.relearning._changes) == [f"w{k}" for k in range(4, 12)]
