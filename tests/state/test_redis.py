import socketserver
import threading
import time
from dataclasses import replace

import pytest

from agentsched.core.shared import Posting
from agentsched.errors import StateUnavailable
from tests.state.redis_server import RedisServer

redis = pytest.importorskip("redis", reason="redis-py is not installed")
from agentsched.state.redis import RedisStore  # noqa: E402 - only where redis-py is


def test_a_server_that_is_away_is_told_without_its_password_and_heals(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url)
    store.exchange(Posting("one", b""), 9.0)
    redis_server.kill()
    with pytest.raises(StateUnavailable, match="redis: ConnectionError"):
        store.exchange(Posting("one", b""), 9.0)
    with pytest.raises(StateUnavailable):
        store.withdraw("one")
    with pytest.raises(StateUnavailable) as caught:
        RedisStore(redis_server.url.replace("//", "//user:canary@")).exchange(Posting("one", b""), 9.0)
    assert "canary" not in str(caught.value)
    redis_server.start()
    assert store.exchange(Posting("one", b""), 9.0) == [], "the script was loaded again too"
    store.close()


def test_nothing_is_left_on_the_server_once_all_are_dead(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url)
    with redis.Redis(port=redis_server.port) as client:
        client.flushall()
        store.exchange(Posting("one", b""), 30.0)
        (key,) = client.keys()
        assert 0 < client.pttl(key) <= 30_000, "the server forgets it by itself"
    store.withdraw("one")
    store.close()


def test_a_short_lived_client_does_not_shorten_another_ones_life(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url)
    store.exchange(Posting("long", b""), 60.0)
    store.exchange(Posting("short", b""), 0.01)
    time.sleep(0.05)
    assert [heard.client for heard in store.exchange(Posting("watcher", b""), 0.01)] == ["long"]
    for client in ("long", "watcher"):
        store.withdraw(client)
    store.close()


FOREIGN: dict[str | bytes, str] = {
    "a": "x",
    "b": "1 2",
    "c": "x y z",
    b"\xff": "1 x y",
    "d": "nan nan x",
    "never": "0 inf x",
    "immortal": "0 99999999999 x",
    "from the future": "99999999990 99999999999 x",
}


def test_fields_that_nobody_of_us_wrote_are_thrown_away(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url)
    with redis.Redis(port=redis_server.port) as client:
        client.hset("agentsched:postings:1", mapping=FOREIGN)
        assert store.exchange(Posting("one", b""), 9.0) == []
        assert client.hkeys("agentsched:postings:1") == [b"one"]
    store.withdraw("one")
    store.close()


def test_another_key_of_that_name_is_told(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url)
    with redis.Redis(port=redis_server.port) as client:
        client.delete("agentsched:postings:1")
        client.set("agentsched:postings:1", "somebody else's")
        with pytest.raises(StateUnavailable, match="WRONGTYPE"):
            store.exchange(Posting("one", b""), 9.0)
        client.delete("agentsched:postings:1")
    store.close()


def test_a_password_is_used_and_never_shown(redis_server: RedisServer) -> None:
    with redis.Redis(port=redis_server.port) as client:
        client.config_set("requirepass", "canary-right")
    try:
        for url in (redis_server.url, redis_server.url.replace("//", "//:canary-wrong@")):
            with pytest.raises(StateUnavailable, match="Auth") as caught:
                RedisStore(url).exchange(Posting("one", b""), 9.0)
            assert "canary" not in str(caught.value)
        store = RedisStore(redis_server.url.replace("//", "//:canary-right@"))
        assert store.exchange(Posting("one", b""), 9.0) == []
        store.withdraw("one")
        store.close()
    finally:
        with redis.Redis(port=redis_server.port, password="canary-right") as client:
            client.config_set("requirepass", "")


def test_a_server_that_does_not_speak_tls_is_told(redis_server: RedisServer) -> None:
    with pytest.raises(StateUnavailable, match=r"redis: \w*Error"):
        RedisStore(redis_server.url.replace("redis://", "rediss://")).exchange(Posting("one", b""), 9.0)


def test_a_url_that_asks_for_text_is_as_good(redis_server: RedisServer) -> None:
    one, two = RedisStore(redis_server.url), RedisStore(f"{redis_server.url}?decode_responses=true")
    one.exchange(Posting("one", b"\xff"), 9.0)
    assert Posting("one", b"\xff") in [replace(heard, age_s=0.0) for heard in two.exchange(Posting("two", b""), 9.0)]
    for store, client in ((one, "one"), (two, "two")):
        store.withdraw(client)
        store.close()


@pytest.mark.parametrize("option", ["nonsense=1", "protocol=9", "encoding=none"])
def test_options_that_redis_py_does_not_know_are_told_at_once(option: str) -> None:
    with pytest.raises(ValueError, match=r"nonsense|protocol|none"):
        RedisStore(f"redis://h?{option}")


def test_a_host_that_can_be_none_is_told() -> None:
    with pytest.raises(StateUnavailable, match="UnicodeError"):
        RedisStore(f"redis://{'a' * 70}:1").exchange(Posting("one", b""), 9.0)


class Stranger(socketserver.StreamRequestHandler):
    """Something that speaks Redis' language, but does not say what Redis does."""

    def handle(self) -> None:
        while self.rfile.readline():
            self.wfile.write(b":1\r\n")


def test_a_server_that_is_no_redis_is_told() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        store = RedisStore(f"redis://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(StateUnavailable, match="redis: "):
            store.exchange(Posting("one", b""), 9.0)
        store.close()
        server.shutdown()
        thread.join()
