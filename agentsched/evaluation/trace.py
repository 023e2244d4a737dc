"""Recorded calls, from the decision log's format or from tables, in one form.

A table has one row per answered call; rows without output tokens, or with 0 of them, are left out. These columns are
read, by either name; only the output's is required:

| column | or | holds |
|---|---|---|
| `output_tokens` | `out_tokens` | generated tokens, an integer from 0 on |
| `run_id` | `traj_id` | the run; without it every row is a run of its own |
| `workflow` | `workload` | the workflow's name |
| `step` | `agent` | the named place in it |
| `model` | | the requested model |
| `call_index` | `step_idx` | 0-based position among the run's calls; without it the rows' order counts |
| `input_tokens` | `prompt_tokens` | prompt tokens |
| `max_tokens` | | the caller's cap on generated tokens |
| `start_s` | `arrival_s` | when the call began, seconds; orders the runs |
| `prompt` | `last_input_text` | text of the prompt, or its end |

Other columns are kept as they are (`TraceCall.extra`). Log files and directories of logs are those that
`agentsched.telemetry.reading` reads; of their calls those count that were answered.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentsched.errors import ConfigError
from agentsched.evaluation.tables import is_table, read_columns
from agentsched.telemetry.reading import read_log

__all__ = ["TraceCall", "TraceRun", "read_trace"]


@dataclass(frozen=True, slots=True)
class TraceCall:
    """One answered call of a trace.

    Attributes:
        output_tokens: generated tokens.
        step, model, prompt: empty where unknown.
        input_tokens: 0 where unknown.
        max_tokens: None where there was none, or unknown.
        start_s: seconds, on whatever clock the trace has; None where unknown.
        extra: columns or fields that the format does not name.
    """

    output_tokens: int
    step: str = ""
    model: str = ""
    input_tokens: int = 0
    max_tokens: int | None = None
    start_s: float | None = None
    prompt: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


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


def read_trace(paths: Sequence[str | os.PathLike[str]]) -> list[TraceRun]:
    """The runs in these files, in order of their start where it is told of all of a file's, else as they stand there.

    Raises:
        ConfigError: a file cannot be read, or a value in it has the wrong type (file, row and column are named); or no
            file holds an answered call.
    """
    runs: list[TraceRun] = []
    for source in paths:
        path = Path(source)
        found = _runs_of_table(path) if is_table(path) else _runs_of_log(path)
        if all(run.start_s is not None for run in found):
            found.sort(key=lambda run: run.start_s or 0.0)
        runs += found
    if not runs:
        names = ", ".join(str(path) for path in paths)
        raise ConfigError("holds no answered call", file=names, allowed="a decision log, or a CSV or Parquet table")
    return runs


# -- logs ------------------------------------------------------------------------------------------------------------


def _runs_of_log(path: Path) -> list[TraceRun]:
    found = []
    for run in read_log(path).runs:
        arrival_s = run.arrival_s
        calls = tuple(
            TraceCall(
                output_tokens=call.output_tokens,
                step=call.step or "",
                model=call.model or "",
                input_tokens=call.input_tokens or 0,
                max_tokens=call.max_tokens,
                start_s=None if call.start_s is None else call.start_s + (arrival_s or 0.0),
                prompt=call.prompt or "",
                extra=call.extra,
            )
            for call in run.calls
            if call.status in ("ok", None) and call.output_tokens
        )
        if calls:
            found.append(TraceRun(run.run_id, run.workflow or "", calls))
    return found


# -- tables ----------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else str(value)


def _number(value: Any) -> float | None:
    number = float(value)
    if math.isinf(number):
        raise ValueError
    return None if math.isnan(number) else number


def _count(value: Any) -> int | None:
    number = _number(value)
    if number is not None and (number < 0 or not number.is_integer()):
        raise ValueError
    return None if number is None else int(number)


_Parse = Callable[[Any], Any]

_COLUMNS: Mapping[str, tuple[tuple[str, ...], _Parse, str]] = {
    "output_tokens": (("output_tokens", "out_tokens"), _count, "an integer from 0 on"),
    "run_id": (("run_id", "traj_id"), _text, "a text"),
    "workflow": (("workflow", "workload"), _text, "a text"),
    "step": (("step", "agent"), _text, "a text"),
    "model": (("model",), _text, "a text"),
    "call_index": (("call_index", "step_idx"), _count, "an integer from 0 on"),
    "input_tokens": (("input_tokens", "prompt_tokens"), _count, "an integer from 0 on"),
    "max_tokens": (("max_tokens",), _count, "an integer from 0 on"),
    "start_s": (("start_s", "arrival_s"), _number, "a number"),
    "prompt": (("prompt", "last_input_text"), _text, "a text"),
}
"""Field -> (its columns' names, how to read a value, what is allowed)."""


class _Table:
    """A table's known fields, parsed value by value."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns = read_columns(path)
        self._named = {
            field: name
            for field, (names, _, _) in _COLUMNS.items()
            if (name := next((name for name in names if name in self._columns), None)) is not None
        }
        if "output_tokens" not in self._named:
            raise ConfigError(
                "no such column", file=str(path), field="output_tokens", given=sorted(self._columns), allowed="required"
            )
        self.rows = len(self._columns[self._named["output_tokens"]])
        self._extra = sorted(set(self._columns) - set(self._named.values()))

    def value(self, row: int, field: str) -> Any:
        """The value of a field; None where there is none."""
        name = self._named.get(field)
        value = None if name is None else self._columns[name][row]
        if value is None:
            return None
        _, parse, allowed = _COLUMNS[field]
        try:
            return parse(value)
        except (TypeError, ValueError):
            where = f"row {row + 1}, column {name}"
            raise ConfigError("wrong value", file=str(self._path), field=where, given=value, allowed=allowed) from None

    def extra(self, row: int) -> Mapping[str, Any]:
        """The columns that the format does not name."""
        return {name: self._columns[name][row] for name in self._extra}


def _runs_of_table(path: Path) -> list[TraceRun]:
    table = _Table(path)
    runs: dict[tuple[str, str], list[tuple[int, TraceCall]]] = {}
    for row in range(table.rows):
        tokens = table.value(row, "output_tokens")
        if not tokens:
            continue
        run_id = table.value(row, "run_id") or f"row {row + 1}"
        calls = runs.setdefault((table.value(row, "workflow") or "", run_id), [])
        place = table.value(row, "call_index")
        calls.append((len(calls) if place is None else place, _call(table, row, tokens)))
    return [
        TraceRun(run_id, workflow, tuple(call for _, call in sorted(calls, key=lambda item: item[0])))
        for (workflow, run_id), calls in runs.items()
    ]


def _call(table: _Table, row: int, tokens: int) -> TraceCall:
    return TraceCall(
        output_tokens=tokens,
        step=table.value(row, "step") or "",
        model=table.value(row, "model") or "",
        input_tokens=table.value(row, "input_tokens") or 0,
        max_tokens=table.value(row, "max_tokens") or None,
        start_s=table.value(row, "start_s"),
        prompt=table.value(row, "prompt") or "",
        extra=table.extra(row),
    )
