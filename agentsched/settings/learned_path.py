"""Which file keeps what is learned."""

import os
import sys
from hashlib import blake2b
from pathlib import Path

from agentsched.settings.values import Settings

__all__ = ["PROFILES_VARIABLE", "cache_folder", "learned_path"]

PROFILES_VARIABLE = "AGENTSCHED_PROFILES"
"""Overrides the default: the path of a file, or ``off``."""

_OFF = "off"


def learned_path(settings: Settings) -> Path | None:
    """The file of these settings; None: nothing is kept.

    ``state.profiles`` says which; else the environment; else it is a file in the user's cache folder, one for each
    configuration file. A pool made in code has none unless it names one.
    """
    chosen = settings.state.profiles
    if chosen is None and settings.source is not None:
        chosen = os.environ.get(PROFILES_VARIABLE) or None
        if chosen is None:
            name = blake2b(os.fsencode(settings.source.resolve()), digest_size=6).hexdigest()
            folder = cache_folder()
            return None if folder is None else folder / f"profiles-{name}.sqlite"
    return None if chosen is None or chosen == _OFF else Path(chosen)


def cache_folder() -> Path | None:
    """Where this user's programs keep what they can do without; None: the user has no home."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(base).expanduser() / "agentsched"
    except RuntimeError:
        return None
