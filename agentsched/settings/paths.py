"""Paths in a configuration file."""

from pathlib import Path

__all__ = ["anchored"]


def anchored(text: str | None, folder: Path | None) -> Path | None:
    """The path that a text names, None for none; a relative one starts at ``folder``, where there is one."""
    if not text:
        return None
    path = Path(text).expanduser()
    return path if folder is None else folder / path
