import json
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agentsched.core.records import Note
from agentsched.errors import ConfigError
from agentsched.telemetry.decision_log import DecisionLog
from agentsched.telemetry.encoding import LogEncoder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


@pytest.fixture
def open_log(path):
    """Opens decision logs that are closed after the test."""
    opened = []

    def open_one(where=path, **over):
        opened.append(DecisionLog(where, **over))
        return opened[-1]

    yield open_one
    for log in opened:
        log.close()


def read(path):
    return [json.loads(line) for line in Path(path).read_bytes().splitlines()]


@pytest.fixture
def gate(monkeypatch):
    """Holds the writer thread inside the first record until it is opened."""
    entered, opened, line = threading.Event(), threading.Event(), LogEncoder.line

    def held(self, record):
        entered.set()
        assert opened.wait(20)
        return line(self, record)

    monkeypatch.setattr(LogEncoder, "line", held)
    yield entered, opened
    opened.set()


@pytest.fixture
def full_disk(monkeypatch):
    """While set, every write fails as on a full disk."""
    full, write = threading.Event(), os.write

    def refuse(fd, data):
        if full.is_set() and bytes(data[:1]) == b"{":
            raise OSError(28, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", refuse)
    monkeypatch.setattr("agentsched.telemetry.writer._RETRY_S", (0.01, 0.01))
    return full


def test_records_become_lines_in_their_order(make, path, open_log):
    log = open_log()
    for record in (make.run_opened(), make.decision(), make.attempt(), make.call_ended(), make.run_closed()):
        log.emit(record)
    assert log.flush()
    assert [line["record"] for line in read(path)] == ["attempt", "call", "run"]


def test_wall_clock_comes_from_the_offset(path, open_log):
    log = open_log(wall_offset_s=1000.0)
    log.emit(Note(1.5, "a", "b"))
    assert log.flush()
    assert read(path)[0]["at_s"] == 1001.5


def test_nothing_is_made_before_the_first_record(path, open_log):
    log = open_log()
    assert repr(log) == f"DecisionLog({str(path)!r}, idle)"
    assert log.flush()
    log.close()
    assert not path.exists()


def test_closing_writes_what_is_queued_and_a_later_record_opens_it_anew(path, open_log):
    log = open_log()
    for i in range(5000):
        log.emit(Note(float(i), "a", "b"))
    log.close()
    log.close()
    assert len(read(path)) == 5000
    assert not [thread for thread in threading.enumerate() if thread.name == "agentsched-log"]
    log.emit(Note(0.0, "late", ""))
    assert repr(log).endswith("writing)")
    log.close()
    assert read(path)[-1]["subject"] == "late"


def test_a_full_queue_drops_counts_and_says_so_once(path, open_log, gate, caplog):
    log, (entered, opened) = open_log(capacity=10), gate
    log.emit(Note(0.0, "first", ""))
    assert entered.wait(5)
    for i in range(25):
        log.emit(Note(float(i), "next", ""))
    opened.set()
    assert log.flush()
    lines = read(path)
    assert [line["record"] for line in lines] == ["note"] * 11 + ["lost"]
    assert lines[-1]["records"] == 15
    assert [record.message for record in caplog.records if "15 records were lost" in record.message]


def test_emit_does_not_wait_for_a_stuck_writer(open_log, gate):
    log, (entered, opened) = open_log(), gate
    log.emit(Note(0.0, "first", ""))
    assert entered.wait(5)
    log.emit(Note(0.0, "second", ""))  # would hang here
    assert not log.flush(timeout_s=0.01)
    assert not opened.is_set()


def test_what_is_no_record_is_counted_and_the_rest_is_written(path, open_log, caplog):
    log = open_log()
    log.emit(object())
    log.emit(Note(0.0, "a", "b"))
    assert log.flush()
    assert [line["record"] for line in read(path)] == ["note", "lost"]
    assert "not a record of the decision log: object" in caplog.text


def test_a_full_disk_is_announced_once_and_nothing_is_lost_when_it_clears(path, open_log, full_disk, caplog):
    log = open_log()
    full_disk.set()
    for i in range(20):
        log.emit(Note(float(i), "a", "b"))
        assert not log.flush(timeout_s=0.02)
    full_disk.clear()
    assert log.flush()
    offsets = [line["at_s"] - read(path)[0]["at_s"] for line in read(path)]
    assert offsets == pytest.approx(list(range(20)), abs=1e-5)
    assert len([r for r in caplog.records if "cannot be written" in r.message]) == 1
    assert len([r for r in caplog.records if "can be written again" in r.message]) == 1


def test_what_a_long_outage_cost_is_told_in_the_log(path, open_log, full_disk):
    log = open_log(capacity=10)
    full_disk.set()
    log.emit(Note(0.0, "held", ""))
    assert not log.flush(timeout_s=0.3)
    for i in range(30):
        log.emit(Note(float(i), "next", ""))
    full_disk.clear()
    assert log.flush()
    kinds = [line["record"] for line in read(path)]
    lost = sum(line["records"] for line in read(path) if line["record"] == "lost")
    assert kinds.count("note") + lost == 31
    assert lost >= 15


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_dev_full_costs_the_caller_nothing(open_log, caplog, monkeypatch):
    log = open_log("/dev/full")
    log.emit(Note(0.0, "a", "b"))
    assert not log.flush(timeout_s=0.2)
    log.close()
    assert "No space left on device" in caplog.text
    assert "closed with 1 records unwritten" in caplog.text


def test_an_unwritable_path_costs_the_caller_nothing(tmp_path, open_log, caplog):
    (tmp_path / "file").write_text("")
    log = open_log(tmp_path / "file" / "log.jsonl")
    log.emit(Note(0.0, "a", "b"))
    log.close()
    assert "cannot be written" in caplog.text


def test_without_a_thread_calls_go_on(path, open_log, monkeypatch, caplog):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    log = open_log()
    for _ in range(3):
        log.emit(Note(0.0, "a", "b"))
    assert log.flush()
    assert [record.message for record in caplog.records] == [
        f"decision log {path}: nothing is written any more: can't start new thread"
    ]


@pytest.mark.parametrize("bad", [{"capacity": 0}, {"max_bytes": -5}, {"backups": True}])
def test_bad_bounds_are_named(path, bad):
    with pytest.raises(ConfigError, match=rf"log\.{next(iter(bad))}"):
        DecisionLog(path, **bad)


def test_threads_may_emit_at_once(path, open_log):
    log = open_log(capacity=100_000, max_bytes=100_000, backups=100)
    threads = [
        threading.Thread(target=lambda n=n: [log.emit(Note(float(i), f"t{n}", "")) for i in range(1000)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.flush()
    lines = [line for name in os.listdir(path.parent) for line in read(path.parent / name)]
    assert len({(line["subject"], line["at_s"]) for line in lines}) == len(lines) == 4000
    assert len(os.listdir(path.parent)) > 2


def test_a_process_that_just_ends_has_written_everything(path):
    code = (
        "import sys\nfrom agentsched.core.records import Note\n"
        "from agentsched.telemetry.decision_log import DecisionLog\n"
        "log = DecisionLog(sys.argv[1])\nfor i in range(100): log.emit(Note(0.0, 'a', 'b'))"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=30)
    assert len(read(path)) == 100


def _emit_some(log, name):
    for i in range(50):
        log.emit(Note(float(i), name, ""))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_the_child_of_a_fork_writes_with_its_own_thread(path, open_log):
    log = open_log()
    log.emit(Note(0.0, "before", ""))
    workers = [
        multiprocessing.get_context("fork").Process(target=_emit_some, args=(log, f"child-{i}")) for i in range(3)
    ]
    for worker in workers:
        worker.start()
    _emit_some(log, "parent")
    for worker in workers:
        worker.join(20)
        assert worker.exitcode == 0
    assert log.flush()
    subjects = [line["subject"] for line in read(path)]
    counts = {name: subjects.count(name) for name in set(subjects)}
    assert counts == {"before": 1, "parent": 50, "child-0": 50, "child-1": 50, "child-2": 50}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_what_was_queued_before_a_fork_is_written_once(path, open_log, gate):
    log, (entered, opened) = open_log(), gate
    log.emit(Note(0.0, "queued", ""))
    assert entered.wait(5)
    child = os.fork()
    if child == 0:
        opened.set()
        log.emit(Note(0.0, "child", ""))
        os._exit(0 if log.flush() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    opened.set()
    assert log.flush()
    assert sorted(line["subject"] for line in read(path)) == ["child", "queued"]
