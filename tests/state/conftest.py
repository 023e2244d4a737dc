"""Every kind of store, each with its own way of letting time pass."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentsched.core.protocols import StateStore
from agentsched.state.memory import MemoryStore
from agentsched.state.sqlite import SqliteStore
from tests.state.redis_server import RedisServer


@dataclass
class Backend:
    """``open`` gives one client's store; ``wait`` lets seconds pass for all of them."""

    open: Callable[[], StateStore]
    wait: Callable[[float], None]


class Hands:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 1.7e9

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for all tests of the session; who kills it starts it again."""
    pytest.importorskip("redis", reason="redis-py is not installed")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def backend(request: pytest.FixtureRequest, hands: Hands, tmp_path: Path) -> Iterator[Backend]:
    """A store that holds nothing yet."""
    opened: list[StateStore] = []

    def opener(make: Callable[[], StateStore]) -> Callable[[], StateStore]:
        def open_one() -> StateStore:
            opened.append(make())
            return opened[-1]

        return open_one

    if request.param == "memory":
        store = MemoryStore(hands)
        yield Backend(lambda: store, hands.advance)
    elif request.param == "sqlite":
        yield Backend(opener(lambda: SqliteStore(tmp_path / "state.db", hands)), hands.advance)
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        import redis

        from agentsched.state.redis import RedisStore

        with redis.Redis(port=server.port) as client:
            client.flushall()
        yield Backend(opener(lambda: RedisStore(server.url)), time.sleep)
    for one in opened:
        one.close()
