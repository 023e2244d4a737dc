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

__all__ = ["SqliteStore", "unforked"]

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


class SqliteStore:
    """Postings in a file on a disk of this machine: WAL does not work over a network.

    The file is made by whoever comes first, its folder too. One that is deleted meanwhile is made anew.

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
            except (sqlite3.Error, OSError) as error:
                self._let_go()
                raise StateUnavailable(f"{self._path}: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and not self._still_there():
            self._let_go()
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._connection = connection
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")  # what a power cut loses is expired when power is back
            connection.execute(_TABLE)
            self._file = self._path.stat().st_ino
        return self._connection

    def _still_there(self) -> bool:
        try:
            return self._path.stat().st_ino == self._file
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """See `StateStore.close`."""
        with _no_fork:
            self._let_go()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
