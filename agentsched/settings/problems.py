"""Everything that is wrong with a configuration, told at once and without showing a secret."""

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from agentsched.errors import ConfigError

__all__ = ["Loc", "SettingsError", "Unquoted", "dotted", "shown"]

Loc = tuple[str | int, ...]
"""The way to a value in nested mappings and lists, e.g. ``("endpoints", 2, "base_url")``."""


class SettingsError(ConfigError):
    """One or more values of a configuration cannot be used; the text lists them all, one a line.

    Attributes:
        errors: every problem as a `ConfigError` of its own, in the order of the file. The attributes of the error
            itself (``file``, ``line``, ``field``, ``given``, ``allowed``) are those of the first.
    """

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(
            first.message,
            field=first.field,
            given=first.given,
            allowed=first.allowed,
            file=first.file,
            line=first.line,
        )

    def _text(self) -> str:
        if len(self.errors) == 1:
            return str(self.errors[0])
        where = f" in {self.file}" if self.file else ""
        return "\n  ".join([f"{len(self.errors)} problems{where}:", *map(str, self.errors)])

    def __reduce__(self) -> tuple[type["SettingsError"], tuple[tuple[ConfigError, ...]]]:
        return type(self), (self.errors,)


class Unquoted(str):
    """Text that stands in an error as it is, not as a quoted value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


_SECRET_NAMES = re.compile(r"key|token$|secret|passw|credential|authorization", re.IGNORECASE)
_SECRET_TEXTS = re.compile(
    r"\b(sk-|pk-|rk-|gsk_|hf_|xai-|nvapi-|r8_|csk-|AIza|eyJ)\w{6}|\b(Bearer|Basic) \S|[A-Za-z0-9+_]{32}"
)
_LONGEST = 80


def shown(value: object, loc: Loc = ()) -> object | None:
    """What an error may show of a value: containers by kind, secrets not at all, long texts cut.

    Args:
        value: the value that was given.
        loc: where it stands; the values of keys that sound like a secret are never shown.

    Returns:
        Something to be shown by ``repr``; None when nothing is to be shown.
    """
    if any(isinstance(part, str) and _SECRET_NAMES.search(part) for part in loc[-1:]):
        return None
    if isinstance(value, Mapping):
        return Unquoted("a mapping")
    if isinstance(value, (list, tuple)):
        return Unquoted("a list")
    if not isinstance(value, str):
        return value
    reference = getattr(value, "reference", None)
    text = value if reference is None else str(reference)
    if _secret(text):
        return Unquoted("not shown, it looks like a secret")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _secret(text: str) -> bool:
    try:
        if urlsplit(text).password or urlsplit(text).username:
            return True
    except ValueError:
        pass
    return "://" not in text and bool(_SECRET_TEXTS.search(text))


def dotted(loc: Iterable[object]) -> str:
    """Write a location as people do: ``endpoints[2].base_url``, ``groups["gpt-4.1"].endpoints[0]``.

    Keys that are no texts, which YAML allows, are written in brackets too.
    """
    text = ""
    for part in loc:
        if not isinstance(part, str):
            text += f"[{part}]"
        elif _SECRET_TEXTS.search(part):
            text += "[...]"
        elif re.fullmatch(r"[A-Za-z_][\w-]*", part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text
