import pytest

from agentsched.core.call import ModelCall, RunInfo
from agentsched.core.endpoint import Endpoint
from agentsched.core.records import CallEnded, Feedback, RunClosed, StructureTold
from agentsched.core.remainder import RunHistory
from agentsched.core.shared import EndpointKnowledge
from agentsched.core.structure import StructureEdge, WorkflowStructure
from agentsched.dispatch import remembering as module
from agentsched.dispatch.learning import BackgroundLearner
from agentsched.dispatch.remembering import Memory
from agentsched.scheduler.events import OthersKnow
from agentsched.state.profiles import ProfileFile

ENDPOINTS = [Endpoint(name="gpu", base_url="http://host.example/v1", model="m", api_key="secret-canary")]


class FakeDispatcher:
    def __init__(self):
        self.known = (EndpointKnowledge("gpu", tpot_s=0.02, tpot_count=20.0, ttft_idle_s=0.3, ttft_count=9.0),)
        self.posted = []

    def look(self, ask):
        return self.known

    def post(self, event):
        self.posted.append(event)


def _ignored(told):
    pass


class Process:
    """A learner with a memory, as one process after another would have it."""

    def __init__(self, path, wall=lambda: 1000.0):
        self.said, self.learned, self.dispatcher = [], [], FakeDispatcher()
        file = ProfileFile(path, self.said.append, wall)
        memory = Memory(file, self.said.append, self.dispatcher, ENDPOINTS)
        self.learner = BackgroundLearner(lambda *known: self.learned.append(known), _ignored, _ignored, memory)
        self.learner.begin()
        self.learner.flush()

    def run(self, name, steps=("a", "b", "c")):
        for i, step in enumerate(steps):
            call = ModelCall(f"{name}{i}", name, "w", step, i, "m", parents=(f"{name}{i - 1}",) if i else ())
            self.learner.take(CallEnded(call, i, i + 0.5, "ok", "gpu", 1, 0, 0.0, None, 100, 40, None, 0.0))
        self.learner.take(RunClosed(RunInfo(name, "w", 0.0), len(steps), "ok", len(steps), 1, 1, 1, 0.0))

    def calls_after(self, *steps):
        history = RunHistory()
        for step in steps:
            history.arrived(step, 0.0)
        return self.learner.remainders.predict(ModelCall("x", "now", "w", steps[-1], 0, "m"), history)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "profiles.sqlite"


def test_the_next_process_knows_what_this_one_learned(path):
    first = Process(path)
    guessed = first.calls_after("a").calls
    for k in range(10):
        first.run(f"r{k}")
    first.learner.take(
        StructureTold("v", WorkflowStructure("t", ("x", "y"), (StructureEdge("x", "y"),), ("x",), ("y",)))
    )
    first.learner.close()
    second = Process(path)
    known = second.calls_after("a").calls
    assert sorted(known)[16] == pytest.approx(2)
    assert known.std() < guessed.std()
    assert "v" in second.learner.remainders.outlooks
    assert second.learned[-1][0].groups
    second.run("s")
    second.learner.close()
    assert len(ProfileFile(path, print).load(1000).runs) == 11
    assert first.said == second.said == []
    assert b"secret-canary" not in path.read_bytes()
    assert b"host.example" not in path.read_bytes()


def test_speeds_are_remembered_and_fade(path):
    now = [1000.0]
    first = Process(path, lambda: now[0])
    first.run("r")
    first.learner.close()
    assert first.dispatcher.posted == []
    now[0] += 86_400.0
    second = Process(path, lambda: now[0])
    (event,) = second.dispatcher.posted
    assert isinstance(event, OthersKnow)
    (known,) = event.knowledge
    assert (known.endpoint, known.tpot_s, known.ttft_idle_s) == ("gpu", 0.02, 0.3)
    assert known.tpot_count == pytest.approx(10.0)
    second.learner.close()


def test_a_file_that_cannot_be_used_is_told_once_and_harms_nothing(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    process = Process(blocked / "profiles.sqlite")
    for k in range(3):
        process.run(f"r{k}")
        process.learner.flush()
    assert process.calls_after("a") is not None
    assert len(process.said) == 1
    blocked.unlink()
    process.run("again")
    process.learner.close()
    assert "again" in process.said[1]
    assert len(ProfileFile(blocked / "profiles.sqlite", print).load(100).runs) == 4


def test_it_writes_now_and_then_only(path, monkeypatch):
    process = Process(path)
    process.run("r")
    process.learner.flush()
    times = path.stat().st_mtime_ns
    written = []
    monkeypatch.setattr(ProfileFile, "keep", lambda *_: written.append(1))
    memory = process.learner._memory
    for k in range(50):
        process.run(f"s{k}")
    process.learner.flush()
    before = len(written)
    memory.keep()
    assert len(written) == before
    process.learner.close()
    assert path.stat().st_mtime_ns == times


def test_what_waits_to_be_gathered_is_bounded(path, monkeypatch):
    monkeypatch.setattr(module, "_MOST_OPEN_CALLS", 20)
    monkeypatch.setattr(module, "_MOST_PENDING", 5)
    memory = Memory(ProfileFile(path, print), print, FakeDispatcher(), ENDPOINTS)
    for k in range(100):
        call = ModelCall(f"c{k}", f"r{k}", "w", "a", 0, "m")
        memory.take(CallEnded(call, 0, 1, "ok", None, 1, 0, 0.0, None, 1, 1, None, 0.0))
    assert sum(map(len, memory._open.values())) == memory._open_calls <= 20
    for k in range(100):
        memory.take(RunClosed(RunInfo(f"r{k}", "w", 0.0), 1.0, "ok", 1, 1, 1, 1, 0.0))
    assert len(memory._runs) <= 5
    assert memory._open_calls == 0


def test_scores_of_users_outlive_the_process(path):
    first = Process(path)
    for k in range(6):
        first.run(f"r{k}")
        first.learner.take(Feedback(f"r{k}", 0.2, 0.0))
    first.learner.close()
    second = Process(path)
    second.learner.flush()
    qualities = second.learned[-1][2]
    assert qualities.groups["w", "b", "gpu"].mean == pytest.approx(0.2)
    assert qualities.groups["w", "b", "gpu"].count == 6
