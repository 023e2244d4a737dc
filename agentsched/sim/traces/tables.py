"""Tables of calls or requests in CSV, JSON Lines or Parquet, row by row."""

import csv
import gzip
import json
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from agentsched.errors import ConfigError

__all__ = ["FORMATS", "Row", "first_lines", "is_table", "read_rows"]

FORMATS = "a .csv, .jsonl or .parquet file (the first two also as .gz)"

_LONGEST_VALUE = 2**31 - 1
"""Characters of a value in a CSV file: prompts go far beyond the csv module's own limit of 131,072."""


class Row(NamedTuple):
    """One row: its 1-based line (row, in Parquet) and its values by column name."""

    line: int
    values: dict[str, Any]


def read_rows(path: Path, columns: Collection[str]) -> Iterator[Row]:
    """The rows of a table.

    Args:
        path: a ``.csv`` file with a head line, a ``.jsonl`` file of objects, or a ``.parquet`` file.
        columns: names in lower case; a Parquet file's other columns are not read.

    Raises:
        ConfigError: the file cannot be read, is of another kind, or a line is no row; or Parquet is not installed.
    """
    kind = _kind(path)
    if kind == ".parquet":
        return _parquet(path, columns)
    if kind == ".csv":
        return _csv(path)
    if kind in (".jsonl", ".ndjson"):
        return _json_lines(path)
    raise ConfigError("not a trace", file=str(path), allowed=FORMATS)


def is_table(path: Path) -> bool:
    """Whether a file, by its name, is one that `read_rows` reads."""
    return _kind(path) in (".csv", ".jsonl", ".ndjson", ".parquet") and not path.is_dir()


def _kind(path: Path) -> str:
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix if not name.endswith(".parquet.gz") else ""


def first_lines(path: Path, count: int) -> list[str]:
    """The first lines of a text file, packed or not; of a damaged one those before the damage."""
    found: list[str] = []
    try:
        with _open(path) as file:
            found.extend(islice(file, count))
    except (OSError, UnicodeDecodeError, EOFError, zlib.error):
        pass
    return found


def _open(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _csv(path: Path) -> Iterator[Row]:
    try:
        with _open(path) as file, _long_values():
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            head = [name.strip() for name in next(reader, ())]
            if not head:
                raise ConfigError("the file says nothing", file=str(path), allowed="a head line, and rows")
            if len(set(head)) < len(head):
                raise ConfigError("a name twice in the head line", file=str(path), line=1, given=head)
            for cells in reader:
                if len(cells) != len(head) and cells:
                    message = f"{len(cells)} values, but the head line names {len(head)} columns"
                    raise ConfigError(message, file=str(path), line=reader.line_num)
                if cells:
                    stripped = [cell.strip() for cell in cells]
                    yield Row(reader.line_num, {name: cell for name, cell in zip(head, stripped, strict=True) if cell})
    except csv.Error as error:
        raise ConfigError(f"not CSV: {error}", file=str(path), line=reader.line_num) from error
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error


@contextmanager
def _long_values() -> Iterator[None]:
    before = csv.field_size_limit(_LONGEST_VALUE)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _json_lines(path: Path) -> Iterator[Row]:
    try:
        with _open(path) as file:
            for line, text in enumerate(file, start=1):
                if not text.strip():
                    continue
                try:
                    values = json.loads(text)
                except (ValueError, RecursionError) as error:
                    raise ConfigError(f"not JSON: {error}", file=str(path), line=line) from error
                if not isinstance(values, dict):
                    raise ConfigError("not a JSON object", file=str(path), line=line)
                yield Row(line, values)
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error


def _parquet(path: Path, columns: Collection[str]) -> Iterator[Row]:
    try:
        parquet, arrow = import_module("pyarrow.parquet"), import_module("pyarrow")
    except ModuleNotFoundError as error:
        allowed = "pip install 'agentsched[traces]'"
        raise ConfigError(
            "reading Parquet needs pyarrow, which is not installed", file=str(path), allowed=allowed
        ) from (error)
    try:
        with parquet.ParquetFile(path) as file:
            known = [name for name in file.schema_arrow.names if name.lower() in columns]
            line = 0
            for batch in file.iter_batches(columns=known):
                for values in batch.to_pylist():
                    line += 1
                    yield Row(line, {name: value for name, value in values.items() if value is not None})
    except (OSError, arrow.ArrowException) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ConfigError:
    if isinstance(error, UnicodeDecodeError):
        return ConfigError("cannot be read: not UTF-8 text", file=str(path))
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ConfigError(f"cannot be read: {reason}", file=str(path))
