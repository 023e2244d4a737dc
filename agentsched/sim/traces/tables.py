"""Tables of calls or requests in CSV, JSON Lines or Parquet, row by row."""

import csv
import gzip
import json
import zlib
from collections.abc import Collection, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from agentsched.errors import ConfigError

__all__ = ["FORMATS", "Row", "first_lines", "read_rows"]

FORMATS = "a .csv, .jsonl or .parquet file (the first two also as .gz)"


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
    kind = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]).removesuffix(".gz")
    if kind == ".parquet":
        return _parquet(path, columns)
    if kind == ".csv":
        return _csv(path)
    if kind in (".jsonl", ".ndjson"):
        return _json_lines(path)
    raise ConfigError("not a trace", file=str(path), allowed=FORMATS)


def first_lines(path: Path, count: int) -> list[str]:
    """The first lines of a text file, packed or not; none of one that cannot be read."""
    try:
        with _open(path) as file:
            return list(islice(file, count))
    except (OSError, UnicodeDecodeError, EOFError, zlib.error):
        return []


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _csv(path: Path) -> Iterator[Row]:
    try:
        with _open(path) as file:
            reader = csv.reader(file, strict=True)
            head = next(reader, None)
            if head is None:
                raise ConfigError("the file says nothing", file=str(path), allowed="a head line, and rows")
            for cells in reader:
                if len(cells) != len(head) and cells:
                    message = f"{len(cells)} values, but the head line names {len(head)} columns"
                    raise ConfigError(message, file=str(path), line=reader.line_num)
                if cells:
                    values = {name.strip(): cell.strip() for name, cell in zip(head, cells, strict=True)}
                    yield Row(reader.line_num, {name: cell for name, cell in values.items() if cell})
    except csv.Error as error:
        raise ConfigError(f"not CSV: {error}", file=str(path)) from error
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error


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
