"""The explicit clients: scheduled without any patch."""

import asyncio
import gc
import subprocess
import sys
import textwrap

import openai
import pytest

from agentsched.intercept import clients, instrument, uninstrument
from tests.intercept.fakes import FAMILY, NOWHERE, chat_answer, chat_chunks, inside

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(autouse=True)
def _nothing_patched(_instrumented):
    uninstrument()


def test_sync(dispatcher, new_run):
    with clients.OpenAI(base_url=NOWHERE, api_key="k") as client, inside(new_run()):
        assert client.chat.completions.create(**ASK).choices[0].message.content == "hello"
        dispatcher.stream(*chat_chunks("a"))
        assert len(list(client.with_options(timeout=2.0).chat.completions.create(**ASK, stream=True))) == 2
    assert isinstance(client, openai.OpenAI)
    assert [call.patience_s for call in dispatcher.calls] == [600.0, 2.0]


async def test_async(dispatcher, new_run):
    async with clients.AsyncOpenAI(base_url=NOWHERE, api_key="k") as client:
        with inside(new_run()):
            answer = await client.copy(max_retries=0).chat.completions.create(**ASK)
    assert answer.choices[0].message.content == "hello"
    assert isinstance(client, openai.AsyncOpenAI)
    assert len(dispatcher.calls) == 1


def test_outside_a_run_they_are_the_sdks(upstream, dispatcher):
    with clients.OpenAI(base_url=upstream.url, api_key="k") as client:
        client.chat.completions.create(**ASK)
    assert (len(upstream.requests), dispatcher.calls) == (1, [])


async def test_with_an_http_client_of_the_users_own(upstream, dispatcher, new_run):
    http_client = FAMILY.AsyncClient(headers={"x-own": "1"})
    async with clients.AsyncOpenAI(base_url=upstream.url, api_key="k", http_client=http_client) as client:
        with inside(new_run("5s")):
            await client.chat.completions.create(**ASK)
            await client.chat.completions.create(**{**ASK, "model": "elsewhere"})
    assert len(dispatcher.calls) == 1
    assert b"x-own: 1" in upstream.requests[0]


def test_a_users_transport_passes_through(dispatcher, new_run):
    transport = FAMILY.MockTransport(lambda request: FAMILY.Response(200, json=chat_answer("mocked")))
    http_client = FAMILY.Client(transport=transport)
    with clients.OpenAI(api_key="k", http_client=http_client) as client, inside(new_run()):
        assert client.chat.completions.create(**ASK).choices[0].message.content == "mocked"
    assert dispatcher.calls == []


def test_instrumented_as_well_it_is_one_call(upstream, dispatcher, new_run):
    instrument()
    with clients.OpenAI(base_url=upstream.url, api_key="k") as client, inside(new_run("5s")) as run:
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**{**ASK, "model": "elsewhere"})
    assert len(dispatcher.calls) == 1
    assert len(upstream.requests) == 1
    assert run.calls == 2


def test_a_forgotten_client_closes_its_connections(upstream):
    client = clients.OpenAI(base_url=upstream.url, api_key="k")
    client.chat.completions.create(**ASK)
    pool = client._client._transport._pool
    assert len(pool.connections) == 1
    del client
    gc.collect()
    assert pool.connections == []


async def test_a_forgotten_async_client_is_closed_in_its_loop(upstream):
    client = clients.AsyncOpenAI(base_url=upstream.url, api_key="k")
    await client.chat.completions.create(**ASK)
    pool = client._client._transport._pool
    del client
    gc.collect()
    await asyncio.sleep(0)
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))
    assert pool.connections == []


def test_nothing_is_closed_while_the_interpreter_ends():
    """What closing needs may be gone by then; the sockets go anyway."""
    held = clients.http_client()
    type(held).__del__(held, ending=lambda: True)
    assert not held.is_closed
    type(held).__del__(held)
    assert held.is_closed


def test_names():
    assert clients.OpenAI is clients.OpenAI
    assert "scheduled" in clients.AsyncOpenAI.__doc__
    with pytest.raises(AttributeError, match="AzureThing"):
        clients.AzureThing


def test_without_the_sdk_it_says_what_to_install():
    code = """
        import sys
        sys.modules["openai"] = None
        from agentsched.intercept import clients
        try:
            clients.OpenAI
        except ImportError as error:
            assert "pip install 'agentsched[openai]'" in str(error), error
        else:
            raise SystemExit("no error")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
