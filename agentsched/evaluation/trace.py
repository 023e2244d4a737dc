"""Recorded calls, from the decision log's format or from tables, in one form.

A table (CSV, JSON Lines of objects, Parquet) has one row per answered call; rows without output tokens, or with 0 of
them, are left out. These columns are read, by any of their names in any case; only the output's is required:

| column | or | holds |
|---|---|---|
| `output_tokens` | `out_tokens`, `completion_tokens`, ... | generated tokens, an integer from 0 on |
| `run_id` | `traj_id`, `session_id`, ... | the run; without it every row is a run of its own |
| `workflow` | `workload` | the workflow's name |
| `step` | `agent`, `node` | the named place in it |
| `model` | | the requested model |
| `call_index` | `step_idx`, `turn` | 0-based position among the run's calls; without it the rows' order counts |
| `input_tokens` | `prompt_tokens`, ... | prompt tokens |
| `max_tokens` | | the caller's cap on generated tokens |
| `start_s` | `arrival_s`, `timestamp` | when the call began, seconds or a date; orders the runs |
| `prompt` | `last_input_text` | text of the prompt, or its end |

All names are those of `agentsched.sim.traces.reading` and `_NAMES`. Other columns are ignored. Log files and
directories of logs are those that `agentsched.telemetry.reading` reads; of their calls those count that were answered.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentsched.errors import ConfigError
from agentsched.sim.traces.reading import COLUMNS, instant, is_log
from agentsched.sim.traces.tables import FORMATS, Row, is_table, read_rows
from agentsched.telemetry.reading import LogReading, distinct, read_log
from agentsched.telemetry.run_log import CallLog

__all__ = ["TraceCall", "TraceRun", "read_trace"]

Remark = Callable[[str], None]

_MOST = 10**9
"""No call has more tokens, no run more calls, than this."""

_COUNT = f"an integer from 0 to {_MOST:,}"
_FILES = f"a decision log (*.jsonl, also packed, or a directory of them), or a table: {FORMATS}"
_SHOWN = 60
"""Characters that are shown of a value that is wrong."""


@dataclass(frozen=True, slots=True)
class TraceCall:
    """One answered call of a trace.

    Attributes:
        output_tokens: generated tokens.
        step, model, prompt: empty where unknown.
        input_tokens: 0 where unknown.
        max_tokens: None where there was none, or unknown.
        start_s: seconds, on whatever clock the trace has; None where unknown.
    """

    output_tokens: int
    step: str = ""
    model: str = ""
    input_tokens: int = 0
    max_tokens: int | None = None
    start_s: float | None = None
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class TraceRun:
    """One conversation: its calls in order."""

    run_id: str
    workflow: str
    calls: tuple[TraceCall, ...]

    @property
    def start_s(self) -> float | None:
        """When its first call began; None where unknown."""
        return self.calls[0].start_s


def read_trace(paths: Sequence[str | os.PathLike[str]], remark: Remark = lambda text: None) -> list[TraceRun]:
    """The runs in these files, in order of their start where it is told of all of a file's, else as they stand there.

    Args:
        paths: logs, directories of them, tables.
        remark: is told of lines of logs that could not be read and were left out.

    Raises:
        ConfigError: a file cannot be read, or a value in it is wrong (file, row and column are named); or no file
            holds an answered call.
    """
    runs: list[TraceRun] = []
    for source in distinct(paths):
        path = Path(source)
        if not path.exists():
            raise ConfigError("no such file", file=str(path), allowed=_FILES)
        found = _runs_of_table(path) if is_table(path) and not is_log(path) else _runs_of_log(path, remark)
        if all(run.start_s is not None for run in found):
            found.sort(key=lambda run: run.start_s or 0.0)
        runs += found
    if not runs:
        names = ", ".join(str(path) for path in paths)
        raise ConfigError("holds no answered call", file=names, allowed=_FILES)
    return runs


# -- logs ------------------------------------------------------------------------------------------------------------


def _runs_of_log(path: Path, remark: Remark) -> list[TraceRun]:
    reading = read_log(path)
    if reading.bad_lines:
        _tell_bad_lines(path, reading, remark)
    found = []
    for run in reading.runs:
        arrival_s = run.arrival_s or 0.0
        answered = [call for call in run.calls if call.status in ("ok", None) and call.output_tokens]
        if answered:
            calls = tuple(_call_of_log(path, call, arrival_s) for call in answered)
            found.append(TraceRun(run.run_id, run.workflow, calls))
    return found


def _tell_bad_lines(path: Path, reading: LogReading, remark: Remark) -> None:
    first, count = reading.problems[0], reading.bad_lines
    if not reading.runs:
        raise ConfigError(f"no line of a log: {first.text}", file=first.file, line=first.line or None, allowed=_FILES)
    remark(f"{path}: {count} unreadable line{'s' * (count > 1)} left out; the first: {first}")


def _call_of_log(path: Path, call: CallLog, arrival_s: float) -> TraceCall:
    for name in ("output_tokens", "input_tokens", "max_tokens"):
        given = getattr(call, name)
        if given is not None and given > _MOST:
            where = f"run {call.run_id}, call {call.call_index}, {name}"
            raise ConfigError("wrong value", file=str(path), field=where, given=_short(given), allowed=_COUNT)
    return TraceCall(
        output_tokens=call.output_tokens or 0,
        step=call.step or "",
        model=call.model or "",
        input_tokens=call.input_tokens or 0,
        max_tokens=call.max_tokens,
        start_s=None if call.start_s is None else call.start_s + arrival_s,
        prompt=call.prompt or "",
    )


# -- tables ----------------------------------------------------------------------------------------------------------


def _writable(name: str) -> str:
    """A name as it can be written: JSON may hold halves of characters, which no file and no terminal takes."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _text(column: str, value: Any, row: Mapping[str, Any]) -> str:
    return _writable(value if isinstance(value, str) else str(value))


def _prompt(column: str, value: Any, row: Mapping[str, Any]) -> str:
    return value if isinstance(value, str) else str(value)


def _count(column: str, value: Any, row: Mapping[str, Any]) -> int | None:
    if isinstance(value, bool):
        raise TypeError
    number = float(value)
    if math.isnan(number):
        return None
    if not (0 <= number <= _MOST and number.is_integer()):
        raise ValueError
    return int(number)


def _start(column: str, value: Any, row: Mapping[str, Any]) -> float | None:
    return None if str(value).lower() == "nan" else instant(column, value, row)


_Parse = Callable[[str, Any, Mapping[str, Any]], Any]
"""Reads a value of a column of a row.

Raises:
    TypeError, ValueError, OverflowError: it is wrong.
"""

_NAMES: Mapping[str, tuple[tuple[str, ...], _Parse, str]] = {
    "output_tokens": ((*COLUMNS["output_tokens"], "out_tokens"), _count, _COUNT),
    "run_id": (COLUMNS["run_id"], _text, "a text"),
    "workflow": (COLUMNS["workflow"], _text, "a text"),
    "step": (COLUMNS["step"], _text, "a text"),
    "model": (COLUMNS["model"], _text, "a text"),
    "call_index": (COLUMNS["call_index"], _count, _COUNT),
    "input_tokens": (COLUMNS["input_tokens"], _count, _COUNT),
    "max_tokens": (COLUMNS["max_tokens"], _count, _COUNT),
    "start_s": ((*COLUMNS["start_s"], *COLUMNS["arrival_s"]), _start, "a number of seconds, or a date and time"),
    "prompt": (("prompt", "last_input_text"), _prompt, "a text"),
}
"""Field -> (its columns' names in lower case, the first one counts; how to read a value; what is allowed)."""

_PLACES = {name: (field, place) for field, (names, _, _) in _NAMES.items() for place, name in enumerate(names)}


def _runs_of_table(path: Path) -> list[TraceRun]:
    runs: dict[tuple[str, str], list[tuple[int, TraceCall]]] = {}
    told, untold = False, None
    fields: dict[tuple[str, ...], Mapping[str, str]] = {}
    for row in read_rows(path, _PLACES):
        columns = tuple(row.values)
        if columns not in fields:
            fields[columns] = _fields(columns)
        values = _values(path, row, fields[columns])
        if "output_tokens" not in values:
            untold = untold or row
            continue
        told = True
        if values["output_tokens"]:
            run_id = values.get("run_id") or f"row {row.line}"
            calls = runs.setdefault((values.get("workflow") or "", run_id), [])
            place = values.get("call_index")
            calls.append((len(calls) if place is None else place, _call_of_row(values)))
    if untold is not None and not told:
        raise ConfigError(
            "no such column, or nothing in it",
            file=str(path),
            field="output_tokens",
            given=sorted(untold.values),
            allowed="one of " + ", ".join(_NAMES["output_tokens"][0]),
        )
    return [
        TraceRun(run_id, workflow, tuple(call for _, call in sorted(calls, key=lambda item: item[0])))
        for (workflow, run_id), calls in runs.items()
    ]


def _fields(columns: Sequence[str]) -> Mapping[str, str]:
    """The known fields among these columns, each with the column that tells it."""
    found: dict[str, tuple[int, str]] = {}
    for column in columns:
        field, place = _PLACES.get(column.lower(), ("", 0))
        if field and (field not in found or place < found[field][0]):
            found[field] = place, column
    return {field: column for field, (_, column) in found.items()}


def _values(path: Path, row: Row, fields: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field, column in fields.items():
        value = row.values[column]
        if value is None:
            continue
        _, parse, allowed = _NAMES[field]
        try:
            values[field] = parse(column, value, row.values)
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(
                "wrong value", file=str(path), line=row.line, field=column, given=_short(value), allowed=allowed
            ) from None
    return values


def _short(value: Any) -> Any:
    """What is shown of a value that is wrong."""
    text = str(value)
    return value if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _call_of_row(values: Mapping[str, Any]) -> TraceCall:
    return TraceCall(
        output_tokens=values["output_tokens"],
        step=values.get("step") or "",
        model=values.get("model") or "",
        input_tokens=values.get("input_tokens") or 0,
        max_tokens=values.get("max_tokens") or None,
        start_s=values.get("start_s"),
        prompt=values.get("prompt") or "",
    )
