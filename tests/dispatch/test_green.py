"""A loop that other code in its thread does not see, where gevent's threads are all one."""

import asyncio
import sys

import pytest

from agentsched.dispatch.green import GreenLoop, threads_are_green


def test_while_it_waits_the_thread_looks_as_it_did_before(monkeypatch):
    loop, seen = GreenLoop(), []
    hooks = sys.get_asyncgen_hooks()
    waiting = type(loop._stepping._inner)
    select = waiting.select

    def elsewhere(self, timeout=None):
        """What another greenlet would find, which goes on now."""
        seen.append((asyncio._get_running_loop(), sys.get_asyncgen_hooks()))
        return select(self, timeout)

    monkeypatch.setattr(waiting, "select", elsewhere)

    async def work() -> asyncio.AbstractEventLoop:
        await asyncio.sleep(0.01)
        return asyncio.get_running_loop()

    with loop.entered():
        assert loop.run_until_complete(work()) is loop
    loop.close()
    assert seen
    assert set(seen) == {(None, hooks)}
    assert asyncio._get_running_loop() is None
    assert sys.get_asyncgen_hooks() == hooks


async def test_it_runs_where_another_loop_seems_to_run():
    loop, outer = GreenLoop(), asyncio.get_running_loop()

    async def work() -> int:
        await asyncio.sleep(0.01)
        return 7

    with loop.entered():
        assert loop.run_until_complete(work()) == 7
    loop.close()
    assert asyncio.get_running_loop() is outer


@pytest.mark.skipif("gevent" in sys.modules, reason="gevent is at work in this process")
def test_threads_are_threads():
    assert not threads_are_green()
