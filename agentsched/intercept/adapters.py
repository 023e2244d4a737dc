"""The adapters of agent frameworks: found by entry point, put in once, taken out together.

An adapter is a function without arguments that returns its own undo, e.g. ``agentsched_langgraph:install``. It must not
load its framework.
"""

import logging
import threading
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

__all__ = ["GROUP", "install_adapters", "uninstall_adapters"]

GROUP = "agentsched.adapters"
"""The entry point group in which packages announce their adapters."""

_log = logging.getLogger("agentsched")
_lock = threading.Lock()
_found: tuple[EntryPoint, ...] | None = None
_undos: dict[str, Callable[[], None]] = {}


def install_adapters() -> None:
    """Put in every adapter that an installed package announces and that is not in yet; callable from any thread.

    An adapter that fails is left out with a warning: the run then only misses its step names.
    """
    global _found
    with _lock:
        if _found is None:
            # Reads the metadata of all installed packages, some ten milliseconds: once per process.
            _found = tuple(entry_points(group=GROUP))
        for found in _found:
            if found.name not in _undos:
                _install(found)


def _install(found: EntryPoint) -> None:
    try:
        _undos[found.name] = found.load()()
    except Exception as error:  # noqa: BLE001  # somebody else's code: whatever it raises, the run must go on
        _log.warning("the adapter %r (%s) cannot be used: %r", found.name, found.value, error)
        _undos[found.name] = _nothing


def _nothing() -> None:
    """The undo of an adapter that never went in."""


def uninstall_adapters() -> None:
    """Take every adapter out again."""
    with _lock:
        while _undos:
            _undos.popitem()[1]()
