import builtins
import sys
from pathlib import Path

import pytest

from agentsched.errors import ConfigError
from agentsched.state.memory import MemoryStore
from agentsched.state.sqlite import SqliteStore
from agentsched.state.stores import open_store


def test_names_lead_to_stores_and_nothing_is_contacted(tmp_path: Path) -> None:
    assert isinstance(open_store("memory", None), MemoryStore)
    assert isinstance(open_store("sqlite", str(tmp_path / "nowhere" / "x.db")), SqliteStore)
    pytest.importorskip("redis", reason="redis-py is not installed")
    assert type(open_store("redis", "redis://127.0.0.1:1/0")).__name__ == "RedisStore"


def test_without_redis_py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "agentsched.state.redis", raising=False)
    found = builtins.__import__

    def missing(name: str, *args: object, **kwargs: object) -> object:
        if name == "redis":
            raise ModuleNotFoundError("No module named 'redis'", name="redis")
        return found(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"pip install 'agentsched\[redis\]'"):
        open_store("redis", "redis://h")


def test_an_address_that_redis_py_cannot_read_is_not_shown() -> None:
    pytest.importorskip("redis", reason="redis-py is not installed")
    with pytest.raises(ConfigError, match=r"state\.url: redis-py cannot read the address; allowed") as caught:
        open_store("redis", "redis://canary@h?socket_timeout=canary")
    assert "canary" not in str(caught.value)
