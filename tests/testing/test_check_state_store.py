"""The check of stores finds every kind of breach."""

from collections.abc import Callable

import pytest

from agentsched.core.shared import Posting
from agentsched.state.memory import MemoryStore
from agentsched.testing import check_state_store


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


class HearsItself(MemoryStore):
    def exchange(self, own: Posting, ttl_s: float) -> list[Posting]:
        return [*super().exchange(own, ttl_s), own]


class Deaf(MemoryStore):
    def exchange(self, own: Posting, ttl_s: float) -> list[Posting]:
        return []


class Stale(MemoryStore):
    """The first word of a client is its last."""

    def exchange(self, own: Posting, ttl_s: float) -> list[Posting]:
        held = self._held.get(own.client)
        return super().exchange(own if held is None else Posting(own.client, held[0]), ttl_s)


class Trims(MemoryStore):
    def exchange(self, own: Posting, ttl_s: float) -> list[Posting]:
        return super().exchange(Posting(own.client, own.content.strip()), ttl_s)


class Immortal(MemoryStore):
    def exchange(self, own: Posting, ttl_s: float) -> list[Posting]:
        return super().exchange(own, 1e9)


class Forgetful(MemoryStore):
    def exchange(self, own: Posting, ttl_s: float) -> list[Posting]:
        return super().exchange(own, min(ttl_s, 0.05))


class Ageless(MemoryStore):
    def exchange(self, own: Posting, ttl_s: float) -> list[Posting]:
        return [Posting(heard.client, heard.content) for heard in super().exchange(own, ttl_s)]


class Clinging(MemoryStore):
    def withdraw(self, client: str) -> None:
        pass


class Bursting(MemoryStore):
    """Room for four."""

    def exchange(self, own: Posting, ttl_s: float) -> list[Posting]:
        return super().exchange(own, ttl_s)[:4]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (HearsItself, "the first client hears somebody"),
        (Deaf, "does not hear the first"),
        (Stale, "newest posting"),
        (Trims, "do not arrive as they were"),
        (Immortal, "after its time"),
        (Forgetful, "a client that lives is forgotten"),
        (Ageless, "s old is told as 0"),
        (Clinging, "the first client hears somebody|hears|heard"),
        (Bursting, "of 8 clients at once"),
    ],
)
def test_breaches_are_found(kind: Callable[[Clock], MemoryStore], words: str) -> None:
    clock = Clock()
    store = kind(clock)
    with pytest.raises(AssertionError, match=words):
        check_state_store(lambda: store, clock.wait)


def test_a_good_one_passes() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    check_state_store(lambda: store, clock.wait)
