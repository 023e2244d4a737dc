"""A table of results, drawn for a terminal or for a Markdown file."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from agentsched import clock
from agentsched.bench.machine import machine_description, package_versions
from agentsched.errors import ConfigError

__all__ = ["Bar", "Sheet", "bar_lines", "drawn", "markdown_section", "markdown_table", "write_section"]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table: the first columns name a row, the rest are figures.

    Attributes:
        title: above it.
        columns: headings.
        names: how many of the columns name the row.
        rows: one text per column; an empty row separates groups.
    """

    title: str
    columns: tuple[str, ...]
    names: int
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise and how it was kept.

    Attributes:
        text: the promise.
        measured: what was measured.
        met: whether it was kept; None: it could not be measured.
    """

    text: str
    measured: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """``met``, ``MISSED`` or ``not measured``."""
        return "not measured" if self.met is None else "met" if self.met else "MISSED"


def bar_lines(bars: Sequence[Bar]) -> list[str]:
    """One line per bar."""
    return [f"{bar.verdict}: {bar.text}" + (f" ({bar.measured})" if bar.measured else "") for bar in bars]


def drawn(sheet: Sheet) -> Table:
    """The sheet for a terminal."""
    table = Table(title=sheet.title, title_justify="left")
    for index, column in enumerate(sheet.columns):
        table.add_column(column, justify="left" if index < sheet.names else "right", no_wrap=True)
    for row in sheet.rows:
        if row:
            table.add_row(*row)
        else:
            table.add_section()
    return table


def markdown_table(sheet: Sheet) -> list[str]:
    """The sheet as lines of Markdown."""
    ruler = ["---" if index < sheet.names else "---:" for index in range(len(sheet.columns))]
    rows = [sheet.columns, ruler, *(row for row in sheet.rows if row)]
    return [f"**{sheet.title}**", "", *("| " + " | ".join(row) + " |" for row in rows)]


def markdown_section(command: str, sheets: Sequence[Sheet], bars: Sequence[Bar], notes: Sequence[str]) -> str:
    """Everything about one run: how it was made, on what, what came out, and which promises were kept."""
    machine, packages = machine_description(), package_versions()
    at = datetime.fromtimestamp(clock.wall(), UTC)
    lines = [
        f"`{command}`, {at:%Y-%m-%d %H:%M} UTC, on {machine['processor']}, {machine['cores']} cores, "
        f"{machine['system']}, {machine['python']}; "
        + ", ".join(f"{name} {version}" for name, version in packages.items())
        + ".",
    ]
    for sheet in sheets:
        lines += ["", *markdown_table(sheet)]
    if bars:
        lines += ["", *(f"- {line}" for line in bar_lines(bars))]
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines)


def write_section(path: Path, name: str, text: str) -> None:
    """Put ``text`` into a Markdown file, between ``<!-- name: generated -->`` and ``<!-- name: end -->``.

    Where the file has no such lines, or does not exist, they are added at its end.

    Raises:
        ConfigError: the file has only one of the two lines, or cannot be read or written.
    """
    begin, end = f"<!-- {name}: generated, do not edit -->", f"<!-- {name}: end -->"
    block = f"{begin}\n\n{text}\n\n{end}"
    try:
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if (begin in old) is not (end in old):
            raise ConfigError("has the beginning or the end of the section, but not both", field=name, file=str(path))
        if begin in old:
            new = old[: old.index(begin)] + block + old[old.index(end) + len(end) :]
        else:
            new = old + ("\n" if old else "") + block + "\n"
        path.write_text(new, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", file=str(path)) from error
