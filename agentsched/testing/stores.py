"""The conformance check of stores: what `agentsched.core.protocols.StateStore` promises, put to the test."""

import threading
from collections.abc import Callable

from agentsched.core.protocols import StateStore
from agentsched.core.shared import Posting

__all__ = ["check_state_store"]

_LONG_S = 60.0
_ANY_BYTES = bytes(range(256)) * 40 + b" 1 2 \n"

Opener = Callable[[], StateStore]


def check_state_store(make: Opener, wait: Callable[[float], None], *, short_s: float = 0.05) -> None:
    """Put a store to every promise of its socket.

    A client must hear what each other client told last, byte for byte and with its age, and never itself; who has died,
    or has taken leave, must be forgotten, and who lives must not; a closed store must open again; and clients that use
    it at the same time must lose nothing.

    Args:
        make: opens the store once more, as another client; nobody may have posted to it under these names:
            ``one``, ``two``, ``three``, ``watcher``, ``client 0`` and so on.
        wait: lets seconds pass on the store's clock.
        short_s: a life that is over soon, seconds; the check waits for it a few times.

    Raises:
        AssertionError: it breaks a promise; the message says which.
    """
    _check_hearing(make)
    _check_contents(make)
    _check_lives(make, wait, short_s)
    _check_leaving(make)
    _check_reopening(make)
    _check_many_at_once(make)


def _told(store: StateStore, client: str, content: bytes = b"x", ttl_s: float = _LONG_S) -> dict[str, bytes]:
    """What ``client`` hears when it tells ``content``."""
    heard = store.exchange(Posting(client, content), ttl_s)
    _require(len({posting.client for posting in heard}) == len(heard), "it answers two postings of one client")
    return {posting.client: posting.content for posting in heard}


def _check_hearing(make: Opener) -> None:
    one, two = make(), make()
    _require(_told(one, "one", b"from one") == {}, "the first client hears somebody")
    _require(_told(two, "two", b"from two") == {"one": b"from one"}, "the second client does not hear the first alone")
    _require(_told(one, "one", b"again") == {"two": b"from two"}, "the first client does not hear the second alone")
    _require(_told(two, "two") == {"one": b"again"}, "the newest posting of a client is not the one that is heard")
    _empty(one, two)


def _check_contents(make: Opener) -> None:
    one, two = make(), make()
    for content in (_ANY_BYTES, b""):
        _told(one, "one", content)
        _require(_told(two, "two") == {"one": content}, f"{len(content)} bytes do not arrive as they were")
    _empty(one, two)


def _check_lives(make: Opener, wait: Callable[[float], None], short_s: float) -> None:
    one, two = make(), make()
    _told(one, "one", ttl_s=short_s)
    _told(one, "three", ttl_s=short_s)
    _told(one, "three", b"y", ttl_s=_LONG_S)
    wait(2.0 * short_s)
    heard = two.exchange(Posting("two", b""), _LONG_S)
    names = [posting.client for posting in heard]
    _require("one" not in names, "a client that died is still heard after its time")
    _require("three" in names, "a client that lives is forgotten")
    age_s = heard[names.index("three")].age_s
    _require(
        2.0 * short_s - 1e-3 <= age_s < 2.0 * short_s + 5.0, f"a posting {2.0 * short_s} s old is told as {age_s} s"
    )
    _empty(one, two)


def _check_leaving(make: Opener) -> None:
    one, two = make(), make()
    _told(one, "one")
    _told(one, "three")
    one.withdraw("one")
    one.withdraw("nobody")
    _require(_told(two, "two") == {"three": b"x"}, "who has taken leave is still heard, or somebody else is not")
    _empty(one, two)


def _check_reopening(make: Opener) -> None:
    one, two = make(), make()
    one.close()
    one.close()
    _told(one, "one")
    one.close()
    _require(_told(two, "two") == {"one": b"x"}, "what was told before the store was closed is not heard")
    _empty(one, two)


def _check_many_at_once(make: Opener) -> None:
    clients, errors = [f"client {number}" for number in range(8)], list[BaseException]()

    def work(client: str) -> None:
        store = make()
        try:
            for turn in range(20):
                _told(store, client, str(turn).encode())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            errors.append(error)
        finally:
            store.close()

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    watcher = make()
    heard = _told(watcher, "watcher")
    _require(heard == dict.fromkeys(clients, b"19"), f"of {len(clients)} clients at once, these are heard: {heard}")
    for client in (*clients, "watcher"):
        watcher.withdraw(client)
    watcher.close()


def _empty(*stores: StateStore) -> None:
    for client in ("one", "two", "three"):
        stores[0].withdraw(client)
    for store in stores:
        store.close()


def _require(good: bool, otherwise: str) -> None:
    if not good:
        raise AssertionError(otherwise)
