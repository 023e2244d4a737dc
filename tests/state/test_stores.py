"""What every store has to do, asked of each."""

import threading

import pytest

from agentsched.core.protocols import StateStore
from agentsched.core.shared import Posting
from tests.state.conftest import Backend

LONG = 60.0
SHORT = 0.05


def told(store: StateStore, client: str, content: bytes = b"x", ttl_s: float = LONG) -> dict[str, bytes]:
    """What ``client`` hears when it tells ``content``."""
    return {posting.client: posting.content for posting in store.exchange(Posting(client, content), ttl_s)}


def test_the_first_hears_nobody_and_the_second_the_first(backend: Backend) -> None:
    one, two = backend.open(), backend.open()
    assert told(one, "one", b"from one") == {}
    assert told(two, "two", b"from two") == {"one": b"from one"}
    assert told(one, "one", b"again") == {"two": b"from two"}


def test_only_the_newest_posting_of_a_client_counts(backend: Backend) -> None:
    one, two = backend.open(), backend.open()
    told(one, "one", b"old")
    told(one, "one", b"new")
    assert told(two, "two") == {"one": b"new"}


def test_any_bytes_arrive_as_they_were(backend: Backend) -> None:
    content = bytes(range(256)) * 40 + b" 1 2 \n"
    told(backend.open(), "a client: 1", content)
    assert told(backend.open(), "two") == {"a client: 1": content}
    told(backend.open(), "a client: 1", b"")
    assert told(backend.open(), "two") == {"a client: 1": b""}


def test_a_dead_client_is_forgotten_and_a_living_one_is_not(backend: Backend) -> None:
    one, two = backend.open(), backend.open()
    told(one, "dead", ttl_s=SHORT)
    told(one, "alive", ttl_s=LONG)
    backend.wait(2 * SHORT)
    assert told(two, "two") == {"alive": b"x"}


def test_a_posting_made_anew_lives_anew(backend: Backend) -> None:
    one = backend.open()
    told(one, "one", ttl_s=SHORT)
    told(one, "one", b"y", ttl_s=LONG)
    backend.wait(2 * SHORT)
    assert told(one, "two") == {"one": b"y"}


def test_ages_are_told(backend: Backend) -> None:
    one, two = backend.open(), backend.open()
    told(one, "one")
    backend.wait(0.1)
    (heard,) = two.exchange(Posting("two", b""), LONG)
    assert heard.age_s == pytest.approx(0.1, abs=0.09)
    assert heard.age_s >= 0.099


def test_who_takes_leave_is_forgotten_at_once(backend: Backend) -> None:
    one, two = backend.open(), backend.open()
    told(one, "one")
    told(one, "three")
    one.withdraw("one")
    one.withdraw("never was here")
    assert told(two, "two") == {"three": b"x"}


def test_a_closed_store_opens_again(backend: Backend) -> None:
    one, two = backend.open(), backend.open()
    one.close()
    one.close()
    told(one, "one")
    one.close()
    assert told(two, "two") == {"one": b"x"}


def test_many_at_once_lose_nothing(backend: Backend) -> None:
    clients = [f"client {number}" for number in range(8)]

    def work(client: str) -> None:
        store = backend.open()
        for turn in range(20):
            told(store, client, str(turn).encode())

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told(backend.open(), "watcher") == dict.fromkeys(clients, b"19")
