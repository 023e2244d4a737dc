"""Reads decision logs and recorded traces: tolerant of bad lines, older files, gzip and several writers."""

import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from agentsched.errors import ConfigError
from agentsched.telemetry.parsing import Line, parse_line
from agentsched.telemetry.run_log import AttemptLog, CallLog, FeedbackLine, LostLine, NoteLine, RunLine, RunLog

__all__ = ["LogReading", "Problem", "Source", "distinct", "iter_lines", "log_files", "read_log"]

Source = str | os.PathLike[str]
"""A log file (its rotated predecessors are read too) or a directory of them."""

_Timed = TypeVar("_Timed", CallLog, AttemptLog)
_SHOWN_PROBLEMS = 100
_ROTATED = re.compile(r"\.(\d+)(\.gz)?")


@dataclass(frozen=True, slots=True)
class Problem:
    """A line, or (line 0) a whole file, that could not be read and was skipped."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


@dataclass(slots=True)
class LogReading:
    """What was read.

    Attributes:
        runs: by arrival; runs whose end is not in the log come too, without a ``line``.
        notes: by time.
        lost: records that the writers said they could not write.
        files: what was read, oldest first.
        bad_lines: how many lines were skipped.
        problems: the first of them, at most 100.
    """

    runs: list[RunLog] = field(default_factory=list)
    notes: list[NoteLine] = field(default_factory=list)
    lost: int = 0
    files: tuple[str, ...] = ()
    bad_lines: int = 0
    problems: list[Problem] = field(default_factory=list)

    def blame(self, problem: Problem) -> None:
        """Count a skipped line."""
        self.bad_lines += 1
        if len(self.problems) < _SHOWN_PROBLEMS:
            self.problems.append(problem)


def log_files(sources: Source | Sequence[Source]) -> list[str]:
    """The files to read for these sources, oldest first: rotated (``.2``, ``.1``) and compressed ones included.

    Raises:
        ConfigError: a source does not exist, or is a directory without logs.
    """
    found: list[str] = []
    for source in (sources,) if isinstance(sources, (str, os.PathLike)) else sources:
        path = Path(source)
        names = _in_directory(path) if path.is_dir() else _with_rotated(path)
        if not names:
            what = "holds no *.jsonl file" if path.is_dir() else "no such file"
            raise ConfigError(what, file=str(path), allowed="a decision log, or a directory that holds some")
        found += [name for name in names if name not in found]
    return found


def distinct(sources: Sequence[Source]) -> list[Source]:
    """These sources without those whose files all belong to others: ``log.jsonl*`` names rotated files twice."""
    paths = [Path(source) for source in sources]
    named = [(_in_directory(path) if path.is_dir() else _with_rotated(path)) or [str(path)] for path in paths]
    files = [{os.path.realpath(name) for name in names} for names in named]
    seen: set[str] = set()
    kept: set[int] = set()
    for number in sorted(range(len(files)), key=lambda k: -len(files[k])):
        if not files[number] <= seen:
            kept.add(number)
            seen |= files[number]
    return [source for number, source in enumerate(sources) if number in kept]


def iter_lines(files: Iterable[str], blame: Callable[[Problem], None], *, only: str = "") -> Iterator[Line]:
    """The lines of these files, in the files' order.

    Args:
        files: paths; those that end in ``.gz`` are unpacked.
        blame: told of each line that cannot be read; reading goes on after it.
        only: skip, unparsed, lines whose JSON does not contain this text.

    Raises:
        ConfigError: a file cannot be opened or read.
    """
    wanted = only.encode()
    for file in files:
        for number, text in _lines_of(file, blame):
            if wanted in text and not text.isspace():
                try:
                    line = parse_line(text)
                except ValueError as error:
                    blame(Problem(file, number, _why(text, error)))
                else:
                    yield line


def read_log(
    sources: Source | Sequence[Source], *, run_id: str = "", keep: Callable[[RunLog], bool] | None = None
) -> LogReading:
    """Read logs or traces and put their lines together to runs.

    Args:
        sources: see `Source`.
        run_id: read only runs whose id starts with this.
        keep: asked once per run, when all is read; runs it denies are left out.

    Raises:
        ConfigError: a source does not exist or cannot be read.
    """
    files = log_files(sources)
    reading = LogReading(files=tuple(files))
    runs: dict[str, RunLog] = {}
    for line in iter_lines(files, reading.blame, only=run_id if _same_in_json(run_id) else ""):
        if isinstance(line, NoteLine):
            reading.notes.append(line)
        elif isinstance(line, LostLine):
            reading.lost += line.records
        elif line.run_id.startswith(run_id):
            _add(runs, line)
    for run in runs.values():
        _settle(run)
    reading.runs = sorted(filter(keep, runs.values()), key=lambda run: run.arrival_s or 0.0)
    reading.notes.sort(key=lambda note: note.at_s or 0.0)
    return reading


def _same_in_json(text: str) -> bool:
    return text.isascii() and text.isprintable() and not set(text) & {'"', "\\"}


def _add(runs: dict[str, RunLog], line: RunLine | CallLog | AttemptLog | FeedbackLine) -> None:
    run = runs.get(line.run_id)
    if run is None:
        run = runs[line.run_id] = RunLog(line.run_id)
    if isinstance(line, CallLog):
        run.calls.append(line)
    elif isinstance(line, AttemptLog):
        run.attempts.append(line)
    elif isinstance(line, RunLine):
        run.line = line
    else:
        run.scores.append(line.score)


def _settle(run: RunLog) -> None:
    """Tell times within the run where only the wall clock was written, and put calls and attempts in order."""
    arrival_s = run.arrival_s
    if arrival_s is not None:
        run.calls = [_within(call, arrival_s) for call in run.calls]
        run.attempts = [_within(attempt, arrival_s) for attempt in run.attempts]
    run.calls.sort(key=lambda call: (call.start_s or 0.0, call.call_index or 0))
    run.attempts.sort(key=lambda attempt: attempt.start_s or 0.0)


def _within(one: _Timed, arrival_s: float) -> _Timed:
    if one.start_s is None and one.at_s is not None:
        return one._replace(start_s=max(0.0, round(one.at_s - arrival_s, 6)))
    return one


def _with_rotated(path: Path) -> list[str]:
    """``path`` and the files beside it that were once it: the highest number is the oldest."""
    older: list[tuple[int, str]] = []
    if path.parent.is_dir():
        for name in os.listdir(path.parent):
            match = _ROTATED.fullmatch(name[len(path.name) :]) if name.startswith(path.name) else None
            if match:
                older.append((int(match[1]), str(path.parent / name)))
    return [name for _, name in sorted(older, reverse=True)] + ([str(path)] if path.exists() else [])


def _in_directory(path: Path) -> list[str]:
    names: list[str] = []
    for name in sorted({re.sub(r"(\.jsonl)(\.\d+)?(\.gz)?$", r"\1", one) for one in os.listdir(path)}):
        if name.endswith(".jsonl"):
            packed = path / (name + ".gz")
            names += ([str(packed)] if packed.exists() else []) + _with_rotated(path / name)
    return names


def _lines_of(file: str, blame: Callable[[Problem], None]) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(file, "rb") if file.endswith(".gz") else open(file, "rb") as opened:
            for number, text in enumerate(opened, start=1):
                yield number, text
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        blame(Problem(file, number + 1, f"damaged gzip: {error}"))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", file=file) from error


def _why(text: bytes, error: ValueError) -> str:
    if not text.endswith(b"\n"):
        return f"unfinished line: {error}"
    return str(error)
