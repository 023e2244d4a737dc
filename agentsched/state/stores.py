"""Names in a configuration -> stores."""

from importlib import import_module
from pathlib import Path

from agentsched.core.protocols import StateStore
from agentsched.errors import ConfigError
from agentsched.state.memory import MemoryStore
from agentsched.state.sqlite import SqliteStore

__all__ = ["open_store"]


def open_store(backend: str, url: str | None) -> StateStore:
    """The store that a configuration names; nothing is contacted yet. ``memory`` shares with nobody.

    Raises:
        ConfigError: redis-py is not installed, or cannot read the address.
    """
    if backend == "memory" or url is None:
        return MemoryStore()
    if backend == "sqlite":
        return SqliteStore(Path(url))
    try:
        module = import_module("agentsched.state.redis")
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        allowed = "pip install 'agentsched[redis]'"
        raise ConfigError(
            "needs a package that is not installed", field="state.backend", given=backend, allowed=allowed
        ) from error
    try:
        store: StateStore = module.RedisStore(url)
    except ValueError as error:
        allowed = (
            "redis://[user:password@]host[:port][/database], rediss://... or unix://path, with options of redis-py"
        )
        raise ConfigError("redis-py cannot read the address", field="state.url", allowed=allowed) from error
    return store
