"""The store of several processes on one machine: a SQLite file, which they write in turn and read at any time (WAL)."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agentsched import clock
from agentsched.core.shared import Posting
from agentsched.errors import StateUnavailable
from agentsched.forking import around_forks
from agentsched.state.aside import inode_of, put_aside

__all__ = ["SqliteStore", "readable_text", "unforked"]

_BUSY_S = 1.0
"""How long another process's transaction, which takes well under a millisecond, is waited for, seconds."""

_LONGEST_LIFE_S = 3600.0
"""No client lives longer without telling anything: such a row was written by nobody of us, or under another clock."""

_FOREIGN = """
DELETE FROM postings_1 WHERE NOT (
    typeof(content) = 'blob' AND typeof(posted_at) = 'real' AND typeof(expires_at) = 'real'
    AND posted_at <= :now + :ttl AND expires_at > :now AND expires_at < :now + :longest
)
"""
"""What is dead, or cannot be: what is posted in the future was posted before the clock was set back."""

_APPLICATION = 0x41475354
"""``AGST``: tells our files from those of others, which stay where they are whatever is wrong with them."""

_DAMAGES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_TABLE = """
CREATE TABLE IF NOT EXISTS postings_1 (
    client TEXT PRIMARY KEY, content BLOB NOT NULL, posted_at REAL NOT NULL, expires_at REAL NOT NULL
) WITHOUT ROWID
"""


_no_fork = threading.Lock()
"""Held while SQLite works: a child that is forked meanwhile would find its locks taken, and wait for ever."""


def _in_child() -> None:
    global _no_fork
    _no_fork = threading.Lock()


@contextmanager
def unforked() -> Iterator[None]:
    """Work with SQLite in here: no child is forked meanwhile."""
    with _no_fork:
        yield


around_forks(lambda: _no_fork.acquire(), lambda: _no_fork.release(), _in_child)


def readable_text(encoded: bytes) -> str:
    """A name that is no text costs its own row at most, not the others'."""
    return encoded.decode(errors="replace")


def _is_ours(path: Path) -> bool:
    """By the mark in its header; one of which a power cut has left zeros only is nobody's."""
    with path.open("rb") as opened:
        header = opened.read(100)
    return header[68:72] == _APPLICATION.to_bytes(4, "big") or (bool(header) and not any(header))


class SqliteStore:
    """Postings in a file on a disk of this machine: WAL does not work over a network.

    The file is made by whoever comes first, its folder too. One that is deleted meanwhile is made anew, one that is
    damaged is put aside first.

    Args:
        path: the file; beside it SQLite keeps two more, ``-wal`` and ``-shm``.
        wall: the clock by which postings age, the same for all processes, seconds.
    """

    def __init__(self, path: Path, wall: Callable[[], float] = clock.wall) -> None:
        self._path = path
        self._wall = wall
        self._connection: sqlite3.Connection | None = None
        self._file: int | None = None

    def exchange(self, own: Posting, ttl_s: float) -> list[Posting]:
        """See `StateStore.exchange`."""
        with self._transaction() as connection:
            now = self._wall()
            connection.execute(_FOREIGN, {"now": now, "ttl": ttl_s, "longest": _LONGEST_LIFE_S})
            connection.execute(
                "INSERT OR REPLACE INTO postings_1 VALUES (?, ?, ?, ?)", (own.client, own.content, now, now + ttl_s)
            )
            rows = connection.execute(
                "SELECT client, content, posted_at FROM postings_1 WHERE client != ?", (own.client,)
            )
            return [Posting(client, content, max(0.0, now - at)) for client, content, at in rows]

    def withdraw(self, client: str) -> None:
        """See `StateStore.withdraw`."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM postings_1 WHERE client = ?", (client,))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _no_fork:
            try:
                connection = self._opened()
                connection.execute("BEGIN IMMEDIATE")
                with connection:
                    yield connection
            except (sqlite3.Error, OSError, UnicodeError) as error:  # the last: names that a damaged file has in it
                self._let_go()
                raise StateUnavailable(f"{self._path}: {error}{self._mended(error)}") from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and not self._still_there():
            self._let_go()
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._connection = connection
            connection.text_factory = readable_text
            if connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")  # before WAL: it is in the file itself
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")  # what a power cut loses is expired when power is back
            connection.execute(_TABLE)
            self._file = inode_of(self._path)
        return self._connection

    def _still_there(self) -> bool:
        return self._file is not None and inode_of(self._path) == self._file

    def _mended(self, error: Exception) -> str:
        """Where a file of ours is damaged (SQLite does not wait for the disk here: a power cut may do that), put it
        aside: nobody else would, and its content is old in two seconds. Answers what was done, for people."""
        damaged = isinstance(error, UnicodeError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGES
        try:
            if not damaged or not _is_ours(self._path):
                return ""
            return f"; it was renamed to {put_aside(self._path, 'corrupt').name}, and a new one begins"
        except OSError as further:
            return f"; it cannot be renamed: {further}"

    def close(self) -> None:
        """See `StateStore.close`."""
        with _no_fork:
            self._let_go()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
