"""``${NAME}``, ``${NAME:-default}`` and ``os.environ/NAME`` in configuration values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from agentsched.settings.problems import Loc

__all__ = ["REFERENCE_PATTERN", "MissingVariable", "Resolved", "escaped", "resolve"]

REFERENCE_PATTERN = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}|^os\.environ/[A-Za-z_][A-Za-z0-9_]*$"
"""A text that holds a reference (a regular expression that JSON Schema understands too)."""

_REFERENCE = re.compile(r"\$(?P<escape>\$)?\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_SLASH = re.compile(r"os\.environ/(?P<name>[A-Za-z_][A-Za-z0-9_]*)")


class Resolved(str):
    """A text whose value came, wholly or partly, from the environment.

    Attributes:
        reference: the text as it stands in the file: what may be shown instead of the value.
        variable: the variable's name when the text is nothing but one reference, else None.
    """

    __slots__ = ("reference", "variable")
    reference: str
    variable: str | None

    @classmethod
    def of(cls, value: str, reference: str, variable: str | None) -> Self:
        """The value together with where it came from."""
        made = cls(value)
        made.reference, made.variable = reference, variable
        return made


def escaped(text: str) -> str:
    """The text as it must be written so that nothing in it is taken for a ``${...}`` reference."""
    return _REFERENCE.sub(lambda match: f"${match[0]}", text)


@dataclass(frozen=True, slots=True)
class MissingVariable:
    """A reference to a variable that is not set and has no default."""

    loc: Loc
    name: str


def resolve(value: object, environ: Mapping[str, str], loc: Loc = ()) -> tuple[object, list[MissingVariable]]:
    """Replace every reference in the texts of nested data; keys are left alone.

    ``$${`` stands for a literal ``${``. A text with a missing variable is left as it is.

    Args:
        value: mappings, lists and scalars; not changed.
        environ: the variables.
        loc: where ``value`` stands.

    Returns:
        The data with `Resolved` texts in place of references, and the variables that are missing.
    """
    missing: list[MissingVariable] = []
    if isinstance(value, Mapping):
        resolved = {}
        for key, item in value.items():
            resolved[key], lacks = resolve(item, environ, (*loc, key))
            missing += lacks
        return resolved, missing
    if isinstance(value, list):
        items = [resolve(item, environ, (*loc, index)) for index, item in enumerate(value)]
        return [item for item, _ in items], [lack for _, lacks in items for lack in lacks]
    if isinstance(value, str):
        return _resolve_text(value, environ, loc)
    return value, missing


def _resolve_text(text: str, environ: Mapping[str, str], loc: Loc) -> tuple[str, list[MissingVariable]]:
    whole = _SLASH.fullmatch(text)
    if whole is not None:
        name = whole["name"]
        if name not in environ:
            return text, [MissingVariable(loc, name)]
        return Resolved.of(environ[name], text, name), []
    if "${" not in text:
        return text, []
    missing: list[MissingVariable] = []

    def value_of(match: re.Match[str]) -> str:
        if match["escape"]:
            return match[0][1:]
        value = environ.get(match["name"])
        if match["default"] is not None:
            return value or match["default"]  # as in a shell, :- also stands in for an empty variable
        if value is None:
            missing.append(MissingVariable(loc, match["name"]))
        return value or ""

    value = _REFERENCE.sub(value_of, text)
    if missing:
        return text, missing
    only = _REFERENCE.fullmatch(text)
    variable = only["name"] if only and not only["escape"] else None
    return Resolved.of(value, text, variable), []
