"""The file that keeps what was learned: SQLite, written by several processes in turn, never a reason to fail.

A file that is damaged, or of an older version, is renamed aside and made anew. One of a newer version, or a database of
somebody else, is left alone and not used.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import orjson

from agentsched import clock
from agentsched.core.quality import Judgement
from agentsched.core.structure import WorkflowStructure
from agentsched.errors import StateUnavailable
from agentsched.state.aside import inode_of, put_aside
from agentsched.state.experience import EndpointSpeed, PastLessons, unpacked_run
from agentsched.state.sqlite import readable_text, unforked

__all__ = ["NewRun", "ProfileFile", "ProfileSummary", "Profiles", "StoredWeights", "WorkflowSummary"]

T = TypeVar("T")

_VERSION = 1
_APPLICATION = 0x41475350
"""``AGSP``: tells our files from those of others, which are left alone."""

_BUSY_S = 2.0
_RUNS_OF_A_WORKFLOW = 400
_MOST_RUNS = 4_000
_MOST_JUDGEMENTS = 4_000
_VERSIONS_KEPT = 5
_SPEEDS_KEPT_S = 30 * 86_400.0
_MOST = 1e12
"""No figure of a speed, and no instant, is larger."""

_TABLES = """
CREATE TABLE runs (number INTEGER PRIMARY KEY AUTOINCREMENT, workflow TEXT NOT NULL, at REAL NOT NULL,
    calls INTEGER NOT NULL, content BLOB NOT NULL);
CREATE INDEX runs_of_workflow ON runs (workflow, number);
CREATE TABLE structures (workflow TEXT NOT NULL, content TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (workflow, content));
CREATE TABLE speeds (key TEXT PRIMARY KEY, name TEXT NOT NULL, tpot_s REAL NOT NULL, tpot_count REAL NOT NULL,
    ttft_idle_s REAL NOT NULL, ttft_count REAL NOT NULL, at REAL NOT NULL);
"""

_JUDGEMENTS = """
CREATE TABLE IF NOT EXISTS judgements (number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL,
    workflow TEXT NOT NULL, step TEXT NOT NULL, model TEXT NOT NULL, features BLOB NOT NULL, score REAL NOT NULL)
"""
_WEIGHTS = """
CREATE TABLE IF NOT EXISTS weights (version INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
    calls INTEGER NOT NULL, loss REAL NOT NULL, taken_back INTEGER NOT NULL, content BLOB NOT NULL)
"""
"""These came later: a file without them is none of an older version, and programs that do not know them leave them."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be kept: its workflow, how many calls it made, and what `packed_run` made of it."""

    workflow: str
    calls: int
    content: bytes


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """A trained forecaster (`agentsched.state.weights`); ``loss`` as it was judged when it was trained, tokens."""

    version: int
    kind: str
    calls: int
    loss: float
    content: bytes


@dataclass(frozen=True, slots=True)
class Profiles:
    """What a file holds. Runs and judgements are in the order in which they were kept."""

    runs: tuple[PastLessons, ...]
    structures: tuple[tuple[str, WorkflowStructure], ...]
    speeds: tuple[EndpointSpeed, ...]
    judgements: tuple[Judgement, ...] = ()
    weights: tuple[StoredWeights, ...] = ()
    """The newest version of each kind that was not taken back."""


@dataclass(frozen=True, slots=True)
class WorkflowSummary:
    """What a file holds of one workflow; ``age_s`` since its last run was kept, seconds."""

    workflow: str
    runs: int
    calls: int
    age_s: float


@dataclass(frozen=True, slots=True)
class ProfileSummary:
    """What a file holds, for people."""

    path: str
    size_bytes: int
    workflows: tuple[WorkflowSummary, ...]
    speeds: tuple[EndpointSpeed, ...]


class ProfileFile:
    """Opened anew for every use: nothing is held open, nothing is inherited by a forked child.

    Args:
        path: the file; it and its folder are made when something is first kept.
        announce: told in words when a file was put aside.
        wall: seconds since the epoch, the same clock for all processes.
    """

    def __init__(self, path: Path, announce: Callable[[str], None], wall: Callable[[], float] = clock.wall) -> None:
        self.path = path
        self._announce = announce
        self._wall = wall

    # -- reading -----------------------------------------------------------------------------------------------------

    def load(self, most_calls: int) -> Profiles:
        """What is kept: of the runs the newest, up to so many calls. Nothing if there is no file.

        Raises:
            StateUnavailable: the file cannot be opened (permissions, another process's lock).
        """
        if not self.path.exists():
            return Profiles((), (), ())
        return self._mended(lambda: self._load(most_calls))

    def _load(self, most_calls: int) -> Profiles:
        now = self._wall()
        with self._opened() as connection:
            packed: list[tuple[int, bytes]] = []
            room = most_calls
            for number, calls, content in connection.execute(
                "SELECT number, calls, content FROM runs WHERE typeof(calls) = 'integer' AND calls >= 0 "
                "ORDER BY number DESC"
            ):
                room -= calls
                if room < 0:
                    break
                packed.append((number, content))
            told = connection.execute("SELECT workflow, content FROM structures ORDER BY at").fetchall()
            speeds = self._speeds(connection, now)
            judged = self._judgements(connection)
            weights = self._weights(connection)
        runs = (_readable(partial(unpacked_run, content, f"past-{number}")) for number, content in reversed(packed))
        structures = ((workflow, _readable(partial(_structure, text))) for workflow, text in told)
        return Profiles(
            runs=tuple(run for run in runs if run is not None),
            structures=tuple((workflow, found) for workflow, found in structures if found is not None),
            speeds=speeds,
            judgements=tuple(one for one in judged if one is not None),
            weights=weights,
        )

    @staticmethod
    def _judgements(connection: sqlite3.Connection) -> list[Judgement | None]:
        if not _has(connection, "judgements"):
            return []
        rows = connection.execute("SELECT workflow, step, model, features, score FROM judgements ORDER BY number")
        return [_readable(partial(_judgement, row)) for row in rows]

    @staticmethod
    def _speeds(connection: sqlite3.Connection, now: float) -> tuple[EndpointSpeed, ...]:
        rows = connection.execute(
            "SELECT key, name, tpot_s, tpot_count, ttft_idle_s, ttft_count, at FROM speeds ORDER BY name"
        )
        speeds = (_readable(partial(_speed, row, now)) for row in rows)
        return tuple(speed for speed in speeds if speed is not None)

    @staticmethod
    def _weights(connection: sqlite3.Connection) -> tuple[StoredWeights, ...]:
        if not _has(connection, "weights"):
            return ()
        rows = connection.execute(
            "SELECT version, kind, calls, loss, content FROM weights WHERE NOT taken_back "
            "AND typeof(calls) = 'integer' AND typeof(loss) = 'real' AND typeof(content) = 'blob' ORDER BY version"
        )
        newest = {str(kind): StoredWeights(version, str(kind), *rest) for version, kind, *rest in rows}
        return tuple(newest.values())

    def summary(self) -> ProfileSummary:
        """What is kept, in numbers.

        Raises:
            StateUnavailable: as `load`; also if there is no file, or it is damaged: nothing is put aside.
        """
        if not self.path.exists():
            raise StateUnavailable(f"{self.path}: no such file")
        now = self._wall()
        try:
            with self._opened() as connection:
                rows = connection.execute(
                    "SELECT workflow, COUNT(*), SUM(calls), MAX(at) FROM runs WHERE typeof(calls) = 'integer' "
                    "AND typeof(at) = 'real' AND typeof(workflow) = 'text' GROUP BY workflow ORDER BY workflow"
                ).fetchall()
                speeds = self._speeds(connection, now)
        except (_Older, sqlite3.Error, UnicodeError) as error:
            raise StateUnavailable(f"{self.path}: {error}") from error
        workflows = tuple(WorkflowSummary(name, runs, calls, max(0.0, now - at)) for name, runs, calls, at in rows)
        return ProfileSummary(str(self.path), self.path.stat().st_size, workflows, speeds)

    # -- writing -----------------------------------------------------------------------------------------------------

    def keep(
        self,
        runs: Sequence[NewRun] = (),
        structures: Sequence[tuple[str, WorkflowStructure]] = (),
        speeds: Sequence[EndpointSpeed] = (),
        judgements: Sequence[Judgement] = (),
    ) -> None:
        """Add to the file; the oldest runs and judgements beyond its bounds are dropped.

        Raises:
            StateUnavailable: it cannot be written (a full disk, permissions, another process's lock).
        """
        self._mended(lambda: self._keep(runs, structures, speeds, judgements))

    def _keep(
        self,
        runs: Sequence[NewRun],
        structures: Sequence[tuple[str, WorkflowStructure]],
        speeds: Sequence[EndpointSpeed],
        judgements: Sequence[Judgement],
    ) -> None:
        now = self._wall()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                connection.executemany(
                    "INSERT INTO runs (workflow, at, calls, content) VALUES (?, ?, ?, ?)",
                    [(run.workflow, now, run.calls, run.content) for run in runs],
                )
                connection.executemany(
                    "INSERT OR REPLACE INTO structures VALUES (?, ?, ?)",
                    [
                        (name, orjson.dumps(told.to_json(), option=orjson.OPT_SORT_KEYS).decode(), now)
                        for name, told in structures
                    ],
                )
                connection.executemany(
                    "INSERT OR REPLACE INTO speeds VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(s.key, s.name, s.tpot_s, s.tpot_count, s.ttft_idle_s, s.ttft_count, now) for s in speeds],
                )
                connection.execute(_JUDGEMENTS)
                connection.executemany(
                    "INSERT INTO judgements (at, workflow, step, model, features, score) VALUES (?, ?, ?, ?, ?, ?)",
                    [(now, one.workflow, one.step, one.model, one.features, one.score) for one in judgements],
                )
                self._prune(connection, {run.workflow for run in runs}, now)

    def keep_weights(self, kind: str, calls: int, loss: float, content: bytes) -> int:
        """Keep a trained forecaster; answers its version. Of each kind the latest five versions stay.

        Raises:
            StateUnavailable: as `keep`.
        """
        return self._mended(lambda: self._keep_weights(kind, calls, loss, content))

    def _keep_weights(self, kind: str, calls: int, loss: float, content: bytes) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                connection.execute(_WEIGHTS)
                version = connection.execute(
                    "INSERT INTO weights (at, kind, calls, loss, taken_back, content) VALUES (?, ?, ?, ?, 0, ?)",
                    (self._wall(), kind, calls, loss, content),
                ).lastrowid
                connection.execute(
                    "DELETE FROM weights WHERE kind = ? AND version <= (SELECT version FROM weights WHERE kind = ? "
                    "ORDER BY version DESC LIMIT 1 OFFSET ?)",
                    (kind, kind, _VERSIONS_KEPT),
                )
        assert version is not None
        return version

    def take_weights_back(self, version: int) -> None:
        """A version is not to be used any more: the one before it is, if it is still there.

        Raises:
            StateUnavailable: as `keep`.
        """
        self._mended(lambda: self._take_weights_back(version))

    def _take_weights_back(self, version: int) -> None:
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                connection.execute(_WEIGHTS)
                connection.execute("UPDATE weights SET taken_back = 1 WHERE version = ?", (version,))

    @staticmethod
    def _prune(connection: sqlite3.Connection, workflows: set[str], now: float) -> None:
        for workflow in workflows:
            connection.execute(
                "DELETE FROM runs WHERE workflow = ? AND number <= (SELECT number FROM runs WHERE workflow = ? "
                "ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (workflow, workflow, _RUNS_OF_A_WORKFLOW),
            )
        connection.execute(
            "DELETE FROM runs WHERE number <= (SELECT number FROM runs ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (_MOST_RUNS,),
        )
        connection.execute(
            "DELETE FROM judgements WHERE number <= (SELECT number FROM judgements ORDER BY number DESC "
            "LIMIT 1 OFFSET ?)",
            (_MOST_JUDGEMENTS,),
        )
        connection.execute(
            "DELETE FROM structures WHERE rowid <= (SELECT rowid FROM structures ORDER BY at DESC LIMIT 1 OFFSET ?)",
            (_MOST_RUNS,),
        )
        connection.execute("DELETE FROM speeds WHERE at < ?", (now - _SPEEDS_KEPT_S,))

    # -- the file ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with unforked(), closing(sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)) as connection:
            connection.text_factory = readable_text
            connection.execute("BEGIN")  # one look: another process may be making the file
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            empty = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None
            connection.execute("COMMIT")
            if (version, application) == (0, 0) and empty:
                self._make(connection)
            elif application != _APPLICATION:
                raise StateUnavailable(f"{self.path}: not a file of learned profiles; it is left alone")
            elif version > _VERSION:
                raise StateUnavailable(f"{self.path}: of version {version}, newer than {_VERSION}; it is left alone")
            elif version < _VERSION:
                raise _Older(f"of version {version}")
            yield connection

    @staticmethod
    def _make(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # else another process was faster
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _mended(self, work: Callable[[], T]) -> T:
        """Do it; where the file cannot be used, put it aside and do it again with a new one."""
        try:
            before = inode_of(self.path)
            try:
                return work()
            except (_Older, sqlite3.DatabaseError, UnicodeError) as error:
                if not _damaged(error):
                    raise
                self._put_aside(error, before)
                return work()
        except (sqlite3.Error, OSError, UnicodeError, _Older) as error:
            raise StateUnavailable(f"{self.path}: {error}") from error

    def _put_aside(self, error: Exception, inode: int | None) -> None:
        if inode is None or inode_of(self.path) != inode:
            return  # another process was faster
        aside = put_aside(self.path, "old" if isinstance(error, _Older) else "corrupt")
        self._announce(f"{self.path} cannot be used ({error}): it was renamed to {aside.name}, and a new one begins")


class _Older(Exception):
    """The file is of an older version."""


def _damaged(error: Exception) -> bool:
    """Whether the file is at fault, and not the disk, the permissions or another process.

    A `UnicodeError` tells of names in the file that SQLite quotes and Python cannot read.
    """
    if isinstance(error, sqlite3.OperationalError):
        return "no such" in str(error) or "has no column" in str(error)
    return True


def _has(connection: sqlite3.Connection, table: str) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    return found is not None


def _readable(read: Callable[[], T]) -> T | None:
    """What one row holds; None: another program wrote it, or it is damaged, and the others may still be good."""
    try:
        return read()
    except ValueError:
        return None


def _speed(row: tuple[object, ...], now: float) -> EndpointSpeed:
    key, name, *figures = row
    told = [figure for figure in figures if isinstance(figure, float) and 0.0 <= figure < _MOST]
    if len(told) != len(figures):
        raise ValueError("not a speed")
    tpot_s, tpot_count, ttft_idle_s, ttft_count, at = told
    return EndpointSpeed(str(key), str(name), tpot_s, tpot_count, ttft_idle_s, ttft_count, max(0.0, now - at))


def _structure(text: str) -> WorkflowStructure:
    return WorkflowStructure.from_json(orjson.loads(text))


def _judgement(row: tuple[object, ...]) -> Judgement:
    workflow, step, model, features, score = row
    if not isinstance(features, bytes) or len(features) % 2 or not isinstance(score, float) or not 0.0 <= score <= 1.0:
        raise ValueError("not a judgement")
    return Judgement(str(workflow), str(step), str(model), features, score)
