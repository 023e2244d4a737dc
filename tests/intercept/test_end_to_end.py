"""The SDK over the real dispatcher to a server on the loopback: what the fakes of this room stand for."""

import asyncio
import inspect
import time

import openai
import pytest

from agentsched import api
from agentsched.core.endpoint import Endpoint, Pool
from agentsched.errors import DeadlineExceeded, EndpointsUnavailable
from agentsched.runtime import Runtime, shutdown
from agentsched.workflow.scope import current_run
from tests.intercept.fakes import CANARY, NOWHERE, chat_chunks
from tests.intercept.upstream import head, ok

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def pool(upstream):
    yield Pool([Endpoint(name="a", base_url=upstream.url, model="m", api_key="sk-endpoint")])
    shutdown()
    api.uninstrument()


@pytest.fixture
def ask(sync_client, pool):
    @api.workflow(slo="0.5s", pool=pool)
    def ask(**options):
        answer = sync_client.chat.completions.create(**ASK, **options)
        return list(answer) if options.get("stream") else answer

    return ask


@pytest.fixture
def ask_async(async_client, pool):
    @api.workflow(slo="0.5s", pool=pool)
    async def ask(**options):
        answer = await async_client.chat.completions.create(**ASK, **options)
        return [chunk async for chunk in answer] if options.get("stream") else answer

    return ask


def streamed(connection, request):
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chat_chunks("a", "b"))
    connection.sendall(head("transfer-encoding: chunked", kind="text/event-stream") + body + b"0\r\n\r\n")


async def test_answers(upstream, ask, ask_async):
    assert (await asyncio.to_thread(ask)).choices[0].message.content == "hello"
    assert (await ask_async()).choices[0].message.content == "hello"
    upstream.script = streamed
    for chunks in (await asyncio.to_thread(ask, stream=True), await ask_async(stream=True)):
        assert [chunk.choices[0].delta.content for chunk in chunks] == ["a", "b", None]
    sent = b"".join(upstream.requests)
    assert CANARY.encode() not in sent
    assert sent.count(b"Bearer sk-endpoint") == 4


async def test_client_errors(upstream, ask, ask_async):
    upstream.script = ok({"error": {"message": "bad", "code": "x"}}, "400 Bad Request")
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            await asyncio.to_thread(ask, stream=stream)
        assert caught.value.code == "x"
        with pytest.raises(openai.BadRequestError):
            await ask_async(stream=stream)
    assert len(upstream.requests) == 4


@pytest.mark.parametrize("stream", [False, True])
async def test_silence_ends_at_the_deadline(upstream, ask, ask_async, stream):
    upstream.script = lambda connection, request: connection.recv(1)
    for work in (asyncio.to_thread(ask, stream=stream), ask_async(stream=stream)):
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded) as caught:
            await work
        assert time.monotonic() - start < 3.0
        assert type(caught.value) is DeadlineExceeded
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    assert len(upstream.requests) == 2


def test_the_sdk_sees_its_own_error_inside_the_workflow(upstream, sync_client, pool):
    @api.workflow(slo="0.3s", pool=pool)
    def work():
        with pytest.raises(openai.APITimeoutError) as caught:
            sync_client.chat.completions.create(**ASK)
        assert isinstance(caught.value, DeadlineExceeded)
        assert current_run().error is caught.value.plain
        return "partial"

    upstream.script = lambda connection, request: connection.recv(1)
    assert work() == "partial"
    assert len(upstream.requests) == 1


def test_no_endpoint_answers(sync_client):
    down = Pool([Endpoint(name="down", base_url=NOWHERE, model="m")])

    @api.workflow(slo="5s", pool=down)
    def work():
        return sync_client.chat.completions.create(**ASK)

    try:
        with pytest.raises(EndpointsUnavailable) as caught:
            work()
    finally:
        shutdown()
        api.uninstrument()
    assert isinstance(caught.value, openai.APIConnectionError)
    assert CANARY not in str(caught.value)


async def test_cancelling_frees_the_slot(upstream, async_client, pool):
    loop, asked, gone = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def script(connection, request):
        loop.call_soon_threadsafe(asked.set)
        assert connection.recv(1) == b""
        loop.call_soon_threadsafe(gone.set)

    @api.workflow(slo="5s", pool=pool)
    async def work():
        await async_client.chat.completions.create(**ASK)

    upstream.script = script
    task = asyncio.create_task(work())
    await asyncio.wait_for(asked.wait(), 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(gone.wait(), 2)


def test_the_runtime_has_what_interception_asks_of_it(pool):
    """Fakes stand in for it everywhere else."""
    from agentsched.settings import load_settings

    runtime = Runtime(load_settings(pool))
    assert inspect.iscoroutinefunction(runtime.dispatcher.send)
    assert callable(runtime.dispatcher.send_blocking)
    assert runtime.settings.pool.serving("m") == (0,)
    assert runtime.settings.intercept.custom_transports is False
    runtime.close()
