"""Connections of loops that programs close in passing."""

import asyncio
import gc

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
