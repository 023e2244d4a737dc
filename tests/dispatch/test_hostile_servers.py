"""Servers that break off in odd places, or answer oddly, at the first request and well at the next one."""

import asyncio
import gc
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsched.core.endpoint import Endpoint, Pool
from agentsched.core.rules import RetryRules, Rules, StreamRules
from agentsched.errors import EndpointsUnavailable, StreamBroken
from tests.dispatch.test_rescue import a_request, the_call

WORDS = ["Grüße", " aus", " München", ": 😀", " und", " Schluss"]
TEXT = "".join(WORDS)
USAGE = {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}

Answering = Callable[[web.StreamResponse], Awaitable[None]]


def event(**choice: object) -> bytes:
    made = {"index": 0, "delta": {}, "finish_reason": None} | choice
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [made]}
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


def said(text: str, **more: object) -> bytes:
    return event(delta={"content": text}, **more)


END = event(finish_reason="stop")
LAST = b"data: " + json.dumps({"id": "x", "choices": [], "usage": USAGE}).encode() + b"\n\ndata: [DONE]\n\n"


async def well(request: web.Request, have: str) -> web.StreamResponse:
    """The rest of the text, from where the caller's ends."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    await response.write(said(TEXT.removeprefix(have)) + END + LAST)
    return response


@asynccontextmanager
async def served(
    first: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[tuple[Pool, list[dict]]]:
    """Two endpoints, in truth one server, whose first answer is ``first``; gives the pool and what it is asked."""
    asked: list[dict] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(await request.json())
        if len(asked) == 1:
            return await first(request)
        last = asked[-1]["messages"][-1]
        return await well(request, last["content"] if last["role"] == "assistant" else "")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/v1"))
        yield Pool([Endpoint(name=name, base_url=url, model="m", kind="vllm") for name in "ab"]), asked


def broken(*written: bytes, last: bytes = b"") -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A stream of these pieces whose connection then ends, after ``last``, without the end of its body."""

    async def first(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for piece in written:
            await response.write(piece)
        await asyncio.sleep(0.02)
        assert isinstance(request.transport, asyncio.Transport)
        if last:
            request.transport.write(last)
            await asyncio.sleep(0.02)
        request.transport.close()
        return response

    return first


def garbled(*written: bytes) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A stream of these pieces with another answer in the middle of it, as a server writes that breaks down there."""
    return broken(*written, last=b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")


def plain(**fields: object) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def first(request: web.Request) -> web.StreamResponse:
        return web.Response(**fields)

    return first


def limited(request: web.Request) -> Awaitable[web.StreamResponse]:
    later = {"Retry-After": formatdate(time.time() + 30, usegmt=True)}
    return plain(status=429, headers=later, body=b"{}")(request)


BEGUN = event(delta={"role": "assistant", "content": ""}) + said(WORDS[0]) + said(WORDS[1])
UMLAUT = said(WORDS[2])
HALF_TOOL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a'}}

CASES = {
    "cut inside a character": (broken(BEGUN, UMLAUT[: UMLAUT.index("ü".encode()) + 1]), "migrate"),
    "cut inside an event": (broken(BEGUN, b'data: {"id": "x", "choi'), "migrate"),
    "half a tool call": (broken(event(delta={"content": None, "tool_calls": [HALF_TOOL]})), "begun anew"),
    "another answer in the middle": (garbled(BEGUN), "migrate"),
    "an event that is no object": (broken(BEGUN, b"data: [1, 2]\n\n"), "migrate"),
    "only the end mark": (broken(b"data: [DONE]\n\n"), "begun anew"),
    "200 with an error": (
        plain(body=b'{"error": {"message": "overloaded"}}', content_type="application/json"),
        "begun anew",
    ),
    "200 with a page": (plain(text="<html>gateway</html>", content_type="text/html"), "begun anew"),
    "200 with garbage": (plain(body=b"\xff\xfe{{{", content_type="application/json"), "begun anew"),
    "429 with a date": (limited, "begun anew"),
    "closed before its headers": (lambda request: _closed(request), "begun anew"),
}


async def _closed(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def text_of(stream: bytes) -> tuple[str, list[str], int]:
    """Text, finish reasons and end marks."""
    events = [json.loads(part[6:]) for part in stream.split(b"\n\n") if part.startswith(b"data: {")]
    choices = [choice for one in events for choice in one["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text, [c["finish_reason"] for c in choices if c["finish_reason"]], stream.count(b"[DONE]")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(("first", "how"), CASES.values(), ids=CASES)
async def test_the_caller_gets_one_whole_answer(make_runtime, first, how, stream):
    async with served(first) as (pool, asked):
        runtime = make_runtime(pool)
        exchange = a_request("hi", **({"stream": True} if stream else {}))
        reply = await runtime.dispatcher.send(the_call(exchange, 10.0), exchange)
        if stream:
            got = text_of(b"".join([piece async for piece in reply.stream]))
            assert got == (TEXT, ["stop"], 1)
        else:
            choice = json.loads(reply.content)["choices"][0]
            assert (choice["message"]["content"], choice["finish_reason"]) == (TEXT, "stop")
        goes_on = asked[1]["messages"][-1]["role"] == "assistant"
        assert goes_on == (how == "migrate")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_server_that_stands_still_after_its_last_word_has_said_everything(make_runtime, stream):
    """Nobody is asked to write more behind a finished text; its usage is not waited for without end."""
    held = asyncio.Event()

    async def first(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(said(TEXT) + END)
        await held.wait()
        return response

    async with served(first) as (pool, asked):
        runtime = make_runtime(pool)
        exchange = a_request("hi", **({"stream": True} if stream else {}))
        began = time.monotonic()
        reply = await runtime.dispatcher.send(the_call(exchange, 20.0), exchange)
        if stream:
            assert text_of(b"".join([piece async for piece in reply.stream])) == (TEXT, ["stop"], 1)
        else:
            assert json.loads(reply.content)["choices"][0]["message"]["content"] == TEXT
        assert time.monotonic() - began < 5.0
        assert len(asked) == 1
        held.set()


@pytest.mark.parametrize(
    "fields",
    [{"n": 2}, {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}}],
    ids=["two choices", "a schema"],
)
@pytest.mark.parametrize("breaks", [broken, garbled])
async def test_what_nobody_can_go_on_with_ends_clearly(make_runtime, fields, breaks):
    """No end mark, no finish reason: nothing that a caller could take for the whole; and long before its deadline."""
    async with served(breaks(BEGUN)) as (pool, asked):
        runtime = make_runtime(pool)
        exchange = a_request("hi", stream=True, **fields)
        needs = frozenset({"n"}) if "n" in fields else frozenset()
        reply = await runtime.dispatcher.send(the_call(exchange, 10.0, needs=needs), exchange)
        got: list[bytes] = []

        async def read() -> None:
            async for piece in reply.stream:
                got.append(piece)

        with pytest.raises(StreamBroken):
            await read()
        assert text_of(b"".join(got)) == (WORDS[0] + WORDS[1], [], 0)
        assert len(asked) == 1


@pytest.mark.parametrize(("silent", "left"), [(1, 16), (3, 12), (40, 12)])
async def test_tokens_that_are_parts_of_a_character_count_for_the_cap(make_runtime, silent, left):
    """As vLLM streams them: an event without text for each, but no more of them than a character has bytes."""
    pieces = [event(delta={"role": "assistant", "content": ""})]
    for word in WORDS[:2]:
        pieces += [said("")] * silent + [said(word)]
    async with served(broken(*pieces)) as (pool, asked):
        runtime = make_runtime(pool)
        exchange = a_request("hi", stream=True, max_tokens=20)
        reply = await runtime.dispatcher.send(the_call(exchange, 10.0), exchange)
        assert text_of(b"".join([piece async for piece in reply.stream])) == (TEXT, ["stop"], 1)
        assert asked[1]["max_tokens"] == left


async def test_log_probabilities_stay_with_their_own_tokens(make_runtime):
    def probable(text: str) -> dict:
        return {"content": [{"token": text, "logprob": -0.5}]}

    first = broken(*(said(word, logprobs=probable(word)) for word in WORDS[:3]))
    async with served(first) as (pool, _):
        runtime = make_runtime(pool)
        exchange = a_request("hi", stream=True, logprobs=True)
        reply = await runtime.dispatcher.send(the_call(exchange, 10.0), exchange)
        stream = b"".join([piece async for piece in reply.stream])
        assert text_of(stream) == (TEXT, ["stop"], 1)
        events = [json.loads(part[6:]) for part in stream.split(b"\n\n") if part.startswith(b"data: {")]
        told = [choice for one in events for choice in one["choices"] if choice.get("logprobs")]
        assert [c["delta"]["content"] for c in told] == WORDS[:3]
        assert [c["logprobs"]["content"][0]["token"] for c in told] == WORDS[:3]


def oddly(stream: bytes | None = None, **fields: object) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A right answer, as a stream or whole as it is asked for, in an odd wrapping."""

    async def first(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        body = (BEGUN + said("".join(WORDS[2:])) + END + LAST) if stream is None else stream
        return web.Response(**{"body": body if asked.get("stream") else json.dumps(WHOLE).encode()} | fields)

    return first


def led(status: int, to: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    return plain(status=status, headers={"location": to})


WHOLE = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": USAGE,
}
ONCE = Rules(retry=RetryRules(max_attempts=1))
ODD = {
    "plain text": oddly(content_type="text/plain"),
    "bytes": oddly(content_type="application/octet-stream"),
    "JSON": oddly(content_type="application/json"),
    "in capitals": oddly(headers={"content-type": "Text/Event-Stream;charset=UTF-8"}),
    "a mark and blank lines first": oddly(
        b"\xef\xbb\xbf\n\n: hi\n\n" + said(TEXT) + END + LAST, content_type="text/css"
    ),
    "created": oddly(status=201, content_type="text/event-stream"),
    "a long header": oddly(content_type="text/event-stream", headers={"content-security-policy": "a" * 12_000}),
    "another path": led(307, "/v1/chat/completions?moved"),
    "a path beside it": led(308, "completions"),
}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("upgrade_from_s", [0.0, 1.0])
@pytest.mark.parametrize("first", ODD.values(), ids=ODD)
async def test_an_odd_wrapping_costs_no_attempt(make_runtime, first, stream, upgrade_from_s):
    """Content types, statuses, headers and redirects that callers' own HTTP clients do not mind."""
    async with served(first) as (pool, _):
        runtime = make_runtime(pool, replace(ONCE, stream=StreamRules(upgrade_from_s=upgrade_from_s)))
        exchange = a_request("hi", **({"stream": True} if stream else {}))
        reply = await runtime.dispatcher.send(the_call(exchange, 10.0), exchange)
        if stream:
            assert text_of(b"".join([piece async for piece in reply.stream])) == (TEXT, ["stop"], 1)
        else:
            assert json.loads(reply.content)["choices"][0]["message"]["content"] == TEXT
        assert len(runtime.told) == 1


async def test_a_redirect_to_another_host_is_not_followed_and_says_so(make_runtime):
    """The prompt and the endpoint's key stay where they were sent."""
    async with served(led(307, "http://127.0.0.2:9/v1/chat/completions")) as (pool, asked):
        runtime = make_runtime(pool, ONCE)
        exchange = a_request("hi")
        with pytest.raises(EndpointsUnavailable, match="HTTP 307: `base_url` must name the address"):
            await runtime.dispatcher.send(the_call(exchange, 10.0), exchange)
        assert len(asked) == 1


async def test_redirects_in_a_circle_end(make_runtime):
    async def first(request: web.Request) -> web.StreamResponse:
        asked.clear()  # every request is the first
        went.append(request)
        return web.Response(status=307, headers={"location": "/v1/chat/completions"})

    went: list[web.Request] = []
    async with served(first) as (pool, asked):
        runtime = make_runtime(pool, ONCE)
        exchange = a_request("hi")
        with pytest.raises(EndpointsUnavailable, match="HTTP 307"):
            await runtime.dispatcher.send(the_call(exchange, 10.0), exchange)
    assert len(went) == 6


@pytest.mark.parametrize("size", [1_000, 300_000])
async def test_a_refusal_that_repeats_a_long_prompt_is_handed_over_whole(make_runtime, size):
    said_no = json.dumps({"error": {"message": "too long", "input": "x" * size}}).encode()
    async with served(plain(status=422, body=said_no, content_type="application/json")) as (pool, _):
        exchange = a_request("hi")
        reply = await make_runtime(pool).dispatcher.send(the_call(exchange, 10.0), exchange)
        assert (reply.status, reply.content) == (422, said_no)


async def test_a_connection_that_is_reset_is_no_news_for_the_event_loop(make_runtime):
    """It is told as the attempt's failure; asyncio does not complain of it later as of an error nobody heard."""

    async def first(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(BEGUN)
        await asyncio.sleep(0.02)
        assert request.transport is not None
        sock = request.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
        return response

    complaints: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    async with served(first) as (pool, asked):
        runtime = make_runtime(pool)
        exchange = a_request("hi", stream=True)
        reply = await runtime.dispatcher.send(the_call(exchange, 10.0), exchange)
        assert text_of(b"".join([piece async for piece in reply.stream])) == (TEXT, ["stop"], 1)
        assert len(asked) == 2
    del reply
    gc.collect()
    assert complaints == []
