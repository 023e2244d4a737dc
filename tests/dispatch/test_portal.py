"""The loop of callers that have none."""

import threading
import time

import pytest

from agentsched import clock
from agentsched.dispatch.portal import Portal


def test_its_timers_go_on_while_a_test_has_stopped_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    portal, rung = Portal(), threading.Event()
    with monkeypatch.context() as stopped:
        stopped.setattr(time, "monotonic", lambda: 1.6e9)
        assert clock.monotonic() != 1.6e9
        loop = portal.loop()
        loop.call_soon_threadsafe(lambda: loop.call_later(0.01, rung.set))
        assert rung.wait(5)
    portal.close()
