"""Recorded runs, whatever file they stand in: our own log format, or a table with one row per call.

A table needs no more than token counts or arrivals. Which column says what is told by its name; `COLUMNS` has ours and
those of some public traces (Azure's LLM inference trace, Mooncake's, and tables of agent trajectories). Rows without a
run are runs of one call each.
"""

import json
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agentsched.errors import ConfigError
from agentsched.sim.traces.tables import FORMATS, Row, first_lines, read_rows
from agentsched.telemetry.parsing import parse_line
from agentsched.telemetry.reading import LogReading, read_log
from agentsched.telemetry.run_log import CallLog, RunLine, RunLog
from agentsched.telemetry.schema import FIELDS

__all__ = ["COLUMNS", "instant", "is_log", "read_arrivals", "read_runs", "read_trace"]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "run_id": ("run_id", "traj_id", "trajectory_id", "session_id", "conversation_id"),
    "workflow": ("workflow", "workload"),
    "step": ("step", "agent", "node"),
    "call_id": ("call_id",),
    "call_index": ("call_index", "step_idx", "turn"),
    "parents": ("parents",),
    "start_s": ("start_s",),
    "tool_s": ("tool_s",),
    "model": ("model",),
    "input_tokens": ("input_tokens", "prompt_tokens", "contexttokens", "input_length"),
    "output_tokens": ("output_tokens", "completion_tokens", "generatedtokens", "output_length"),
    "max_tokens": ("max_tokens",),
    "ttft_s": ("ttft_s",),
    "e2e_s": ("e2e_s",),
    "status": ("status",),
    "arrival_s": ("arrival_s", "timestamp"),
    "deadline_s": ("deadline_s",),
    "elapsed_s": ("elapsed_s",),
    "outcome": ("outcome",),
}
"""Field of a ``call`` or ``run`` line -> the names of the column that says it, in lower case; the first one counts."""

_OF_THE_RUN = ("arrival_s", "deadline_s", "elapsed_s", "outcome")
_KINDS = {field.name: field.kind for record in ("run", "call") for field in FIELDS[record]}
_MILLISECONDS = frozenset({"input_length", "output_length", "hash_ids"})
"""Columns of traces whose numeric ``timestamp`` counts milliseconds (Mooncake's)."""

_LOOKED_AT = 20
"""So many lines are looked at for one that tells what kind of file it is."""

_READ = frozenset(name for names in COLUMNS.values() for name in names) | _MILLISECONDS - {"hash_ids"}


def read_trace(source: str | os.PathLike[str]) -> LogReading:
    """Read recorded runs as leniently as their format allows: in a log, bad lines are skipped and told.

    Args:
        source: a decision log or trace in its format (rotated predecessors are read too), a directory of them, or a
            table (see `COLUMNS`).

    Raises:
        ConfigError: there is no such file, it holds no run, or a table's row is wrong; with file, line and field.
    """
    path = Path(source)
    if path.is_dir() or is_log(path):
        reading = read_log(path)
    elif not path.exists():
        raise ConfigError("no such file", file=str(path), allowed=f"a decision log, or {FORMATS}")
    else:
        reading = LogReading(runs=_read_table(path), files=(str(path),))
    if not reading.runs:
        if reading.problems:
            first = reading.problems[0]
            raise ConfigError(first.text, file=first.file, line=first.line or None)
        raise ConfigError("holds no run", file=str(path), allowed="at least one call or request")
    return reading


def read_runs(source: str | os.PathLike[str]) -> list[RunLog]:
    """The same for whoever must not lose a line: by arrival where the trace tells it, else in its order.

    Raises:
        ConfigError: as `read_trace`; also for any line of a log that cannot be read.
    """
    reading = read_trace(source)
    if reading.problems:
        first = reading.problems[0]
        raise ConfigError(first.text, file=first.file, line=first.line or None)
    return reading.runs


def read_arrivals(source: str | os.PathLike[str]) -> list[float]:
    """When the runs, or the requests, of a trace began: seconds since the first, ascending.

    Raises:
        ConfigError: as `read_runs`; or nothing in it says when anything began.
    """
    times = sorted(run.arrival_s for run in read_runs(source) if run.arrival_s is not None)
    if not times:
        allowed = " or ".join(COLUMNS["arrival_s"])
        raise ConfigError("tells no arrivals", field="arrival_s", file=str(source), allowed=f"a column {allowed}")
    return [at - times[0] for at in times]


# -- tables ----------------------------------------------------------------------------------------------------------


def is_log(path: Path) -> bool:
    """Whether a file, whatever it is called, holds records of the log format, as its first readable line tells."""
    if not path.is_file() or path.name.lower().removesuffix(".gz").endswith((".csv", ".parquet")):
        return False
    for text in first_lines(path, _LOOKED_AT):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            continue
        return isinstance(values, dict) and "record" in values
    return False


def _read_table(path: Path) -> list[RunLog]:
    runs: dict[str, RunLog] = {}
    told: dict[str, dict[str, Any]] = {}
    columns: dict[str, str] | None = None
    for row in read_rows(path, _READ):
        if columns is None or any(name not in columns for name in row.values):
            columns = _columns(row.values)
            _check_columns(columns, path, row)
        values = _canonical(row, columns, path)
        run_id = str(values.setdefault("run_id", str(row.line)))
        run = runs.setdefault(run_id, RunLog(run_id))
        of_run = told.setdefault(run_id, {})
        for name in _OF_THE_RUN:
            value = values.pop(name, None)
            if value is not None:
                of_run.setdefault(name, value)
        values.setdefault("call_index", len(run.calls))
        call = _parsed("call", values, path, row.line)
        assert isinstance(call, CallLog)
        run.calls.append(call)
    for run_id, run in runs.items():
        line = _parsed("run", {"run_id": run_id, "workflow": run.calls[0].workflow, **told[run_id]}, path, None)
        assert isinstance(line, RunLine)
        run.line = line
        run.calls.sort(key=lambda call: (call.start_s or 0.0, call.call_index or 0))
    return sorted(runs.values(), key=lambda run: run.arrival_s or 0.0)


def _columns(values: Mapping[str, Any]) -> dict[str, str]:
    """Column -> field, for every column of a row; fields that no column says are missing, other columns map to ''."""
    by_name = {name.lower(): name for name in values}
    made = dict.fromkeys(values, "")
    for field, names in COLUMNS.items():
        column = next((by_name[name] for name in names if name in by_name), None)
        if column is not None:
            made[column] = field
    return made


def _check_columns(columns: Mapping[str, str], path: Path, row: Row) -> None:
    if not {"output_tokens", "input_tokens", "arrival_s"} & set(columns.values()):
        allowed = ", ".join(names[0] for names in COLUMNS.values())
        raise ConfigError("no column tells tokens or arrivals", file=str(path), line=row.line, allowed=allowed)


def _canonical(row: Row, columns: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The row's values by our names; texts become what their fields hold."""
    values: dict[str, Any] = {}
    for column, value in row.values.items():
        field = columns[column]
        if not field:
            continue
        try:
            values[field] = _value(field, column, value, row.values)
        except ValueError as error:
            raise ConfigError(str(error), field=column, file=str(path), line=row.line) from None
    return values


def _value(field: str, column: str, value: Any, row: Mapping[str, Any]) -> Any:
    if field == "arrival_s":
        return instant(column, value, row)
    if field == "parents" and isinstance(value, str):
        return _parents(value)
    if isinstance(value, str) and _KINDS[field] in ("number", "count"):
        return _number(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def instant(column: str, value: Any, row: Mapping[str, Any]) -> float:
    """When something began, seconds, as a column of a table tells it: as a number, or as a date and time.

    Args:
        column: its name.
        value: what stands there.
        row: the row it is in; its columns tell traces that count milliseconds.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, datetime):
        at = value
    elif isinstance(value, str):
        try:
            return _number(value)
        except ValueError:
            try:
                at = datetime.fromisoformat(value)
            except ValueError:
                raise ValueError(f"{value[:40]!r} is neither a number of seconds nor a date and time") from None
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        milliseconds = column.lower() == "timestamp" and not _MILLISECONDS.isdisjoint(row)
        return value * 1e-3 if milliseconds else float(value)
    else:
        raise ValueError(f"{str(value)[:40]!r} is no instant")
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]!r} is not a finite number")
    return number


def _parents(text: str) -> list[str | int]:
    """``[0, 1]``, ``0;1`` or ``0 1``."""
    if text.startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is not a list") from None
        return list(found)
    return [int(part) if part.isdecimal() else part for part in text.replace(";", " ").split()]


def _parsed(record: str, values: Mapping[str, Any], path: Path, line: int | None) -> object:
    """Checked by the very tables of the log format."""
    text = json.dumps({"record": record, **values}, default=str)
    try:
        return parse_line(text)
    except ValueError as error:
        field, colon, message = str(error).partition(": ")
        if not colon:
            field, message = "", str(error)
        raise ConfigError(message, field=field or None, file=str(path), line=line) from None
