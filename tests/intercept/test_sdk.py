"""The openai SDK, unchanged, inside a run: every way of asking and of reading the answer."""

import asyncio
import gc
import inspect
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import openai
import pydantic
import pytest

from tests.intercept.fakes import chat_answer, chat_chunks, inside, json_reply, sse
from tests.intercept.upstream import ok

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TOOL = {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}


async def maybe_await(ask, **options):
    answer = ask(**options)
    return await answer if inspect.isawaitable(answer) else answer


class City(pydantic.BaseModel):
    name: str
    people: int


def test_sync_chat_completion(sync_client, dispatcher, new_run):
    with inside(new_run()) as run:
        answer = sync_client.chat.completions.create(**ASK)

    assert answer.choices[0].message.content == "hello"
    assert answer.usage.total_tokens == 5
    (call,) = dispatcher.calls
    assert (call.run_id, call.workflow, call.model, call.api, call.stream) == (
        run.run_id,
        "flow",
        "m",
        "chat/completions",
        False,
    )
    assert dispatcher.exchanges[0].body == ASK


async def test_async_chat_completion(async_client, dispatcher, new_run):
    with inside(new_run()):
        answer = await async_client.chat.completions.create(**ASK)

    assert answer.choices[0].message.content == "hello"
    assert answer._request_id is None
    assert len(dispatcher.calls) == 1


def test_sync_stream(sync_client, dispatcher, new_run):
    dispatcher.stream(*chat_chunks("a", "b", "c"))
    with inside(new_run()):
        stream = sync_client.chat.completions.create(**ASK, stream=True)
        words = [chunk.choices[0].delta.content for chunk in stream]

    assert words == ["a", "b", "c", None]
    assert dispatcher.calls[0].stream
    assert "stream" in dispatcher.calls[0].needs
    assert dispatcher.bodies[0].closed == 1


async def test_async_stream(async_client, dispatcher, new_run):
    dispatcher.stream(*chat_chunks("a", "b", "c"))
    with inside(new_run()):
        stream = await async_client.chat.completions.create(**ASK, stream=True)
        words = [chunk.choices[0].delta.content async for chunk in stream]

    assert words == ["a", "b", "c", None]
    assert dispatcher.bodies[0].closed == 1


async def test_leaving_a_stream_early_closes_its_body(async_client, dispatcher, new_run):
    dispatcher.stream(*chat_chunks("a", "b", "c"))
    with inside(new_run()):
        async with await async_client.chat.completions.create(**ASK, stream=True) as stream:
            async for _ in stream:
                break

    assert dispatcher.bodies[0].closed == 1


def test_a_forgotten_stream_closes_its_body_and_lets_go_of_its_run(sync_client, dispatcher, new_run):
    dispatcher.stream(*chat_chunks("a", "b"))
    ended: list[str] = []
    with inside(new_run()) as run:
        stream = sync_client.chat.completions.create(**ASK, stream=True)
    run.finish_when_released(lambda: ended.append("released"))
    assert ended == []

    del stream
    gc.collect()

    assert dispatcher.bodies[0].closed
    assert ended == ["released"]


def test_stream_helper(sync_client, dispatcher, new_run):
    dispatcher.stream(*chat_chunks("a", "b"))
    with inside(new_run()), sync_client.chat.completions.stream(**ASK) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()

    assert "content.delta" in kinds
    assert final.choices[0].message.content == "ab"


async def test_async_stream_helper(async_client, dispatcher, new_run):
    dispatcher.stream(*chat_chunks("a", "b"))
    with inside(new_run()):
        async with async_client.chat.completions.stream(**ASK) as stream:
            final = await stream.get_final_completion()

    assert final.choices[0].message.content == "ab"


async def test_parse_into_a_model(async_client, sync_client, dispatcher, new_run):
    dispatcher.answer = json_reply(chat_answer('{"name": "Oslo", "people": 700000}'))
    with inside(new_run()):
        for parse in (sync_client.chat.completions.parse, async_client.chat.completions.parse):
            answer = await maybe_await(parse, **ASK, response_format=City)
            assert answer.choices[0].message.parsed == City(name="Oslo", people=700000)

    assert all("json_schema" in call.needs for call in dispatcher.calls)


def test_tools(sync_client, dispatcher, new_run):
    tool_call = {"id": "t1", "type": "function", "function": {"name": "search", "arguments": '{"q": "x"}'}}
    dispatcher.answer = json_reply(chat_answer("", tool_calls=[tool_call]))
    with inside(new_run()):
        answer = sync_client.chat.completions.create(**ASK, tools=[TOOL])

    assert answer.choices[0].message.tool_calls[0].function.arguments == '{"q": "x"}'
    assert "tools" in dispatcher.calls[0].needs


async def test_raw_response(async_client, sync_client, dispatcher, new_run):
    dispatcher.answer = json_reply(chat_answer(), x_request_id="req-7")
    with inside(new_run()):
        for client in (sync_client, async_client):
            raw = await maybe_await(client.chat.completions.with_raw_response.create, **ASK)
            assert raw.status_code == 200
            assert raw.headers["x-request-id"] == "req-7"
            assert raw.parse().choices[0].message.content == "hello"
            assert raw.http_response.elapsed.total_seconds() >= 0
            assert raw.http_response.is_closed
            assert raw.http_response.num_bytes_downloaded == int(raw.headers["content-length"])


def test_raw_response_of_a_stream(sync_client, dispatcher, new_run):
    dispatcher.stream(*chat_chunks("a"))
    with inside(new_run()):
        raw = sync_client.chat.completions.with_raw_response.create(**ASK, stream=True)
        words = [chunk.choices[0].delta.content for chunk in raw.parse()]

    assert words == ["a", None]


def test_streaming_response_of_a_whole_answer(sync_client, dispatcher, new_run):
    with (
        inside(new_run()),
        sync_client.chat.completions.with_streaming_response.create(**ASK) as response,
    ):
        body = b"".join(response.iter_bytes())

    assert json.loads(body) == chat_answer()


async def test_streaming_response_of_a_stream(async_client, dispatcher, new_run):
    dispatcher.stream(*chat_chunks("a", "b"))
    with inside(new_run()):
        async with async_client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
            lines = [line async for line in response.iter_lines()]

    assert lines[-2] == "data: [DONE]"


def test_text_completions(sync_client, dispatcher, new_run):
    choice = {"index": 0, "text": "hello", "finish_reason": "stop", "logprobs": None}
    body = {"id": "x", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}
    dispatcher.answer = json_reply(body)
    with inside(new_run()):
        answer = sync_client.completions.create(model="m", prompt="hi", max_tokens=7)

    assert answer.choices[0].text == "hello"
    call = dispatcher.calls[0]
    assert (call.api, call.max_tokens, call.needs) == ("completions", 7, frozenset({"completions"}))


def response_body(response_id="resp_1", text="hello"):
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    return {
        "id": response_id,
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": "completed",
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


async def test_responses(async_client, dispatcher, new_run):
    dispatcher.answer = json_reply(response_body())
    with inside(new_run()):
        answer = await async_client.responses.create(model="m", input="hi", instructions="be kind", store=False)

    assert answer.output_text == "hello"
    call = dispatcher.calls[0]
    assert (call.api, call.repeatable, call.needs) == ("responses", True, frozenset({"responses"}))


def test_responses_parse(sync_client, dispatcher, new_run):
    dispatcher.answer = json_reply(response_body(text='{"name": "Oslo", "people": 1}'))
    with inside(new_run()):
        answer = sync_client.responses.parse(model="m", input="hi", text_format=City)

    assert answer.output_parsed == City(name="Oslo", people=1)
    assert "json_schema" in dispatcher.calls[0].needs


def test_a_response_is_continued_where_it_was_made(sync_client, dispatcher, new_run):
    dispatcher.answer = json_reply(response_body("resp_home"))
    with inside(new_run()):
        sync_client.responses.create(model="m", input="hi")
        sync_client.responses.create(model="m", input="and?", previous_response_id="resp_home")

    first, second = dispatcher.calls
    assert (first.repeatable, first.pinned) == (False, None)
    assert (second.repeatable, second.pinned) == (False, "one")


async def test_a_streamed_response_is_continued_where_it_was_made(async_client, dispatcher, new_run):
    created = {"type": "response.created", "sequence_number": 0, "response": response_body("resp_streamed")}
    dispatcher.stream(*sse(created, done=False))
    with inside(new_run()):
        async for _ in await async_client.responses.create(model="m", input="hi", stream=True):
            pass
        dispatcher.answer = json_reply(response_body())
        await async_client.responses.create(model="m", input="and?", previous_response_id="resp_streamed")

    assert dispatcher.calls[1].pinned == "one"


async def test_cancelling_the_caller_reaches_the_dispatcher(async_client, dispatcher, new_run):
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def never(call, exchange):
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    dispatcher.answer = never
    with inside(new_run()):
        task = asyncio.create_task(async_client.chat.completions.create(**ASK))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()


def test_the_callers_timeout_is_the_calls_patience(sync_client, dispatcher, new_run):
    with inside(new_run()):
        sync_client.chat.completions.create(**ASK)
        sync_client.chat.completions.create(**ASK, timeout=3.5)
        sync_client.with_options(timeout=openai.Timeout(9.0, read=7.0)).chat.completions.create(**ASK)
        sync_client.with_options(timeout=None).chat.completions.create(**ASK)

    assert [call.patience_s for call in dispatcher.calls] == [600.0, 3.5, 7.0, None]


def test_threads(sync_client, dispatcher, new_run):
    with inside(new_run()), ThreadPoolExecutor(8) as pool:
        tasks = [pool.submit(copy_context().run, lambda: sync_client.chat.completions.create(**ASK)) for _ in range(16)]
        answers = [task.result() for task in tasks]

    assert {answer.choices[0].message.content for answer in answers} == {"hello"}
    assert sorted(call.call_index for call in dispatcher.calls) == list(range(16))
    assert len({call.call_id for call in dispatcher.calls}) == 16
    assert threading.get_ident() not in dispatcher.threads


@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_client_errors_pass_unchanged_and_once(async_client, sync_client, dispatcher, new_run, status):
    error = {"error": {"message": "no such thing", "type": "invalid", "param": "x", "code": "bad"}}
    dispatcher.answer = json_reply(error, status, x_should_retry="true")
    with inside(new_run()):
        for client in (sync_client, async_client):
            with pytest.raises(openai.APIStatusError) as caught:
                await maybe_await(client.chat.completions.create, **ASK)
            assert caught.value.status_code == status
            assert caught.value.body == error["error"]
            assert caught.value.response.headers.get_list("x-should-retry") == ["false"]

    assert len(dispatcher.calls) == 2


def test_embeddings_are_left_alone(upstream, dispatcher, new_run):
    upstream.script = ok({"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}})
    with openai.OpenAI(base_url=upstream.url, api_key="k") as client, inside(new_run()) as run:
        client.embeddings.create(model="m", input="hi", encoding_format="float")

    assert dispatcher.calls == []
    assert run.calls == 0
    assert len(upstream.requests) == 1
