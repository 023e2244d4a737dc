"""Tables in files, as columns: CSV, and Parquet where pyarrow is installed."""

import csv
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from agentsched.errors import ConfigError

__all__ = ["Columns", "is_table", "read_columns"]

Columns = Mapping[str, Sequence[Any]]
"""Name -> one value per row; None where there is none. All values of a CSV file are texts."""


def is_table(path: Path) -> bool:
    """Whether the name ends as a table's does."""
    return path.suffix.lower() in _READERS


def read_columns(path: Path) -> Columns:
    """All columns of a table.

    Raises:
        ConfigError: it cannot be read, is damaged, or needs a package that is not installed.
    """
    if not path.is_file():
        raise ConfigError("no such file", file=str(path))
    try:
        return _READERS[path.suffix.lower()](path)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", file=str(path)) from error


def _read_csv(path: Path) -> Columns:
    with path.open(encoding="utf-8-sig", newline="") as opened:
        rows = csv.reader(opened)
        try:
            names = next(rows, [])
            columns: dict[str, list[str | None]] = {name: [] for name in names}
            if not names or len(columns) < len(names):
                raise ConfigError("no header, or one with a name twice", file=str(path), given=names, line=1)
            for row in rows:
                if not row:
                    continue
                if len(row) != len(names):
                    what = f"a row of {len(row)} values"
                    raise ConfigError(what, file=str(path), line=rows.line_num, allowed=f"{len(names)}, as the header")
                for name, value in zip(names, row, strict=True):
                    columns[name].append(value or None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"not readable as CSV: {error}", file=str(path), line=rows.line_num) from error
    return columns


def _read_parquet(path: Path) -> Columns:
    try:
        parquet = import_module("pyarrow.parquet")
        errors = import_module("pyarrow").ArrowException
    except ModuleNotFoundError as error:
        raise ConfigError(
            "Parquet needs pyarrow, which is not installed", file=str(path), allowed="pip install pyarrow, or CSV"
        ) from error
    try:
        table = parquet.read_table(path)
    except errors as error:
        raise ConfigError(f"not readable as Parquet: {error}", file=str(path)) from error
    return {name: table.column(name).to_pylist() for name in table.column_names}


_READERS: dict[str, Callable[[Path], Columns]] = {".csv": _read_csv, ".parquet": _read_parquet}
