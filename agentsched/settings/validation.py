"""Checking a document against the format: every mistake, in the words of the format, at its line."""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from agentsched.errors import ConfigError
from agentsched.settings.document import Document
from agentsched.settings.environment import Resolved
from agentsched.settings.file_format import PoolFile
from agentsched.settings.json_schema import properties_at
from agentsched.settings.problems import Loc, Unquoted, shown

__all__ = ["Format", "Problem", "mistakes", "validate"]

Problem = tuple[Loc, ConfigError]
"""A mistake, and where it is."""


@dataclass(frozen=True, slots=True)
class Format:
    """What has to be known of a format to tell its mistakes well.

    Attributes:
        properties_at: the keys that the mapping at a place may have; empty: any, or there is no mapping.
        belongs: what belongs at a place where something required is missing.
    """

    properties_at: Callable[[Loc], frozenset[str]]
    belongs: Mapping[Loc, str] = field(default_factory=dict)


_POOL = Format(
    properties_at, {("version",): "1", ("endpoints",): "a list of endpoints, each with name, base_url and model"}
)

_MEANT = {
    "url": "base_url",
    "api_base": "base_url",
    "endpoint": "base_url",
    "key": "api_key",
    "token": "api_key",
    "max_parallel_requests": "max_concurrency",
    "num_retries": "max_attempts",
    "max_retries": "max_attempts",
    "cooldown_time": "cooldown",
    "allowed_fails": "failures",
    "timeout": "idle_timeout",
}
"""Names under which other tools know a key of ours; used for suggestions only."""

_MOST_NAMES = 12
"""So many of the allowed names are listed in an error, the nearest first where there are more."""

_TYPES = {
    "string_type": ("not a text", "a text (quote it when it looks like a number or a flag)"),
    "int_type": ("not a whole number", "a whole number"),
    "int_parsing": ("not a whole number", "a whole number"),
    "int_from_float": ("not a whole number", "a whole number"),
    "float_type": ("not a number", "a number"),
    "float_parsing": ("not a number", "a number"),
    "finite_number": ("not a number", "a finite number"),
    "bool_type": ("not a flag", "true or false"),
    "bool_parsing": ("not a flag", "true or false"),
    "list_type": ("not a list", "a list"),
    "tuple_type": ("not a list", "a list"),
    "dict_type": ("not a mapping", "a mapping"),
    "model_type": ("not a mapping", "a mapping"),
    "model_attributes_type": ("not a mapping", "a mapping"),
    "invalid_key": ("a key that is no text", "texts (quote it)"),
    "too_short": ("empty", "at least one entry"),
}
"""What pydantic's kinds of errors mean here, and what is accepted instead."""

_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def validate(document: Document, hidden: frozenset[Loc]) -> tuple[PoolFile | None, list[Problem]]:
    """Read a document as the current format.

    Args:
        document: the data, references already resolved.
        hidden: places where a reference could not be resolved: what is wrong there is not told.

    Returns:
        The content, None when it cannot be read, and all problems with their places.
    """
    problems = [(loc, problem) for loc, problem in _names(document) if loc not in hidden]
    content: PoolFile | None = None
    try:
        content = PoolFile.model_validate(document.data)
    except ValidationError as error:
        found = mistakes(document, error, _POOL)
        problems += [(loc, problem) for loc, problem in found if not any(loc[: len(at)] == at for at in hidden)]
    return content, problems


def mistakes(document: Document, error: ValidationError, form: Format) -> list[Problem]:
    """What pydantic found wrong with a document, in our words, each at its place in the file."""
    return [_translated(document, detail, form) for detail in error.errors(include_url=False)]


def _names(document: Document) -> Iterator[Problem]:
    """Endpoint names used twice, and groups of unknown ones; also in a document that has other mistakes."""
    data = document.data
    endpoints = data.get("endpoints") if isinstance(data, Mapping) else None
    if not isinstance(endpoints, list):
        return
    seen: dict[str, int] = {}
    for index, endpoint in enumerate(endpoints):
        name = endpoint.get("name") if isinstance(endpoint, Mapping) else None
        if not isinstance(name, str):
            continue
        loc: Loc = ("endpoints", index, "name")
        if name in seen:
            message = f"the name is used twice, first by endpoints[{seen[name]}]"
            yield loc, document.problem(loc, message, given=shown(name), allowed="a unique name")
        seen.setdefault(name, index)
    groups = data.get("groups") if isinstance(data, Mapping) else None
    for model, group in groups.items() if isinstance(groups, Mapping) else ():
        listed = group.get("endpoints") if isinstance(group, Mapping) else group
        base: Loc = ("groups", model, "endpoints") if isinstance(group, Mapping) else ("groups", model)
        for index, name in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(name, str) and name not in seen:
                loc = (*base, index)
                message = "unknown endpoint" + _suggestion(name, seen)
                yield loc, document.problem(loc, message, given=shown(name), allowed=", ".join(seen) or None)


def _translated(document: Document, detail: Any, form: Format) -> Problem:
    kind, context = detail["type"], detail.get("ctx") or {}
    loc: Loc = tuple(part for part in detail["loc"] if not (isinstance(part, str) and part[:1] == "<"))
    loc = tuple(part for part in loc if part != "[key]")
    error = context.get("error")
    if isinstance(error, ConfigError):
        return _from_core(document, loc, error, form)
    given = None if kind in ("too_short", "invalid_key") else _given(document.data, loc)
    if kind == "missing":
        return loc, document.problem(loc, "missing", allowed=form.belongs.get(loc))
    if kind == "extra_forbidden":
        known = form.properties_at(loc[:-1])
        message = "unknown key" + _suggestion(str(loc[-1]), known)
        return loc, document.problem(loc, message, allowed=", ".join(sorted(known)) or None)
    if kind == "literal_error":
        names = context["expected"].replace("'", "").replace(" or ", ", ")
        quoted = str(given) in names.split(", ")  # the text, where the number is meant
        message = "not a number" if quoted else "unknown" + _suggestion(str(given), names.split(", "))
        return loc, document.problem(loc, message, given=given, allowed=names)
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return loc, document.problem(loc, "out of range", given=given, allowed=f"{words} {context[bound]:g}")
    message, allowed = _TYPES.get(kind, (detail["msg"], None))
    if loc[-1:] == ("profile",):
        message, allowed = "neither a name nor a mapping", "the name of a hardware profile, or a mapping of figures"
    if isinstance(given, str) and _from_environment(document.data, loc):
        message += " (the value of the environment variable)"
    return loc, document.problem(loc, message, given=given, allowed=allowed)


def _from_core(document: Document, loc: Loc, error: ConfigError, form: Format) -> Problem:
    """A mistake that a core type or one of our own validators found: give it its place in the file."""
    loc = _inside(document.data, loc, error.field or "", form)
    given = error.given if isinstance(error.given, Unquoted) else _given(document.data, loc)
    message = error.message
    allowed = error.allowed
    if message == "unknown key":
        message += _suggestion(str(loc[-1]), (allowed or "").split(", "))
        return loc, document.problem(loc, message, allowed=allowed)
    if message == "unknown option" and allowed:
        message += _suggestion(str(loc[-1]), allowed.split(", "))
        return loc, document.problem(loc, message, given=given, allowed=allowed)
    if message.startswith("unknown") and allowed:
        listed, alternative, further = allowed.partition(", or ")
        names = listed.split(", ")
        message += _suggestion(str(given), names)
        if len(names) > _MOST_NAMES:
            near = difflib.get_close_matches(str(given), names, n=_MOST_NAMES, cutoff=0.0)
            listing = "" if message.startswith("unknown endpoint") else ": agentsched schema pool"
            allowed = f"{', '.join(near)}, ... ({len(names)} in all{listing}){alternative}{further}"
    return loc, document.problem(loc, message, given=given, allowed=allowed)


def _inside(data: object, loc: Loc, field: str, form: Format) -> Loc:
    """The place of ``field`` (``"profile.step_base_s"``, ``"endpoints[1].name"``), as far as it is there.

    Whoever found the mistake may have named its own mapping first; ``loc`` is where that one stands.
    """
    named = field.rsplit("'.", 1)[-1]  # behind the name of an endpoint, which may hold anything
    parts: list[str | int] = [int(part) if part.isdecimal() else part for part in re.split(r"[.\[\]]+", named) if part]
    here = _at(data, loc)
    keys = here.keys() if isinstance(here, Mapping) else ()
    known = form.properties_at(loc) if isinstance(here, Mapping) else ()
    start = next((k for k, part in enumerate(parts) if part in keys or part in known), len(parts))
    for part in parts[start:]:
        if not isinstance(here, (Mapping, list)):
            break
        loc = (*loc, part)
        here = _at(data, loc)
    return loc


def _at(data: object, loc: Loc) -> object:
    for part in loc:
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            data = data[part] if part < len(data) else None
        else:
            return None
    return data


def _given(data: object, loc: Loc) -> object | None:
    return shown(_at(data, loc), loc)


def _from_environment(data: object, loc: Loc) -> bool:
    return isinstance(_at(data, loc), Resolved)


def _suggestion(name: str, known: Any) -> str:
    near = _MEANT.get(name) if _MEANT.get(name) in known else None
    near = near or next(iter(difflib.get_close_matches(name, list(known), n=1)), None)
    return f"; did you mean {near!r}?" if near else ""
