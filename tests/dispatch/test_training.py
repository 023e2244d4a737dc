"""Training in the background: what it takes over, what it takes back, and that it harms nothing when it fails."""

import sys

import numpy as np
import pytest

from agentsched.core.call import ModelCall
from agentsched.core.forecast import QUANTILES
from agentsched.core.records import CallEnded
from agentsched.dispatch import training as module
from agentsched.dispatch.learning import BackgroundLearner
from agentsched.dispatch.remembering import Memory
from agentsched.dispatch.trained_lengths import Training
from agentsched.dispatch.training import BackgroundTraining, Trained
from agentsched.forecast.length_learner import LengthLearner
from agentsched.forecast.network_inputs import INPUTS
from agentsched.forecast.quantile_net import QuantileNet
from agentsched.state.profiles import ProfileFile
from agentsched.state.weights import packed_weights


def net(tokens: float) -> QuantileNet:
    """Forecasts about so many tokens, whatever it sees."""
    last = np.full(QUANTILES, -6.0)
    last[0] = np.log1p(tokens)
    return QuantileNet(
        np.zeros((INPUTS, 2)), np.zeros(2), np.zeros((2, 2)), np.zeros(2), np.zeros((2, QUANTILES)), last
    )


def trained(tokens: float, loss=5.0, before=None) -> Trained:
    made = net(tokens)
    return Trained(made, packed_weights(made), 500, loss, before, 1.5)


class Silent:
    """A dispatcher that knows nothing and wants nothing."""

    def look(self, ask):
        return ()

    def post(self, event):
        raise AssertionError(event)


class Bench:
    def __init__(self, path=None):
        self.said, self.results = [], []
        self.file = None if path is None else ProfileFile(path, self.said.append)
        memory = None if self.file is None else Memory(self.file, self.said.append, Silent(), ())
        self.lengths = LengthLearner()
        self.training = Training("network", 1.0, self.results.append, self.lengths, memory, self.said.append)

    def answers(self, tokens, count=200):
        for k in range(count):
            call = ModelCall(f"c{k}", f"r{k}", "w", "s", 0, "m")
            self.lengths.call_ended(CallEnded(call, k, k + 0.5, "ok", "e", 1, 0, 0.0, 0.1, 10, tokens, None, 0.0))
        self.training.go_on()


@pytest.fixture(autouse=True)
def _no_process(monkeypatch):
    monkeypatch.setattr(module, "_FIRST", 10**9)


def test_what_is_trained_joins_the_views_and_every_version_is_kept(tmp_path):
    bench = Bench(tmp_path / "p.sqlite")
    bench.training.came(trained(100))
    assert bench.lengths.snapshot().trained is not None
    assert "version 1 trained on 500 calls in 1.5 s: pinball loss 5.0" in bench.said[-1]
    bench.training.came(trained(100, loss=4.0, before=5.0))
    assert [(one.version, one.kind, one.loss) for one in bench.file.load(10).weights] == [(2, "network", 4.0)]
    again = Bench(tmp_path / "p.sqlite")
    again.training.recall(again.file.load(10).weights)
    assert again.lengths.snapshot().trained.predict(np.zeros(INPUTS)).quantile(0.5) == pytest.approx(100, rel=0.1)


def test_what_is_no_better_is_not_taken():
    bench = Bench()
    bench.training.came(trained(100))
    first = bench.lengths.trained
    bench.training.came(trained(900, loss=6.0, before=5.0))
    assert bench.lengths.trained is first
    assert bench.said[-1].endswith("not better, and not used")


def test_what_forecasts_worse_than_its_predecessor_is_taken_back(tmp_path):
    """On the calls that came after it was trained."""
    bench = Bench(tmp_path / "p.sqlite")
    bench.training.came(trained(100))
    first = bench.lengths.trained
    bench.training.came(trained(900, loss=4.0, before=5.0))
    assert bench.lengths.trained is not first
    bench.answers(100)
    assert bench.lengths.trained is first
    assert "version 2 is taken back" in bench.said[-1]
    assert [one.version for one in bench.file.load(10).weights] == [1]
    bench.answers(100)
    assert "version 2 is taken back" in bench.said[-1], "its predecessor is on no probation"


def test_what_forecasts_better_stays():
    bench = Bench()
    bench.training.came(trained(900))
    bench.training.came(trained(100, loss=4.0, before=5.0))
    bench.answers(100)
    assert bench.lengths.trained.predict(np.zeros(INPUTS)).quantile(0.5) == pytest.approx(100, rel=0.1)
    assert "version 2 stays in use" in bench.said[-1]


def test_of_many_versions_the_latest_five_are_kept(tmp_path):
    file = ProfileFile(tmp_path / "p.sqlite", lambda text: None)
    versions = [file.keep_weights("network", 1, float(k), b"x") for k in range(8)]
    assert versions == list(range(1, 9))
    for version in (8, 7, 6, 5, 4):
        assert file.load(1).weights[0].version == version
        file.take_weights_back(version)
    assert file.load(1).weights == ()


def test_a_version_that_cannot_be_read_is_left_aside(tmp_path):
    bench = Bench(tmp_path / "p.sqlite")
    bench.file.keep_weights("network", 1, 1.0, b"no weights")
    bench.training.recall(bench.file.load(1).weights)
    assert bench.lengths.trained is None
    assert "version 1 cannot be used" in bench.said[-1]


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ((1, b"", "Traceback\nMemoryError\n"), "status 1: MemoryError"),
        ((0, b"nonsense", ""), "answered nonsense"),
        (OSError(12, "Cannot allocate memory"), "no process could be started: Cannot allocate memory"),
    ],
)
def test_a_training_that_fails_is_told_and_nothing_else(monkeypatch, outcome, told):
    monkeypatch.setattr(module, "_FIRST", 20)
    results = []
    aside = BackgroundTraining("network", 1.0, results.append)

    def run(request):
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    monkeypatch.setattr(aside, "_run", run)
    for _ in range(20):
        aside.add(np.zeros(INPUTS), 10, False)
    aside.perhaps()
    aside._thread.join(5.0)
    assert told in results[0]
    aside.perhaps()
    assert len(results) == 1, "it rests"


def test_a_change_brings_the_next_training_forward(monkeypatch):
    monkeypatch.setattr(module, "_FIRST", 5)
    monkeypatch.setattr(module, "_REST", 0.0)
    begun = []
    aside = BackgroundTraining("network", 1.0, lambda result: None)
    monkeypatch.setattr(aside, "_run", lambda request: begun.append(1) or (1, b"", "no"))

    def answers(count):
        for _ in range(count):
            aside.add(np.zeros(INPUTS), 10, False)
            aside.perhaps()
            if aside._thread is not None:
                aside._thread.join(5.0)

    answers(1_000)
    monkeypatch.setattr(module, "_AFTER_CHANGE", 10)
    aside._next = 2_000.0
    before = len(begun)
    aside.changed()
    answers(9)
    assert len(begun) == before
    answers(2)
    assert len(begun) == before + 1


def test_a_closed_one_ends_its_process(monkeypatch):
    monkeypatch.setattr(module, "_FIRST", 5)
    results = []
    aside = BackgroundTraining("network", 600.0, results.append)
    monkeypatch.setattr(sys, "executable", "/bin/cat")  # never answers anything of use, and waits for more
    for _ in range(5):
        aside.add(np.zeros(INPUTS), 10, False)
    aside.perhaps()
    aside.close()
    assert not aside._thread.is_alive()


@pytest.mark.timeout(300)  # the process has the lowest priority: on a busy machine it waits long
def test_with_torch_a_process_trains_and_the_scheduler_gets_it(monkeypatch):
    """All of it: answers come in, a process trains, its weights are in the next snapshot."""
    pytest.importorskip("torch")
    monkeypatch.setattr(module, "_FIRST", 300)
    known, said = [], []
    learner = BackgroundLearner(
        lambda lengths, *others: known.append(lengths),
        lambda drift: None,
        lambda result: None,
        train=("network", 0.5),
        trained=said.append,
    )
    try:
        rng = np.random.default_rng(1)
        for k in range(320):
            call = ModelCall(f"c{k}", f"r{k}", "w", f"s{k % 2}", 0, "m")
            tokens = int((40, 400)[k % 2] * rng.lognormal(0.0, 0.2))
            learner.take(CallEnded(call, k, k + 0.5, "ok", "e", 1, 0, 0.0, 0.1, 10, tokens, None, 0.0))
        learner.flush()
        learner._training._aside._thread.join(280.0)
        learner.flush()
        assert said, "the process ended"
        assert said[0].startswith("version 1 trained on 320 calls"), said
        assert known[-1].trained is not None
    finally:
        learner.close()
