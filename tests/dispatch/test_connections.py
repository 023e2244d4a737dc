"""Connections of loops that programs close in passing."""

import asyncio
import gc
import os
from types import SimpleNamespace

import aiohttp
import pytest

from agentsched.dispatch.connections import open_session


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # asyncio's, of the open transport
def test_a_loop_that_is_closed_in_passing_leaves_no_complaints(emulated, caplog):
    loop = asyncio.new_event_loop()

    async def visited() -> aiohttp.ClientSession:
        session = open_session(asyncio.get_running_loop())
        async with session.get(f"{emulated.urls['a']}/models") as response:
            await response.read()
        return session

    session = loop.run_until_complete(visited())
    assert not session.closed
    loop.close()
    assert session.closed
    del session, loop
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize("thrown_away", [False, True])
def test_what_a_forked_child_ends_stays_open_in_its_parent(thrown_away, emulated):
    loop = asyncio.new_event_loop()

    async def visited(session: aiohttp.ClientSession) -> bool:
        asked = SimpleNamespace(reused=False)
        async with asyncio.timeout(2), session.get(f"{emulated.urls['a']}/models", trace_request_ctx=asked) as response:
            await response.read()
        return asked.reused

    async def opened() -> aiohttp.ClientSession:
        return open_session(asyncio.get_running_loop())

    session = loop.run_until_complete(opened())
    loop.run_until_complete(visited(session))
    child = os.fork()
    if child == 0:
        try:
            assert session.closed
            if thrown_away:
                del session
                gc.collect()
            else:
                loop.run_until_complete(session.close())
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must never return into pytest
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert loop.run_until_complete(visited(session))
    loop.run_until_complete(session.close())
    loop.close()
