"""Calls that are caught tell what they could have used."""

import asyncio

import pytest

from agentsched.errors import EndpointsUnavailable
from agentsched.workflow.lineage import lineage_of
from tests.intercept.fakes import chat_chunks, inside

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_calls_tell_their_parents(sync_client, dispatcher, new_run):
    with inside(new_run()) as run:
        sync_client.chat.completions.create(**ASK)
        dispatcher.stream(*chat_chunks("a"))
        list(sync_client.chat.completions.create(**ASK, stream=True))
        sync_client.chat.completions.create(**ASK, stream=True).close()
        sync_client.chat.completions.create(**ASK, stream=True)
    ids = [call.call_id for call in dispatcher.calls]
    assert ids == [f"{run.run_id}-{index}" for index in range(4)]
    assert [call.parents for call in dispatcher.calls] == [(), (ids[0],), (ids[1],), (ids[1],)]


async def test_calls_without_an_answer_do_not_run_on(async_client, dispatcher, new_run):
    """Else every later call would be taken for a branch beside them."""

    async def cancelled(call, exchange):
        raise asyncio.CancelledError

    with inside(new_run()) as run:
        for answer in (EndpointsUnavailable("down"), cancelled):
            dispatcher.answer = answer
            with pytest.raises((EndpointsUnavailable, asyncio.CancelledError)):
                await async_client.chat.completions.create(**ASK)
        assert not lineage_of(run)._running
