"""Live: streams that break off in the caller's hands go on elsewhere; whole answers are made of streams."""

import asyncio
import json
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsched.core.endpoint import Endpoint, Pool
from agentsched.core.rules import RetryRules, Rules, StreamRules
from agentsched.emulator.token_ids import ids_of, pieces
from agentsched.endpoints.continuation import ways_of
from agentsched.endpoints.exchange import Exchange
from agentsched.endpoints.upgrade import may_upgrade
from agentsched.errors import StreamBroken
from tests.dispatch.conftest import EmulatorThread, a_call, asked

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
UPGRADED = Rules(stream=StreamRules(upgrade_from_s=0.0))
PATIENT = Rules(retry=RetryRules(max_attempts=12), stream=StreamRules(upgrade_from_s=0.0))
"""On a busy machine hedges come on top of what breaks off; both count as attempts."""
FAULTS = [
    ("cut", {"after": 7}),
    ("cut", {"after": 7, "clean": True}),
    ("error_in_stream", {"after": 13}),
    ("malformed_sse", {"after": 5}),
    ("truncated_json", {"after": 20}),
    ("stall", {"after": 9}),
]


def the_call(exchange: Exchange, deadline_s: float = 15.0, **fields):
    """The call as intercept would make it of this request."""
    ways = {"upgradable": may_upgrade(exchange), "continuable": ways_of(exchange)}
    cap = exchange.body.get("max_tokens")
    ways["max_tokens"] = cap if cap and cap > 0 else None
    return a_call(deadline_s, stream=exchange.stream, **(ways | fields))


def a_request(prompt: str, api: str = "chat/completions", **fields) -> Exchange:
    if api == "chat/completions":
        return with_fields(asked(prompt), fields)
    return with_fields(Exchange(api, {"model": "m"}, b"", (), False), {"prompt": prompt} | fields)


def with_fields(exchange: Exchange, fields) -> Exchange:
    body = {**exchange.body, **fields}
    return replace(exchange, body=body, raw=json.dumps(body).encode(), stream=bool(body.get("stream")))


async def read(runtime, exchange, **fields) -> list[dict]:
    """The data of every event, the end mark being the last."""
    reply = await runtime.dispatcher.send(the_call(exchange, **fields), exchange)
    return parsed(b"".join([event async for event in reply.stream]))


def parsed(stream: bytes) -> list[dict]:
    assert stream.endswith(b"data: [DONE]\n\n")
    return [json.loads(event.removeprefix(b"data: ")) for event in stream.split(b"\n\n")[:-2]]


def essence(events: list[dict]) -> list[dict]:
    """Events without what tells one request from another."""
    assert len({(event["id"], event["created"], event["model"]) for event in events}) == 1
    return [{name: value for name, value in e.items() if name not in ("id", "created")} for e in events]


@pytest.mark.parametrize(("kind", "fields"), FAULTS, ids=[f"{kind} {fields}" for kind, fields in FAULTS])
async def test_a_stream_that_breaks_off_is_completed_as_if_it_had_not(make_runtime, kind, fields):
    """Every one of 24 streams breaks off once, at different words, half of them at each endpoint."""
    with EmulatorThread("a", "b", "c") as emulated:
        runtime = make_runtime(emulated.pool(kind="vllm"), PATIENT)
        asks = {"stream": True, "stream_options": {"include_usage": True}}
        prompts = [f"question {k} [[out={30 + k}]]" for k in range(8)]
        unbroken = [await read(runtime, a_request(prompt, **asks)) for prompt in prompts]
        for name in "abc":
            emulated.inject(name, kind, count=4, **fields)
        broken = await asyncio.gather(*(read(runtime, a_request(prompt, **asks)) for prompt in prompts))
        told = [decision.why for decision in runtime.told]
        assert "migrate" in told
        for before, after in zip(unbroken, broken, strict=True):
            for events in (before, after):  # the usage tells how much of the prompt was cached
                events[-1]["usage"].pop("prompt_tokens_details")
            assert essence(after) == essence(before)


async def test_a_tool_call_that_breaks_off_is_made_anew(make_runtime):
    with EmulatorThread("a", "b") as emulated:
        runtime = make_runtime(emulated.pool())
        exchange = a_request("call it", stream=True, tools=[TOOL], tool_choice="required")
        unbroken = await read(runtime, exchange)
        for name in "ab":
            emulated.inject(name, "cut", count=1, after=0)
        events = await read(runtime, exchange)
        assert essence(events) == essence(unbroken)


async def test_a_seeded_text_is_replayed_where_the_server_takes_no_unfinished_message(make_runtime):
    with EmulatorThread("a", "b", kind="openai") as emulated:
        runtime = make_runtime(emulated.pool())
        exchange = a_request("say it [[out=40]]", stream=True, seed=7)
        unbroken = await read(runtime, exchange)
        for name in "ab":
            emulated.inject(name, "cut", count=1, after=12)
        assert essence(await read(runtime, exchange)) == essence(unbroken)


@pytest.mark.parametrize("fields", [{}, {"tools": [{"type": "function", "name": "f"}], "tool_choice": "required"}])
@pytest.mark.parametrize("after", [0, 1, 12])
async def test_a_response_at_temperature_0_is_replayed(make_runtime, after, fields):
    """Every one of them breaks off at each endpoint once."""
    can = frozenset({"stream", "responses", "tools"})
    with EmulatorThread("a", "b") as emulated:
        runtime = make_runtime(emulated.pool(capabilities=can))
        body = {"model": "m", "input": "say it [[out=40]]", "stream": True, "store": False, "temperature": 0, **fields}
        exchange = Exchange("responses", body, json.dumps(body).encode(), (), True)

        async def text() -> tuple[str, list[str], dict]:
            reply = await runtime.dispatcher.send(the_call(exchange, api="responses"), exchange)
            parts = b"".join([piece async for piece in reply.stream]).split(b"\n\n")
            events = [json.loads(part.split(b"data: ", 1)[1]) for part in parts if part.strip()]
            whole = {"content": json.dumps(events[-1]["response"]).encode()}
            return "".join(e.get("delta", "") for e in events), [e["type"] for e in events], same_answer(**whole)

        unbroken = await text()
        for name in "ab":
            emulated.inject(name, "cut", count=1, after=after)
        said, kinds, whole = await text()
        assert (said, whole) == (unbroken[0], unbroken[2])
        assert set(kinds) == set(unbroken[1])
        assert kinds.count("response.created") == kinds.count("response.completed") == 1


async def test_text_completions_go_on_from_a_longer_prompt(make_runtime):
    with EmulatorThread("a", "b") as emulated:
        runtime = make_runtime(emulated.pool())
        exchange = a_request("say it [[out=40]]", "completions", stream=True, max_tokens=40)
        unbroken = essence(await read(runtime, exchange))
        for name in "ab":
            emulated.inject(name, "cut", count=1, after=12)
        events = essence(await read(runtime, exchange))
        assert events[:12] == unbroken[:12]
        assert [event["choices"][0]["finish_reason"] for event in events[-2:]][-1] in ("stop", "length")


SPLIT = "[[say=Né日🎉   日本語]]"
"""An answer to this has characters that are spread over several tokens, and whitespace where it may be cut."""


def by_ids(prompt: str, **fields) -> Exchange:
    """A text completion whose prompt is given by the ids of its tokens."""
    return a_request(ids_of(pieces(prompt)), "completions", **({"max_tokens": 100} | fields))


def same_text(events: list[dict]) -> tuple:
    """A stream of text as it is put together, and everything else that a caller sees of it."""
    choices = [choice for event in essence(events) for choice in event["choices"]]
    usage = {name: count for name, count in (events[-1].get("usage") or {}).items() if name != "prompt_tokens_details"}
    told = [(c["token_ids"], c["prompt_token_ids"]) for c in choices if c["token_ids"] or c["prompt_token_ids"]]
    return "".join(choice["text"] for choice in choices), choices[-1]["finish_reason"], usage, told


@pytest.mark.parametrize(("kind", "fields"), FAULTS[:-1], ids=[f"{kind} {fields}" for kind, fields in FAULTS[:-1]])
async def test_a_completion_whose_prompt_is_ids_goes_on_by_ids(make_runtime, kind, fields):
    """Every one of 8 streams breaks off at each endpoint, at other tokens; what is whole is the unbroken stream."""
    with EmulatorThread("a", "b", "c") as emulated:
        runtime = make_runtime(emulated.pool(kind="vllm"), PATIENT)
        asks = {"stream": True, "stream_options": {"include_usage": True}}
        prompts = [by_ids(f"question {k} {SPLIT} [[out={30 + k}]]", **asks) for k in range(8)]
        unbroken = [await read(runtime, prompt) for prompt in prompts]
        for name in "abc":
            emulated.inject(name, kind, count=4, **fields)
        broken = await asyncio.gather(*(read(runtime, prompt) for prompt in prompts))
        assert "migrate" in [decision.why for decision in runtime.told]
        assert [same_text(events) for events in broken] == [same_text(events) for events in unbroken]
        assert same_text(broken[0])[2]["completion_tokens"] == 30
        assert not same_text(broken[0])[3], "nobody asked for ids"


@pytest.mark.parametrize(("say", "after"), [*((SPLIT, k) for k in range(13)), ("[[say=abcd日本]]", 2)])
async def test_a_caller_that_wants_ids_gets_each_once(make_runtime, say, after):
    """Of a text prompt too; where it has the first bytes of a character, nobody can go on, and it is told so."""
    with EmulatorThread("a", "b") as emulated:
        runtime = make_runtime(emulated.pool(kind="vllm"))
        exchange = a_request(f"{say} [[out=20]]", "completions", stream=True, max_tokens=20, return_token_ids=True)
        unbroken = await read(runtime, exchange)
        for name in "ab":
            emulated.inject(name, "cut", count=1, after=after)
        texts = [event["choices"][0]["text"] for event in unbroken[:after]]
        if any(texts) and not texts[-1]:
            with pytest.raises(StreamBroken):
                await read(runtime, exchange)
        else:
            assert same_text(await read(runtime, exchange)) == same_text(unbroken)


async def test_it_ends_at_the_cap_that_the_caller_did_not_mention(make_runtime):
    with EmulatorThread("a", "b") as emulated:
        runtime = make_runtime(emulated.pool(kind="vllm"))
        exchange = a_request(ids_of(pieces("say it [[out=40]]")), "completions", stream=True)
        unbroken = same_text(await read(runtime, exchange))
        assert unbroken[1] == "length"
        for after in (9, 16):
            for name in "ab":
                emulated.inject(name, "cut", count=1, after=after)
            assert same_text(await read(runtime, exchange)) == unbroken


async def test_who_says_that_there_is_no_cap_gets_all_of_it(make_runtime):
    """Null is not nothing: without the field a server takes the API's 16 tokens, with null it goes on to the end."""
    with EmulatorThread("a", "b") as emulated:
        runtime = make_runtime(emulated.pool(kind="vllm"))
        exchange = a_request(ids_of(pieces("say it [[out=40]]")), "completions", stream=True, max_tokens=None)
        unbroken = same_text(await read(runtime, exchange))
        assert unbroken[1] == "stop"
        for name in "ab":
            emulated.inject(name, "cut", count=1, after=5)
        assert same_text(await read(runtime, exchange)) == unbroken


async def test_who_may_not_be_asked_for_ids_is_not_asked(make_runtime):
    """A hosted API refuses the field."""
    with EmulatorThread("a", kind="openai") as emulated:
        runtime = make_runtime(emulated.pool())
        assert same_ids(await read(runtime, by_ids("say it [[out=9]]", stream=True))) == 9
    with EmulatorThread("a", kind="openai") as emulated:
        runtime = make_runtime(emulated.pool(kind="vllm", continuation="none"))
        assert same_ids(await read(runtime, by_ids("say it [[out=9]]", stream=True))) == 9


def same_ids(events: list[dict]) -> int:
    """How many events have text; none has a field for ids."""
    assert not any("token_ids" in choice for event in events for choice in event["choices"])
    return sum(bool(choice["text"]) for event in events for choice in event["choices"])


@pytest.mark.parametrize(
    ("fields", "rules"),
    [
        ({"repeatable": False}, Rules()),
        ({"continuable": frozenset()}, Rules()),
        ({}, Rules(stream=StreamRules(continuation=False))),
    ],
    ids=["must not be repeated", "no way to go on", "switched off"],
)
async def test_what_may_not_go_on_breaks_and_says_so(make_runtime, fields, rules):
    with EmulatorThread("a", "b") as emulated:
        runtime = make_runtime(emulated.pool(kind="vllm"), rules)
        for name in "ab":
            emulated.inject(name, "cut", count=1, after=5)
        with pytest.raises(StreamBroken):
            await read(runtime, a_request("say it [[out=40]]", stream=True), **fields)
        assert len(runtime.told) == 1


async def test_an_error_event_reaches_the_caller_where_nobody_can_go_on(make_runtime):
    with EmulatorThread("a") as emulated:
        runtime = make_runtime(emulated.pool())
        emulated.inject("a", "error_in_stream", after=3)
        exchange = a_request("say it [[out=40]]", stream=True)
        reply = await runtime.dispatcher.send(the_call(exchange), exchange)
        events = [event async for event in reply.stream]
        assert b"the engine failed" in events[-1]


def test_callers_without_a_loop(make_runtime):
    with EmulatorThread("a", "b") as emulated:
        runtime = make_runtime(emulated.pool(kind="vllm"))
        exchange = a_request("say it [[out=40]]", stream=True)

        def stream() -> list[dict]:
            reply = runtime.dispatcher.send_blocking(the_call(exchange), exchange)
            return essence(parsed(b"".join(reply.stream)))

        unbroken = stream()
        for name in "ab":
            emulated.inject(name, "cut", count=1, after=12)
        assert stream() == unbroken


# -- whole answers ---------------------------------------------------------------------------------------------------

WHOLE = {
    "text": a_request("say it [[out=40]]"),
    "cut off": a_request("say it [[out=40]]", max_tokens=10),
    "tool": a_request("call it", tools=[TOOL], tool_choice="required"),
    "json": a_request("say it", response_format={"type": "json_object"}),
    "completions": a_request("say it [[out=40]]", "completions", max_tokens=30),
    "completions by ids": a_request([[99, 300, 70_000]], "completions", max_tokens=30),
    "responses": with_fields(Exchange("responses", {"model": "m"}, b"", (), False), {"input": "hi [[out=20]]"}),
}


def same_answer(content: bytes) -> dict:
    """An answer without what tells one request from another, the item ids of the responses API included."""
    answer = {name: value for name, value in json.loads(content).items() if name not in ("id", "created", "created_at")}
    for item in answer.get("output", ()):
        item.pop("id")
    usage = answer["usage"]
    for name in ("prompt_tokens_details", "input_tokens_details"):
        usage.pop(name, None)
    return answer


@pytest.mark.parametrize("exchange", WHOLE.values(), ids=WHOLE)
async def test_a_whole_answer_made_of_a_stream_equals_the_one_given_directly(make_runtime, exchange):
    with EmulatorThread("a") as emulated:
        pool = emulated.pool(capabilities=frozenset({"stream", "tools", "completions", "responses", "json_schema"}))
        upgraded, direct = make_runtime(pool, UPGRADED), make_runtime(pool, Rules(stream=StreamRules(upgrade=False)))
        call = the_call(exchange)
        assert call.upgradable
        made = await upgraded.dispatcher.send(call, exchange)
        given = await direct.dispatcher.send(the_call(exchange), exchange)
        assert same_answer(made.content) == same_answer(given.content)
        assert dict(made.headers)["content-type"] == "application/json"
        assert [seen.streamed for seen in (upgraded, direct)] == [[True], [False]]


@pytest.mark.parametrize(("kind", "fields"), FAULTS, ids=[f"{kind} {fields}" for kind, fields in FAULTS])
async def test_a_whole_answer_goes_on_from_its_text_and_equals_the_unbroken_one(make_runtime, kind, fields):
    """Every one of 8 answers breaks off once, at different words; nothing of what was written is written again."""
    with EmulatorThread("a", "b", "c") as emulated:
        runtime = make_runtime(emulated.pool(kind="vllm"), PATIENT)
        asks = [(by_ids if k % 2 else a_request)(f"question {k} [[out={30 + k}]]") for k in range(8)]
        unbroken = [await runtime.dispatcher.send(the_call(exchange), exchange) for exchange in asks]
        for name in "abc":
            emulated.inject(name, kind, count=4, **fields)
        broken = await asyncio.gather(*(runtime.dispatcher.send(the_call(exchange), exchange) for exchange in asks))
        assert [same_answer(reply.content) for reply in broken] == [same_answer(reply.content) for reply in unbroken]
        told = [decision.why for decision in runtime.told]
        assert "migrate" in told
        assert set(told) <= {"first", "migrate", "hedge", "left"}
        assert all(dict(reply.headers)["content-type"] == "application/json" for reply in broken)


@pytest.mark.parametrize(
    ("fields", "after"),
    [({"tools": [TOOL], "tool_choice": "required"}, 0), ({"response_format": {"type": "json_object"}}, 1)],
    ids=["a tool call", "a prescribed form"],
)
async def test_what_may_not_be_gone_on_with_is_begun_anew(make_runtime, fields, after):
    with EmulatorThread("a", "b") as emulated:
        pool = emulated.pool(kind="vllm", capabilities=frozenset({"stream", "tools", "json_schema"}))
        runtime = make_runtime(pool)
        exchange = a_request("call it [[out=40]]", **fields)
        unbroken = await runtime.dispatcher.send(the_call(exchange), exchange)
        for name in "ab":
            emulated.inject(name, "cut", count=1, after=after)
        reply = await runtime.dispatcher.send(the_call(exchange), exchange)
        assert same_answer(reply.content) == same_answer(unbroken.content)
        assert [decision.why for decision in runtime.told][1:3] == ["first", "retry"]


@pytest.mark.parametrize("refusal", ["400", "a whole answer", "an error event"])
async def test_a_server_that_takes_no_draft_gives_the_answer_from_its_beginning(make_runtime, refusal):
    """What it says to an unfinished message reaches nobody; least of all half an answer as if it were the whole."""
    asked = []

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        asked.append(body)
        if body["messages"][-1]["role"] == "assistant" and refusal == "400":
            return web.json_response({"error": {"message": "no unfinished messages in a stream"}}, status=400)
        words = ["one", "two", "three", "four"]
        if body["messages"][-1]["role"] == "assistant" and refusal == "a whole answer":
            message = {"role": "assistant", "content": "three four"}
            return web.json_response({"id": "x", "choices": [{"index": 0, "message": message}], "usage": {}})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        if body["messages"][-1]["role"] == "assistant":
            await response.write(b'data: {"error": {"message": "unknown field"}}\n\n')
            return response
        cut = len(asked) == 1
        for word in words[:2] if cut else words:
            choice = {"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}
            await response.write(b"data: " + json.dumps({"id": "x", "choices": [choice]}).encode() + b"\n\n")
        if not cut:
            last = {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {}}
            await response.write(b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n")
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/v1"))
        runtime = make_runtime(Pool([Endpoint(name=n, base_url=url, model="m", kind="vllm") for n in "ab"]))
        exchange = a_request("count")
        reply = await runtime.dispatcher.send(the_call(exchange), exchange)
        assert json.loads(reply.content)["choices"][0]["message"]["content"] == "one two three four "
        assert [len(body["messages"]) for body in asked] == [1, 2, 1]


async def test_a_server_that_takes_no_such_stream_is_asked_plainly_and_not_bothered_again(make_runtime):
    whole = {"choices": [{"message": {"role": "assistant", "content": "yes"}}], "usage": {"prompt_tokens": 1}}

    async def answer(request: web.Request) -> web.Response:
        if (await request.json()).get("stream"):
            return web.json_response({"error": {"message": "not permitted: stream_options"}}, status=422)
        return web.json_response(whole)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with TestServer(app) as server:
        runtime = make_runtime(Pool([Endpoint(name="a", base_url=str(server.make_url("/v1")), model="m")]))
        for _ in range(2):
            exchange = a_request("say it")
            reply = await runtime.dispatcher.send(the_call(exchange), exchange)
            assert (reply.status, json.loads(reply.content)) == (200, whole)
        assert runtime.streamed == [True, False, False]


async def test_a_refusal_that_the_stream_had_nothing_to_do_with_is_handed_over(make_runtime):
    with EmulatorThread("a") as emulated:
        runtime = make_runtime(emulated.pool())
        exchange = a_request("say it", max_tokens=-3)
        assert (await runtime.dispatcher.send(the_call(exchange), exchange)).status == 400
        exchange = a_request("say it [[out=10]]")
        assert (await runtime.dispatcher.send(the_call(exchange), exchange)).status == 200
        assert runtime.streamed == [True, True]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_refuses_to_tell_ids_is_asked_without_and_not_bothered_again(make_runtime, stream):
    """It calls itself vLLM and takes no field that OpenAI does not know."""
    asked = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append("return_token_ids" in await request.json())
        if asked[-1]:
            return web.json_response({"error": {"message": "Unrecognized argument: return_token_ids"}}, status=400)
        choice = {"index": 0, "text": "yes", "finish_reason": "stop"}
        event = json.dumps({"id": "x", "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
        return web.Response(body=f"data: {event}\n\ndata: [DONE]\n\n".encode(), content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/completions", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/v1"))
        runtime = make_runtime(Pool([Endpoint(name="a", base_url=url, model="m", kind="vllm")]), UPGRADED)
        for _ in range(2):
            exchange = by_ids("say it", stream=stream)
            reply = await runtime.dispatcher.send(the_call(exchange), exchange)
            text = b"".join([event async for event in reply.stream]) if stream else reply.content
            assert (reply.status, b'"yes"' in text) == (200, True)
        assert [decision.why for decision in runtime.told] == ["first", "first"]
        assert asked == [True, False, False]


async def test_a_caller_that_wants_ids_gets_the_refusal_itself(make_runtime):
    with EmulatorThread("a", kind="openai") as emulated:
        runtime = make_runtime(emulated.pool(kind="vllm"))
        exchange = by_ids("say it [[out=12]]", stream=True, return_token_ids=True)
        reply = await runtime.dispatcher.send(the_call(exchange), exchange)
        assert (reply.status, b"return_token_ids" in reply.content) == (400, True)
