import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agentsched import clock
from agentsched.core.shared import Posting
from agentsched.errors import StateUnavailable
from agentsched.state import sqlite
from agentsched.state.sqlite import SqliteStore
from tests.state.conftest import Hands


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def test_a_deleted_file_is_made_anew(path: Path) -> None:
    one, two = SqliteStore(path), SqliteStore(path)
    one.exchange(Posting("one", b"1"), 9.0)
    for file in path.parent.iterdir():
        file.unlink()
    one.exchange(Posting("one", b"1"), 9.0)
    assert [heard.client for heard in two.exchange(Posting("two", b""), 9.0)] == ["one"]
    one.close()
    two.close()


def test_a_file_that_is_no_database_is_told_and_heals(path: Path) -> None:
    path.write_bytes(b"no database at all, and long enough to be looked at" * 100)
    store = SqliteStore(path)
    with pytest.raises(StateUnavailable, match=r"state\.db: file is not a database"):
        store.exchange(Posting("one", b""), 9.0)
    path.unlink()
    assert store.exchange(Posting("one", b""), 9.0) == []
    store.close()


DAMAGES = {
    "zeros, as a power cut leaves them": lambda held: bytes(len(held)),
    "a header": lambda held: b"SQLite Format 3" + held[15:],
    "cut off": lambda held: held[:4096],
    "pages": lambda held: held[:4096] + b"\xff" * (len(held) - 4096),
    "names that are no text": lambda held: held.replace(b"TABLE postings_1 (", b"TABLE postings_1 \x9a"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_put_aside_and_all_go_on(path: Path, damage: Callable[[bytes], bytes]) -> None:
    store = SqliteStore(path)
    store.exchange(Posting("dead", b"x" * 9000), 9.0)
    store.close()
    path.write_bytes(damage(path.read_bytes()))
    one, two = SqliteStore(path), SqliteStore(path)
    with pytest.raises(StateUnavailable, match=r"renamed to state\.db\.corrupt-1, and a new one begins"):
        one.exchange(Posting("one", b""), 9.0)
    assert one.exchange(Posting("one", b""), 9.0) == []
    assert [heard.client for heard in two.exchange(Posting("two", b""), 9.0)] == ["one"]
    one.close()
    two.close()


def test_somebody_elses_damaged_database_stays_where_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    path.write_bytes(path.read_bytes()[:4096])
    with pytest.raises(StateUnavailable, match="malformed"):
        SqliteStore(path).exchange(Posting("one", b""), 9.0)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_name_that_is_no_text_costs_nobody_else(path: Path) -> None:
    store, now = SqliteStore(path), clock.wall()
    store.exchange(Posting("one", b"1"), 9.0)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("INSERT INTO postings_1 VALUES (CAST(x'ff41' AS TEXT), x'', ?, ?)", (now, now + 9.0))
    other.close()
    assert {"one"} < {heard.client for heard in store.exchange(Posting("two", b""), 9.0)}
    store.close()


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "new" / "folder" / "state.db")
    assert store.exchange(Posting("one", b""), 9.0) == []
    store.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateUnavailable, match="file"):
        SqliteStore(tmp_path / "file" / "state.db").withdraw("one")


def test_rows_that_nobody_of_us_wrote_are_thrown_away(path: Path) -> None:
    store = SqliteStore(path)
    store.exchange(Posting("one", b"1"), 9.0)
    with closing(sqlite3.connect(path)) as other, other:
        now = clock.wall()
        for number, row in enumerate(
            [
                (b"", "text", now + 9.0),
                (b"", now, "text"),
                ("text", now, now + 9.0),
                (b"", now, 9e999),
                (5, now, now + 9),
            ]
        ):
            other.execute("INSERT INTO postings_1 VALUES (?, ?, ?, ?)", (f"foreign {number}", *row))
    other.close()
    assert [heard.client for heard in store.exchange(Posting("two", b""), 9.0)] == ["one"]
    store.close()


def test_a_table_of_another_shape_is_told(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE postings_1 (client TEXT PRIMARY KEY, content BLOB)")
    other.close()
    with pytest.raises(StateUnavailable, match="no such column"):
        SqliteStore(path).exchange(Posting("one", b""), 9.0)


def test_a_file_that_somebody_holds_is_told_and_heals(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_S", 0.01)
    store = SqliteStore(path)
    store.exchange(Posting("one", b""), 9.0)
    store.close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StateUnavailable, match="locked"):
        store.exchange(Posting("one", b""), 9.0)
    holder.rollback()
    holder.close()
    assert store.exchange(Posting("one", b""), 9.0) == []
    store.close()


def test_what_a_clock_that_was_set_back_left_does_not_stay_for_ever(path: Path, hands: Hands) -> None:
    one, two = SqliteStore(path, hands), SqliteStore(path, hands)
    one.exchange(Posting("dead", b""), 9.0)
    hands.advance(-3600.0)
    assert two.exchange(Posting("two", b""), 9.0) == []
    one.close()
    two.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_in_the_middle_of_an_exchange_can_use_the_file(path: Path) -> None:
    busy, over = SqliteStore(path), threading.Event()

    def work() -> None:
        while not over.is_set():
            busy.exchange(Posting("parent", b"x"), 60.0)
            over.wait(0.002)  # a writer without a pause would starve all others

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for number in range(20):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    heard = SqliteStore(path).exchange(Posting(f"child {number}", b""), 60.0)
                    status = 0 if "parent" in {posting.client for posting in heard} else 2
                finally:
                    os._exit(status)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        over.set()
        thread.join()
        busy.close()
