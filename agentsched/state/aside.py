"""Damaged files are put aside, never deleted: somebody may want to look at them."""

import itertools
from pathlib import Path

__all__ = ["inode_of", "put_aside"]


def inode_of(path: Path) -> int | None:
    """What tells a file from one that takes its name later; None: there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def put_aside(path: Path, label: str) -> Path:
    """Rename a SQLite file so that a new one may begin, e.g. to ``state.db.corrupt-1``; its log goes.

    Raises:
        OSError: it cannot be renamed.
    """
    names = (path.with_name(f"{path.name}.{label}-{number}") for number in itertools.count(1))
    aside = next(name for name in names if not name.exists())
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside
