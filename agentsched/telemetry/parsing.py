"""One line of a decision log or trace, checked field by field and turned into its tuple."""

import json
import math
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar, get_args

from agentsched.telemetry.run_log import (
    AttemptLog,
    CallLog,
    DecisionEntry,
    FeedbackLine,
    LostLine,
    NoteLine,
    ReviewEntry,
    RunLine,
    SloEntry,
)
from agentsched.telemetry.schema import (
    DECISION_FIELDS,
    FIELDS,
    REVIEW_FIELDS,
    SCHEMA_VERSION,
    SLO_FIELDS,
    Field,
    FieldKind,
    RecordKind,
)

__all__ = ["Line", "parse_line"]

Line = RunLine | CallLog | AttemptLog | NoteLine | FeedbackLine | LostLine
"""What a line can say."""

_Tuple = TypeVar("_Tuple", bound=NamedTuple)
_NOTHING: dict[str, Any] = {}


def parse_line(text: bytes | str) -> Line:
    """Read one line.

    Args:
        text: one JSON object; null and absent fields are the same, unknown ones are kept in ``extra``.

    Raises:
        ValueError: it is no JSON object, of an unknown kind or newer version, or a field is not what its table says.
    """
    try:
        raw = json.loads(text.strip())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ValueError("not a JSON object")
    kind, version = raw.pop("record", None), raw.pop("schema", SCHEMA_VERSION)
    shape = _LINES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        raise ValueError(f"record: {_short(kind)} is none of {', '.join(get_args(RecordKind))}")
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        raise ValueError(f"schema: {_short(version)} is not known to this version (it reads 1 to {SCHEMA_VERSION})")
    line: Line = shape.read(raw)
    return line


class _Shape(Generic[_Tuple]):
    """A tuple type and the parser of each of its fields."""

    def __init__(self, made: type[_Tuple], fields: tuple[Field, ...]) -> None:
        self._make = made._make
        table, defaults = {field.name: field for field in fields}, made._field_defaults
        self._parsers = [
            (name, _PARSERS[table[name].kind], defaults.get(name), table[name].required)
            for name in made._fields
            if name != "extra"
        ]

    def read(self, raw: Any) -> _Tuple:
        """Check ``raw``, which is used up: what is left of it is the tuple's ``extra``."""
        if not isinstance(raw, dict):
            raise ValueError(f"{_short(raw)} is not an object")
        values = []
        for name, parse, default, required in self._parsers:
            value = raw.pop(name, None)
            if value is not None:
                try:
                    value = parse(value)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from None
            if value is None:
                if required:
                    raise ValueError(f"{name}: missing")
                value = default
            values.append(value)
        values.append(raw or _NOTHING)
        return self._make(values)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _wrong(value: Any, allowed: str) -> ValueError:
    return ValueError(f"{_short(value)} is not {allowed}")


def _text(value: Any) -> str:
    if isinstance(value, str):
        # JSON may hold halves of characters, which no file and no terminal takes.
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    raise _wrong(value, "a text")


def _id(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _wrong(value, "a text or an integer")


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            raise _wrong(value, "a number below 1e308") from None
        return number if math.isfinite(number) else None
    raise _wrong(value, "a number")


def _count(value: Any) -> int | None:
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, float) and value >= 0 and value.is_integer():
        return int(value)
    raise _wrong(value, "an integer from 0 on")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(value, "true or false")


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    raise _wrong(value, "a list")


def _parent(value: Any) -> str | int:
    return value if type(value) is int else _id(value)


def _rival(value: Any) -> tuple[str, float | None]:
    pair = _list(value)
    if len(pair) != 2:
        raise _wrong(value, "[name, score]")
    return _text(pair[0]), None if pair[1] is None else _number(pair[1])


_SLO: "_Shape[SloEntry]"
_DECISION: "_Shape[DecisionEntry]"
_REVIEW: "_Shape[ReviewEntry]"

_PARSERS: dict[FieldKind, Callable[[Any], Any]] = {
    "id": _id,
    "text": _text,
    "number": _number,
    "count": _count,
    "flag": _flag,
    "texts": lambda value: tuple(_text(one) for one in _list(value)),
    "ids": lambda value: tuple(_parent(one) for one in _list(value)),
    "rivals": lambda value: tuple(_rival(one) for one in _list(value)),
    "slo": lambda value: _SLO.read(value),
    "decisions": lambda value: tuple(_DECISION.read(one) for one in _list(value)),
    "reviews": lambda value: tuple(_REVIEW.read(one) for one in _list(value)),
}

_SLO = _Shape(SloEntry, SLO_FIELDS)
_DECISION = _Shape(DecisionEntry, DECISION_FIELDS)
_REVIEW = _Shape(ReviewEntry, REVIEW_FIELDS)
_LINES: dict[str, _Shape[Any]] = {
    "run": _Shape(RunLine, FIELDS["run"]),
    "call": _Shape(CallLog, FIELDS["call"]),
    "attempt": _Shape(AttemptLog, FIELDS["attempt"]),
    "note": _Shape(NoteLine, FIELDS["note"]),
    "feedback": _Shape(FeedbackLine, FIELDS["feedback"]),
    "lost": _Shape(LostLine, FIELDS["lost"]),
}
