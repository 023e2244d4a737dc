"""One event loop's share of the work: actions are performed in that loop, whoever pushes them."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from agentsched.dispatch.lane import Lane


async def test_who_only_seems_to_be_in_the_loop_has_actions_performed_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under gevent, where asyncio tells every greenlet of the loop that one of them runs."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    lane, performed = Lane(loop, {}, lambda event: None, {}), list[int]()

    def perform(self: Lane, pending: Any, action: Any) -> None:
        performed.append(threading.get_ident())
        done.set()

    monkeypatch.setattr(Lane, "_perform", perform)
    await lane.open()
    pending: Any = SimpleNamespace(timer=None)

    def from_elsewhere() -> None:
        lane.push(pending, pending)
        lane.wake(loop)

    thread = threading.Thread(target=from_elsewhere)
    thread.start()
    thread.join()
    assert performed == []
    await asyncio.wait_for(done.wait(), 5)
    assert performed == [threading.get_ident()]
    await lane.close()
