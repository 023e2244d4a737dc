import functools
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from agentsched.core.call import ModelCall, RunInfo
from agentsched.core.quality import Judgement
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.structure import StructureEdge, WorkflowStructure
from agentsched.errors import StateUnavailable
from agentsched.state import profiles as module
from agentsched.state.experience import EndpointSpeed, packed_run, unpacked_run
from agentsched.state.profiles import NewRun, ProfileFile

PLAN = WorkflowStructure("test", ("a", "b"), (StructureEdge("a", "b"),), ("a",), ("b",))
SPEED = EndpointSpeed("k1", "gpu", 0.02, 12.0, 0.3, 4.0)


def lessons(steps=("a", "b"), workflow="w", run_id="r", start=500.0):
    calls = [
        CallEnded(
            ModelCall(
                f"{run_id}#{i}",
                run_id,
                workflow,
                step,
                i,
                "m",
                input_tokens=90 + i,
                max_tokens=None if i else 64,
                parents=(f"{run_id}#{i - 1}",) if i else (),
                tool_s=0.25 * i,
                features=b"\x01\x00\x09\x00",
            ),
            start + i,
            start + i + 0.5,
            "ok",
            "gpu",
            2,
            1,
            0.1,
            0.2,
            100 + i,
            10 + i,
            None,
            0.01,
        )
        for i, step in enumerate(steps)
    ]
    return calls, RunClosed(RunInfo(run_id, workflow, start), start + len(steps), "late", len(steps), 1, 1, 1, 0.0)


def run(workflow="w", steps=("a", "b")):
    return NewRun(workflow, len(steps), packed_run(*lessons(steps, workflow)))


@pytest.fixture
def said():
    return []


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "profiles.sqlite"


@pytest.fixture
def file(path, said):
    return ProfileFile(path, said.append, wall=lambda: 1000.0)


def test_a_run_comes_back_as_it_was_told():
    calls, closed = lessons(("a", "b", "a"))
    back = unpacked_run(packed_run(calls, closed), "past")
    assert back.closed.outcome == "late"
    assert back.closed.ended_at == 3.0
    assert [call.call.step for call in back.calls] == ["a", "b", "a"]
    assert [call.call.parents for call in back.calls] == [(), ("past-0",), ("past-1",)]
    for old, new in zip(calls, back.calls, strict=True):
        assert new.arrived_at == old.arrived_at - 500.0
        for name in ("status", "input_tokens", "output_tokens"):
            assert getattr(new, name) == getattr(old, name)
        for name in ("model", "call_index", "input_tokens", "max_tokens", "tool_s", "features", "workflow"):
            assert getattr(new.call, name) == getattr(old.call, name)


@pytest.mark.parametrize("packed", [b"", b"junk", packed_run(*lessons())[:-3]])
def test_no_run(packed):
    with pytest.raises(ValueError):
        unpacked_run(packed, "past")


def test_what_is_kept_is_found_again(file, said):
    assert file.load(100).runs == ()
    assert not file.path.exists()
    file.keep([run(), run("v")], [("w", PLAN), ("w", PLAN)], [SPEED])
    file.keep([run("w", ("a",) * 5)])
    found = file.load(100)
    assert [(one.closed.run.workflow, len(one.calls)) for one in found.runs] == [("w", 2), ("v", 2), ("w", 5)]
    assert len({one.closed.run.run_id for one in found.runs}) == 3
    assert found.structures == (("w", PLAN),)
    assert found.speeds == (SPEED,)
    assert [len(one.calls) for one in file.load(6).runs] == [5]
    summary = file.summary()
    assert [(one.workflow, one.runs, one.calls) for one in summary.workflows] == [("v", 1, 2), ("w", 2, 7)]
    assert said == []


def test_it_is_bounded(file, monkeypatch):
    monkeypatch.setattr(module, "_RUNS_OF_A_WORKFLOW", 5)
    monkeypatch.setattr(module, "_MOST_RUNS", 12)
    for k in range(30):
        file.keep([run(f"w{k % 4}")])
    assert len(file.load(1000).runs) == 12
    for _ in range(30):
        file.keep([run("w0")])
    assert sum(one.closed.run.workflow == "w0" for one in file.load(1000).runs) == 5


def test_a_speed_is_forgotten_after_a_month(path, said):
    now = 1000.0
    file = ProfileFile(path, said.append, wall=lambda: now)
    file.keep(speeds=[SPEED])
    now += 3600.0
    assert file.load(1).speeds[0].age_s == 3600.0
    now += 31 * 86_400
    file.keep([run()])
    assert file.load(1).speeds == ()


@pytest.mark.parametrize("damage", ["junk", "cut", "tables"])
def test_a_damaged_file_is_put_aside(file, said, damage):
    file.keep([run()] * 50)
    if damage == "tables":
        with closing(sqlite3.connect(file.path)) as connection, connection:
            connection.execute("DROP TABLE runs")
        connection.close()
    else:
        held = file.path.read_bytes()
        file.path.write_bytes(b"junk" * 4000 if damage == "junk" else held[:100] + b"\xff" * (len(held) - 100))
    assert file.load(1000).runs == ()
    aside = file.path.with_name(file.path.name + ".corrupt-1")
    assert aside.exists()
    assert len(said) == 1
    assert aside.name in said[0]
    file.keep([run()])
    assert len(file.load(1000).runs) == 1


def test_a_damaged_file_is_put_aside_when_writing(file, said):
    file.path.parent.mkdir()
    file.path.write_bytes(b"junk" * 4000)
    file.keep([run()])
    assert len(file.load(1000).runs) == 1
    assert len(said) == 1


def test_an_older_file_is_put_aside_a_newer_one_left_alone(file, said, monkeypatch):
    file.keep([run()])
    monkeypatch.setattr(module, "_VERSION", 2)
    assert file.load(1000).runs == ()
    assert file.path.with_name(file.path.name + ".old-1").exists()
    file.keep([run()])
    monkeypatch.setattr(module, "_VERSION", 1)
    with pytest.raises(StateUnavailable, match="newer"):
        file.keep([run()])
    assert len(said) == 1


def test_somebody_elses_database_is_left_alone(file, said):
    file.path.parent.mkdir()
    with closing(sqlite3.connect(file.path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = file.path.read_bytes()
    for use in (lambda: file.load(10), lambda: file.keep([run()]), file.summary):
        with pytest.raises(StateUnavailable, match="left alone"):
            use()
    assert file.path.read_bytes() == before
    assert said == []


def test_one_unreadable_run_does_not_cost_the_others(file):
    file.keep([run(), NewRun("w", 1, b"of another version"), run()])
    assert len(file.load(1000).runs) == 2


def test_what_cannot_be_opened_is_told(tmp_path, said):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StateUnavailable):
        ProfileFile(blocked / "profiles.sqlite", said.append).keep([run()])
    with pytest.raises(StateUnavailable, match="no such file"):
        ProfileFile(tmp_path / "none", said.append).summary()
    with pytest.raises(StateUnavailable):
        ProfileFile(tmp_path, said.append).load(10)


_WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from agentsched.core.call import RunInfo
from agentsched.core.records import RunClosed
from agentsched.state.experience import packed_run
from agentsched.state.profiles import NewRun, ProfileFile
file = ProfileFile(Path(sys.argv[1]), print)
content = packed_run([], RunClosed(RunInfo("r", "w", 0.0), 1.0, "ok", 0, 0, 0, 0, 0.0))
for _ in range(40):
    file.keep([NewRun("w", 0, content)])
"""


def test_a_file_that_another_process_makes_at_this_moment_is_nobody_elses(path, monkeypatch):
    connect = sqlite3.connect

    class Interrupted(sqlite3.Connection):
        """Another process makes the file between two looks at it."""

        def execute(self, statement, *arguments):
            if statement == "PRAGMA application_id":
                other = connect(path, timeout=0.0, isolation_level=None)
                with closing(other), suppress(sqlite3.OperationalError):  # locked: it has to wait for its turn
                    ProfileFile._make(other)
            return super().execute(statement, *arguments)

    path.parent.mkdir()
    monkeypatch.setattr(module.sqlite3, "connect", functools.partial(connect, factory=Interrupted))
    with ProfileFile(path, print)._opened() as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)


def test_processes_write_in_turn(path, said):
    top = str(Path(module.__file__).parents[2])
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(path), top], stdout=subprocess.PIPE) for _ in range(3)
    ]
    assert [writer.communicate(timeout=50)[0] for writer in writers] == [b""] * 3
    assert [writer.returncode for writer in writers] == [0] * 3
    assert len(ProfileFile(path, said.append).load(10_000).runs) == 120
    assert said == []


def test_judgements_are_kept_in_order_and_the_oldest_are_dropped(tmp_path, said, monkeypatch):
    monkeypatch.setattr(module, "_MOST_JUDGEMENTS", 3)
    file = ProfileFile(tmp_path / "p.sqlite", said.append)
    made = [Judgement("w", f"s{k}", "m", b"\x01\x00", k / 10) for k in range(5)]
    file.keep(judgements=made[:2])
    file.keep(judgements=made[2:])
    assert file.load(100).judgements == tuple(made[2:])
    assert said == []


def test_a_file_from_before_judgements_is_used_as_it_is(tmp_path, said):
    path = tmp_path / "p.sqlite"
    file = ProfileFile(path, said.append)
    file.keep([run()])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE judgements")
    assert len(file.load(100).runs) == 1
    file.keep(judgements=[Judgement("w", "s", "m", b"", 1.0)])
    assert len(file.load(100).runs) == len(file.load(100).judgements) == 1
    assert said == []


@pytest.mark.parametrize(("features", "score"), [(b"\x01", 0.5), ("text", 0.5), (b"", 2.0), (b"", "good")])
def test_a_judgement_that_somebody_else_wrote_is_left_out(tmp_path, said, features, score):
    path = tmp_path / "p.sqlite"
    file = ProfileFile(path, said.append)
    file.keep(judgements=[Judgement("w", "s", "m", b"", 1.0)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO judgements VALUES (9, 0.0, 'w', 's', 'm', ?, ?)", (features, score))
    assert [one.score for one in file.load(100).judgements] == [1.0]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE runs SET calls = 'many' WHERE number = 1",
        "UPDATE runs SET workflow = CAST(x'ff41' AS TEXT), content = x'00' WHERE number = 1",
        "UPDATE speeds SET at = 'long ago'",
        "UPDATE speeds SET tpot_s = -1.0",
        "UPDATE speeds SET tpot_count = 9e999",
        "UPDATE structures SET content = CAST(x'ff' AS TEXT)",
        "UPDATE judgements SET step = CAST(x'ff' AS TEXT)",
        "UPDATE weights SET loss = 'x'",
    ],
)
def test_a_row_that_nobody_of_us_wrote_costs_itself_at_most(file, said, damage):
    file.keep([run(), run()], [("w", PLAN)], [SPEED], [Judgement("w", "s", "m", b"ab", 0.5)])
    file.keep_weights("network", 5, 1.0, b"x")
    with closing(sqlite3.connect(file.path)) as connection, connection:
        connection.execute(damage)
    connection.close()
    held = file.load(1000)
    assert len(held.runs) == (1 if "runs" in damage else 2)
    assert len(held.speeds) == ("speeds" not in damage)
    assert len(held.structures) == ("structures" not in damage)
    assert len(held.weights) == ("weights" not in damage)
    assert file.summary().size_bytes > 0
    file.keep([run()])
    assert said == []


def test_damaged_names_of_tables_put_a_file_aside(file, said):
    file.keep([run()])
    held = file.path.read_bytes()
    file.path.write_bytes(held.replace(b"CREATE TABLE runs (number", b"CREATE TABLE runs \x84number"))
    with pytest.raises(StateUnavailable):
        file.summary()
    assert file.load(1000).runs == ()
    assert len(said) == 1
