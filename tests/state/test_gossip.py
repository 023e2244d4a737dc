"""The gossip thread against a store whose every exchange the test sees."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from agentsched.core.shared import Posting
from agentsched.errors import StateUnavailable
from agentsched.state.gossip import Gossip
from agentsched.state.memory import MemoryStore

SOON = 5.0


class Watched:
    """A store that can be away, and says what was asked of it."""

    def __init__(self) -> None:
        self.inner = MemoryStore()
        self.away = False
        self.asked: queue.SimpleQueue[str] = queue.SimpleQueue()

    def exchange(self, own: Posting, ttl_s: float) -> list[Posting]:
        self.asked.put(f"{'lost' if self.away else 'exchange'} {own.content.decode()}")
        if self.away:
            raise StateUnavailable("nobody there")
        return self.inner.exchange(own, ttl_s)

    def withdraw(self, client: str) -> None:
        self.asked.put("withdraw")
        if self.away:
            raise StateUnavailable("nobody there")
        self.inner.withdraw(client)

    def close(self) -> None:
        self.asked.put("close")

    def until(self, what: str) -> list[str]:
        """Everything asked up to ``what``."""
        seen = [self.asked.get(timeout=SOON)]
        while not seen[-1].startswith(what):
            seen.append(self.asked.get(timeout=SOON))
        return seen


class Talk:
    """One gossip over a watched store, and what it heard and announced."""

    def __init__(self, interval_s: float = 0.002) -> None:
        self.store = Watched()
        self.count = 0
        self.heard: queue.SimpleQueue[Sequence[Posting]] = queue.SimpleQueue()
        self.announced: queue.SimpleQueue[str] = queue.SimpleQueue()
        rng = np.random.default_rng(7)
        self.gossip = Gossip(self.store, "me", self.tell, self.heard.put, self.announced.put, interval_s, rng)

    def tell(self) -> bytes:
        self.count += 1
        return str(self.count).encode()


@pytest.fixture
def talk() -> Iterator[Talk]:
    made = Talk()
    yield made
    made.gossip.close()


def start(talk: Talk) -> None:
    talk.gossip.start()
    talk.store.until("exchange 1")


def test_it_tells_anew_and_hears_every_time(talk: Talk) -> None:
    start(talk)
    talk.store.inner.exchange(Posting("other", b"theirs"), 60.0)
    assert talk.store.until("exchange 4") == ["exchange 2", "exchange 3", "exchange 4"]
    while not (heard := talk.heard.get(timeout=SOON)):
        pass
    assert [(posting.client, posting.content) for posting in heard] == [("other", b"theirs")]


def test_closing_takes_leave_at_once_also_in_the_middle_of_a_pause() -> None:
    talk = Talk(interval_s=3600.0)
    start(talk)
    talk.gossip.close()
    talk.gossip.close()
    assert talk.store.until("close") == ["withdraw", "close"]
    assert not any(thread.name == "agentsched-gossip" for thread in threading.enumerate())


def test_a_store_that_goes_away_and_comes_back_is_announced_once_each(
    talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    start(talk)
    talk.store.away = True
    talk.store.until("lost")
    seen = talk.store.until("lost") + talk.store.until("lost")
    assert len({*seen}) == len(seen), "every try tells what is true by then"
    assert "out of reach" in talk.announced.get(timeout=SOON)
    assert talk.gossip.away
    talk.store.away = False
    assert "back" in talk.announced.get(timeout=SOON)
    assert not talk.gossip.away
    assert talk.announced.empty()
    told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 2
    assert "nobody there" in told[0]


def test_a_store_that_was_never_there_does_not_hold_up_the_close(talk: Talk) -> None:
    talk.store.away = True
    talk.gossip.start()
    talk.store.until("lost")
    talk.gossip.close()
    assert talk.store.until("close")[-2:] == ["withdraw", "close"]
    assert talk.heard.empty()


def test_pauses_grow_to_a_limit_and_differ() -> None:
    talk = Talk(interval_s=0.5)
    state: Callable[[int], float] = lambda number: talk.gossip._pause_s(type("S", (), {"attempt_number": number})())  # type: ignore[arg-type] # noqa: E731
    pauses = [state(number) for number in (1, 2, 3, 4, 50)]
    assert 0.25 <= pauses[0] <= 0.5 < 1.0 <= pauses[2] <= 2.0
    assert 2.5 <= pauses[4] <= 5.0
    assert len({state(50) for _ in range(5)}) == 5
