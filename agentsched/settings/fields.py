"""The kinds of values that a configuration file holds: what is accepted, and the JSON Schema of each."""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from agentsched.core.duration import parse_duration
from agentsched.errors import ConfigError
from agentsched.settings.environment import Resolved
from agentsched.settings.problems import Unquoted, shown

__all__ = [
    "NUMERIC",
    "Bytes",
    "Count",
    "Flag",
    "Number",
    "NumberOrZero",
    "Seconds",
    "SecondsOrZero",
    "Share",
    "Text",
    "Url",
    "WholeOrZero",
    "plain",
    "seconds_schema",
]

_SECONDS_TEXT = r"\+?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
_DURATION_TEXT = rf"\s*({_SECONDS_TEXT}|((\d+(\.\d+)?|\.\d+)\s*([mM][sS]|[sSmMhH])\s*)+)\s*$"
_NOT_ZERO = r"^(?=.*[1-9])"
_LONGEST_S = 1e9
_MOST_BYTES = 10**15
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|KiB|MB|MiB|GB|GiB)")
_SIZE_BYTES = {"B": 1, "kB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}


def _whole_number(value: object) -> object:
    """Texts from the environment count as the number they spell; every other value is left to pydantic."""
    number = _number(value)
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _number(value: object) -> object:
    if not isinstance(value, Resolved):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _flag(value: object) -> object:
    if not isinstance(value, Resolved):
        return value
    return {"true": True, "false": False}.get(value.strip().lower(), value)


def plain(value: object) -> object:
    """A value of which only its user knows whether it is to be a number, a flag or a text: from the environment it is
    what it spells."""
    flag = _flag(value)
    return _whole_number(value) if flag is value else flag


def _seconds(value: Any) -> object:
    return parse_duration(value, field="")


def _seconds_or_zero(value: Any) -> object:
    return parse_duration(value, field="", zero=True)


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return _whole_number(value)
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        number = _whole_number(value)
        if isinstance(number, int):
            return number
        raise ConfigError("not a size", given=shown(value), allowed='a number of bytes, or text such as "64 MiB"')
    return int(float(match[1]) * _SIZE_BYTES[match[2]])


def _no_blank(value: str) -> str:
    if not value.strip():
        raise ConfigError("empty", allowed="a non-empty text")
    return value


def _url(value: str) -> str:
    allowed = "http(s)://host[:port][/path]"
    try:
        url = urlsplit(value)
        _ = url.port  # raises ValueError when it is no number
    except ValueError:
        raise ConfigError("not a URL", given=shown(value), allowed=allowed) from None
    if url.username is not None or url.password is not None:
        raise ConfigError("holds credentials, which logs would show", given=Unquoted("not shown"), allowed="api_key")
    if url.scheme not in ("http", "https") or not url.hostname or re.search(r"\s", url.netloc):
        raise ConfigError("not a URL", given=shown(value), allowed=allowed)
    if url.query or url.fragment:
        raise ConfigError(
            "a query or fragment cannot be followed by a path", given=Unquoted("not shown"), allowed=allowed
        )
    return urlunsplit((url.scheme, url.netloc, re.sub(r"/{2,}", "/", url.path).rstrip("/"), "", ""))


def seconds_schema(*, zero: bool = False, **bounds: float) -> dict[str, Any]:
    """The JSON Schema of a duration; ``bounds`` are those of plain numbers, in JSON Schema's words."""
    lowest = {"minimum": 0.0} if zero else {"exclusiveMinimum": 0.0}
    number = {"type": "number", **lowest, "exclusiveMaximum": _LONGEST_S, **bounds}
    return {"anyOf": [number, {"type": "string", "pattern": ("^" if zero else _NOT_ZERO) + _DURATION_TEXT}]}


_SIZE_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "exclusiveMaximum": _MOST_BYTES},
        {"type": "string", "pattern": rf"{_NOT_ZERO}\s*({_SIZE.pattern})\s*$"},
    ]
}

Text = Annotated[str, Field(json_schema_extra={"minLength": 1}), AfterValidator(_no_blank)]
Url = Annotated[
    str, Field(json_schema_extra={"pattern": "^[hH][tT][tT][pP][sS]?://[^/?#]+[^?#]*$"}), AfterValidator(_url)
]
Flag = Annotated[bool, BeforeValidator(_flag)]
Count = Annotated[int, Field(gt=0, lt=10**12), BeforeValidator(_whole_number)]
WholeOrZero = Annotated[int, Field(ge=0, lt=10**6), BeforeValidator(_whole_number)]
NUMERIC = BeforeValidator(_number)
"""For numbers that have bounds of their own."""

Number = Annotated[float, Field(gt=0, lt=1e12), NUMERIC]
NumberOrZero = Annotated[float, Field(ge=0, lt=1e9), BeforeValidator(_number)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_number)]
Seconds = Annotated[float, Field(lt=_LONGEST_S), BeforeValidator(_seconds), WithJsonSchema(seconds_schema())]
SecondsOrZero = Annotated[
    float, Field(lt=_LONGEST_S), BeforeValidator(_seconds_or_zero), WithJsonSchema(seconds_schema(zero=True))
]
Bytes = Annotated[int, Field(gt=0, lt=_MOST_BYTES), BeforeValidator(_bytes), WithJsonSchema(_SIZE_SCHEMA)]
