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
]

_DURATION_TEXT = r"^\s*((\d+(\.\d+)?|\.\d+)\s*([mM][sS]|[sSmMhH])?\s*)+$"
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


def _seconds(value: Any) -> object:
    return parse_duration(value, field="")


def _seconds_or_zero(value: Any) -> object:
    return parse_duration(value, field="", zero=True)


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
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
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError("not a URL", given=shown(value), allowed=allowed)
    if url.query or url.fragment:
        raise ConfigError(
            "a query or fragment cannot be followed by a path", given=Unquoted("not shown"), allowed=allowed
        )
    return urlunsplit((url.scheme, url.netloc, re.sub(r"/{2,}", "/", url.path).rstrip("/"), "", ""))


_DURATION_SCHEMA = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": _DURATION_TEXT}]}
_ZERO_SCHEMA = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _DURATION_TEXT}]}
_SIZE_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": rf"^\s*({_SIZE.pattern})\s*$"}]
}

Text = Annotated[str, Field(json_schema_extra={"minLength": 1}), AfterValidator(_no_blank)]
Url = Annotated[str, Field(json_schema_extra={"pattern": "^https?://"}), AfterValidator(_url)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Count = Annotated[int, Field(gt=0, lt=10**12), BeforeValidator(_whole_number)]
WholeOrZero = Annotated[int, Field(ge=0, lt=10**6), BeforeValidator(_whole_number)]
NUMERIC = BeforeValidator(_number)
"""For numbers that have bounds of their own."""

Number = Annotated[float, Field(gt=0, lt=1e12), NUMERIC]
NumberOrZero = Annotated[float, Field(ge=0, lt=1e9), BeforeValidator(_number)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_number)]
Seconds = Annotated[float, Field(lt=1e9), BeforeValidator(_seconds), WithJsonSchema(_DURATION_SCHEMA)]
SecondsOrZero = Annotated[float, Field(lt=1e9), BeforeValidator(_seconds_or_zero), WithJsonSchema(_ZERO_SCHEMA)]
Bytes = Annotated[int, Field(gt=0, lt=10**15), BeforeValidator(_bytes), WithJsonSchema(_SIZE_SCHEMA)]
