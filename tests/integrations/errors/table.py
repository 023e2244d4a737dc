"""The tables of docs/decisions/0005-errors.md, as what the tests expect: page and behaviour cannot drift apart."""

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

Way = TypeVar("Way")

PAGE = Path(__file__).parents[3] / "docs" / "decisions" / "0005-errors.md"

ROWS: dict[str, str | int] = {
    "deadline passed": "silent",
    "all endpoints down": 500,
    "all endpoints at their limits": 429,
    "answer breaks off": "cut",
    "upstream 400": 400,
    "upstream 401": 401,
    "upstream 404": 404,
    "upstream 422": 422,
}
"""What happens, as the page calls it -> what the server of the tests does. The page's last row, "caller cancelled", has
tests of its own."""

BREAKS_OFF = "answer breaks off"
"""Only an answer that is streamed can break off in the caller's hands; a whole one is asked for elsewhere."""

OURS = tuple(row for row in ROWS if not row.startswith("upstream"))
"""The rows whose error agentsched makes; the others are the provider's answer, handed on."""

CANCELLED = "caller cancelled"


def each(ways: Iterable[Way], streamed: Iterable[Way]) -> list[tuple[str, Way]]:
    """Every (row, way to ask); ``streamed`` are those of the ways that read a stream."""
    return [(row, way) for way in ways for row in ROWS if row != BREAKS_OFF or way in streamed]


@functools.cache
def _table(corner: str) -> dict[tuple[str, str], str]:
    """The page's table with this word in its corner, as (row, column) -> cell."""
    for block in re.findall(r"(?:^\|.*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        head, _, *body = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        if head[0] == corner:
            return {(line[0], name): cell for line in body for name, cell in zip(head[1:], line[1:], strict=True)}
    raise LookupError(corner)


def raised(row: str, column: str) -> set[str]:
    """The classes that the error is said to be of."""
    cell = _table("what happens")[row, column]
    return raised(row, "LangChain") if cell == "as beside" else set(re.findall(r"`(\w+)`", cell))


def tries(row: str, framework: str) -> tuple[int, int]:
    """How many calls of ``send`` and how many upstream requests there are said to be."""
    sends, requests = re.findall(r"\d+", _table("tries / requests")[row, framework])
    return int(sends), int(requests)


def cells() -> list[tuple[str, str]]:
    """Every (row, column) of the table of errors."""
    return list(_table("what happens"))
