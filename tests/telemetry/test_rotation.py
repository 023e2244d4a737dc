import multiprocessing
import os
from collections import deque
from pathlib import Path

import pytest

from agentsched.errors import ConfigError
from agentsched.telemetry.rotation import AppendFile


def lines_in(*paths):
    return [line for path in paths if os.path.exists(path) for line in Path(path).read_bytes().splitlines()]


def append(file, *lines):
    waiting = deque(lines)
    file.append(waiting)
    assert not waiting
    file.close()


def test_files_stay_below_the_bound_and_the_oldest_goes(tmp_path):
    path = tmp_path / "log.jsonl"
    append(AppendFile(str(path), max_bytes=30, backups=2), *(b"line %d....\n" % i for i in range(10)))
    assert sorted(os.listdir(tmp_path)) == ["log.jsonl", "log.jsonl.1", "log.jsonl.2"]
    assert lines_in(f"{path}.2", f"{path}.1", path) == [b"line %d...." % i for i in range(4, 10)]


def test_a_line_above_the_bound_gets_its_own_file(tmp_path):
    path = tmp_path / "log.jsonl"
    append(AppendFile(str(path), max_bytes=10, backups=9), b"a\n", b"x" * 50 + b"\n", b"b\n")
    assert [lines_in(f"{path}.2"), lines_in(f"{path}.1"), lines_in(path)] == [[b"a"], [b"x" * 50], [b"b"]]


def test_zero_means_no_rotation(tmp_path):
    path = tmp_path / "log.jsonl"
    append(AppendFile(str(path), max_bytes=0, backups=1), *([b"x" * 1000 + b"\n"] * 3000))
    assert len(lines_in(path)) == 3000
    assert os.listdir(tmp_path) == ["log.jsonl"]


def test_without_backups_the_old_lines_go(tmp_path):
    path = tmp_path / "log.jsonl"
    append(AppendFile(str(path), max_bytes=5, backups=0), b"a\n", b"b\n", b"c\n")
    assert os.listdir(tmp_path) == ["log.jsonl"]
    assert lines_in(path) == [b"c"]


@pytest.mark.parametrize(("bounds", "field"), [({"max_bytes": -1}, "log.max_bytes"), ({"backups": -1}, "log.backups")])
def test_bad_bounds_are_named(bounds, field):
    with pytest.raises(ConfigError, match=field):
        AppendFile("x", **({"max_bytes": 1, "backups": 1} | bounds))


def test_a_line_that_somebody_left_torn_spoils_no_other(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'whole\n{"half')
    append(AppendFile(str(path), max_bytes=1000, backups=1), b"next\n")
    assert lines_in(path) == [b"whole", b'{"half', b"next"]


def test_a_short_write_keeps_the_lines_that_are_not_in_the_file(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    file, waiting, write = (
        AppendFile(str(path), max_bytes=0, backups=1),
        deque([b"one\n", b"two\n", b"three\n"]),
        os.write,
    )
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:6]))
    with pytest.raises(OSError, match="only a part"):
        file.append(waiting)
    monkeypatch.undo()
    assert list(waiting) == [b"two\n", b"three\n"]
    append(file, *waiting)
    assert lines_in(path) == [b"one", b"tw", b"two", b"three"]


def test_a_file_that_was_moved_or_deleted_is_made_anew(tmp_path):
    path = tmp_path / "log.jsonl"
    file = AppendFile(str(path), max_bytes=1000, backups=1)
    file.append(deque([b"one\n"]))
    os.rename(path, tmp_path / "moved")
    file.append(deque([b"two\n"]))
    os.remove(path)
    append(file, b"three\n")
    assert (lines_in(tmp_path / "moved"), lines_in(path)) == ([b"one"], [b"three"])


def test_the_directory_is_made(tmp_path):
    append(AppendFile(str(tmp_path / "a" / "b" / "log.jsonl"), max_bytes=9, backups=1), b"x\n")
    assert lines_in(tmp_path / "a" / "b" / "log.jsonl") == [b"x"]


def _write_many(path, name, count):
    file = AppendFile(path, max_bytes=2_000, backups=500)
    for i in range(count):
        file.append(deque([b"%s %d %s\n" % (name, i, b"." * 20)]))
    file.close()


def test_processes_that_share_and_rotate_a_file_lose_nothing(tmp_path):
    path = str(tmp_path / "log.jsonl")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_many, args=(path, name, 1500)) for name in (b"one", b"two", b"three")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    seen = [tuple(line.split()[:2]) for name in os.listdir(tmp_path) for line in lines_in(tmp_path / name)]
    assert len(seen) == 4500
    assert set(seen) == {(name, b"%d" % i) for name in (b"one", b"two", b"three") for i in range(1500)}
    assert max(os.path.getsize(tmp_path / name) for name in os.listdir(tmp_path)) <= 2_000
    assert len(os.listdir(tmp_path)) > 40
