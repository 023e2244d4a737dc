"""The HTTP server, seen through the openai SDK."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import openai
import pytest
from pydantic import BaseModel

from agentsched.emulator import EmulatedEndpoint, Emulator
from agentsched.engine import HardwareProfile
from tests.emulator.waiting import until

TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "strict": True,  # openai 2 parses streams of strict functions only
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    },
}


async def collect(stream: Any) -> tuple[str, Any]:
    """Read a chat stream to its end: its text, and the last chunk."""
    text, last = "", None
    async for chunk in stream:
        last = chunk
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
    return text, last


async def test_stream_and_whole_say_the_same_on_every_endpoint(
    gpu: openai.AsyncOpenAI, api: openai.AsyncOpenAI, ask: Any
) -> None:
    whole = await gpu.chat.completions.create(**ask())
    elsewhere = await api.chat.completions.create(**ask())
    text, last = await collect(await gpu.chat.completions.create(**ask(stream=True)))
    assert whole.choices[0].message.content == elsewhere.choices[0].message.content == text
    assert whole.choices[0].finish_reason == last.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert (whole.usage.completion_tokens, len(text.split())) == (12, 12)


async def test_a_stream_ends_with_usage_if_asked(gpu: openai.AsyncOpenAI, ask: Any) -> None:
    request = ask(stream=True, stream_options={"include_usage": True}, max_tokens=5)
    stream = await gpu.chat.completions.create(**request)
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 5
    assert chunks[-2].choices[0].finish_reason == "length"
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_the_sync_client_works_too(gpu_profile: HardwareProfile, ask: Any) -> None:
    async def run() -> None:
        endpoint = EmulatedEndpoint(name="gpu", profile=gpu_profile, model="test-model")
        async with Emulator([endpoint], time_scale=20) as pool:
            await asyncio.to_thread(use, pool.url("gpu"))

    def use(url: str) -> None:
        with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
            whole = client.chat.completions.create(**ask())
            with client.chat.completions.create(**ask(stream=True)) as stream:
                text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            assert whole.choices[0].message.content == text

    asyncio.run(run())


async def test_completions(gpu: openai.AsyncOpenAI) -> None:
    request: dict[str, Any] = {"model": "test-model", "prompt": "Once [[out=9]]"}
    whole = await gpu.completions.create(**request)
    stream = await gpu.completions.create(**request, stream=True)
    text = "".join([chunk.choices[0].text async for chunk in stream])
    assert whole.choices[0].text == text
    assert len(text.split()) == 9


async def test_responses(gpu: openai.AsyncOpenAI, ask: Any) -> None:
    request: dict[str, Any] = {"model": "test-model", "input": "Say something [[out=12]]"}
    whole = await gpu.responses.create(**request)
    chat = await gpu.chat.completions.create(**ask())
    assert whole.output_text == chat.choices[0].message.content
    async with gpu.responses.stream(**request) as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert "".join(deltas) == whole.output_text == final.output_text
    assert final.usage is not None
    assert final.usage.output_tokens == 12
    numbers = [event.sequence_number async for event in await gpu.responses.create(**request, stream=True)]
    assert numbers == list(range(len(numbers)))
    cut = await gpu.responses.create(**request, max_output_tokens=3)
    assert (cut.status, cut.incomplete_details and cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")


async def test_responses_with_a_tool(gpu: openai.AsyncOpenAI) -> None:
    tool: Any = {"type": "function", **TOOL["function"]}  # type: ignore[dict-item]
    async with gpu.responses.stream(model="test-model", input="go", tools=[tool], tool_choice="required") as stream:
        final = await stream.get_final_response()
    call = final.output[0]
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("look_up", {"q": "aa"})


async def test_tool_calls_whole_and_streamed(gpu: openai.AsyncOpenAI, ask: Any) -> None:
    request = ask("please [[tool]]", tools=[TOOL])
    whole = await gpu.chat.completions.create(**request)
    async with gpu.chat.completions.stream(**request) as stream:
        streamed = await stream.get_final_completion()
    for answer in (whole, streamed):
        assert answer.choices[0].finish_reason == "tool_calls"
        (call,) = answer.choices[0].message.tool_calls
        assert json.loads(call.function.arguments) == {"q": "aa"}


async def test_structured_output_is_parsed(gpu: openai.AsyncOpenAI, ask: Any) -> None:
    class Plan(BaseModel):
        steps: list[str]
        score: int

    answer = await gpu.chat.completions.parse(**ask(response_format=Plan))
    assert answer.choices[0].message.parsed == Plan(steps=[], score=0)


async def test_a_partial_answer_is_continued_without_echo(gpu: openai.AsyncOpenAI, ask: Any) -> None:
    text, _ = await collect(await gpu.chat.completions.create(**ask(stream=True)))
    request = ask(extra_body={"continue_final_message": True, "add_generation_prompt": False}, stream=True)
    request["messages"].append({"role": "assistant", "content": text[:18]})
    rest, _ = await collect(await gpu.chat.completions.create(**request))
    assert text[:18] + rest == text


async def test_a_second_turn_finds_the_first_in_the_cache(gpu: openai.AsyncOpenAI, ask: Any) -> None:
    first = ask("x" * 2000)
    answer = await gpu.chat.completions.create(**first)
    turns = [*first["messages"], answer.choices[0].message.model_dump(include={"role", "content"})]
    turns.append({"role": "user", "content": "and then? [[out=3]]"})
    second = await gpu.chat.completions.create(model="test-model", messages=turns)
    assert second.usage is not None
    assert second.usage.prompt_tokens_details is not None
    cached = second.usage.prompt_tokens_details.cached_tokens
    assert cached is not None
    assert cached >= 2000 / 4 - 16


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        ({"model": "unknown"}, openai.NotFoundError, "model_not_found"),
        ({"max_tokens": 9_000}, openai.BadRequestError, "context_length_exceeded"),
        ({"n": 2}, openai.BadRequestError, None),
    ],
)
async def test_errors_have_openais_shape(
    gpu: openai.AsyncOpenAI, ask: Any, change: dict[str, Any], error: type[openai.APIStatusError], code: str | None
) -> None:
    with pytest.raises(error) as caught:
        await gpu.chat.completions.create(**{**ask(), **change})
    assert caught.value.code == code
    assert isinstance(caught.value.body, dict)
    assert set(caught.value.body) == {"message", "type", "param", "code"}


async def test_a_body_that_is_not_json_is_refused(pool: Emulator) -> None:
    async with aiohttp.ClientSession() as session:
        for data in (b"{", b"[1]"):
            async with session.post(pool.url("gpu") + "/chat/completions", data=data) as answer:
                assert answer.status == 400
                assert "error" in await answer.json()


async def test_keys_are_checked(gpu_profile: HardwareProfile, ask: Any) -> None:
    endpoint = EmulatedEndpoint(name="a", profile=gpu_profile, model="test-model", api_key="right")
    async with Emulator([endpoint], time_scale=20) as pool:
        async with openai.AsyncOpenAI(base_url=pool.url("a"), api_key="wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                await client.chat.completions.create(**ask())
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()
        async with openai.AsyncOpenAI(base_url=pool.url("a"), api_key="right", max_retries=0) as client:
            await client.chat.completions.create(**ask())


async def test_rate_limits_answer_429_with_headers(gpu_profile: HardwareProfile, ask: Any) -> None:
    endpoint = EmulatedEndpoint(name="a", profile=gpu_profile, model="test-model", requests_per_minute=2)
    async with (
        Emulator([endpoint]) as pool,
        openai.AsyncOpenAI(base_url=pool.url("a"), api_key="any", max_retries=0) as client,
    ):
        raw = await client.chat.completions.with_raw_response.create(**ask(out=1))
        assert raw.headers["x-ratelimit-remaining-requests"] == "1"
        await client.chat.completions.create(**ask(out=1))
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(**ask(out=1))
    headers = caught.value.response.headers
    assert 25 <= int(headers["retry-after"]) <= 30
    assert headers["x-ratelimit-remaining-requests"] == "0"


async def test_models_health_and_metrics(pool: Emulator, gpu: openai.AsyncOpenAI, ask: Any) -> None:
    assert [model.id async for model in gpu.models.list()] == ["test-model"]
    await gpu.chat.completions.create(**ask())
    root = pool.url("gpu").removesuffix("/v1")
    async with aiohttp.ClientSession() as session:
        async with session.get(root + "/health") as answer:
            assert answer.status == 200
        async with session.get(root + "/metrics") as answer:
            text = await answer.text()
        async with session.get(pool.url("api").removesuffix("/v1") + "/metrics") as answer:
            assert answer.status == 404
    for name in ("vllm:num_requests_running", "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"):
        assert f'{name}{{model_name="test-model"}} 0.0' in text
    assert 'vllm:generation_tokens_total{model_name="test-model"} 12.0' in text
    assert 'vllm:request_success_total{model_name="test-model"} 1.0' in text


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_frees_its_slot_at_once(
    pool: Emulator, gpu: openai.AsyncOpenAI, ask: Any, stream: bool
) -> None:
    if stream:
        answer = await gpu.chat.completions.create(**ask(out=3000, stream=True))
        await anext(aiter(answer))
        assert pool.load("gpu").running == 1
        await answer.close()
    else:
        call = asyncio.create_task(gpu.chat.completions.create(**ask(out=3000)))
        await until(lambda: pool.load("gpu").running == 1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await until(lambda: pool.load("gpu").running == 0, within_s=0.5)
    assert pool.load("gpu").kv_used_tokens == 0


async def test_priority_decides_who_leaves_the_queue(pool: Emulator, gpu: openai.AsyncOpenAI, ask: Any) -> None:
    order: list[str] = []

    async def call(name: str, priority: int, out: int) -> None:
        await gpu.chat.completions.create(**ask(name, out=out, extra_body={"priority": priority}))
        order.append(name)

    hogs = [asyncio.create_task(call(f"hog {index}", 0, 400 if index else 100)) for index in range(4)]
    await until(lambda: pool.load("gpu").running == 4)
    late = [asyncio.create_task(call("patient", 5, 60))]
    await until(lambda: pool.load("gpu").waiting == 1)
    late.append(asyncio.create_task(call("urgent", -5, 2)))
    await asyncio.gather(*hogs, *late)
    assert order.index("urgent") < order.index("patient")


async def test_a_failing_engine_breaks_streams_and_refuses(pool: Emulator, gpu: openai.AsyncOpenAI, ask: Any) -> None:
    stream = await gpu.chat.completions.create(**ask(out=2000, stream=True))
    await anext(aiter(stream))
    pool.fail("gpu", 5.0)
    with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|reset|payload|connection"):
        await collect(stream)
    with pytest.raises(openai.InternalServerError) as caught:
        await gpu.chat.completions.create(**ask())
    assert caught.value.status_code == 503


async def test_a_slow_engine_takes_longer(pool: Emulator, gpu: openai.AsyncOpenAI, ask: Any) -> None:
    loop = asyncio.get_running_loop()

    async def seconds() -> float:
        started = loop.time()
        await gpu.chat.completions.create(**ask(out=60))
        return loop.time() - started

    usual = min([await seconds() for _ in range(3)])
    pool.slow_down("gpu", 6.0, 30.0)
    assert await seconds() > 3 * usual


async def test_pacing_is_counted_for_streams(pool: Emulator, gpu: openai.AsyncOpenAI, ask: Any) -> None:
    await collect(await gpu.chat.completions.create(**ask(stream=True)))
    assert pool.pacing("gpu").count == 12
    assert pool.pacing().count == 12


async def test_the_control_server_steers_and_tells(pool: Emulator, gpu: openai.AsyncOpenAI, ask: Any) -> None:
    await collect(await gpu.chat.completions.create(**ask(stream=True)))
    async with aiohttp.ClientSession(base_url=pool.control_url) as session:

        async def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
            async with session.request(method, path, json=body) as answer:
                return answer.status, await answer.json()

        assert (await call("GET", "/_emulator/endpoints"))[1]["endpoints"]["gpu"] == pool.url("gpu")
        assert (await call("GET", "/_emulator/pacing"))[1]["gpu"]["chunks"] == 12
        assert (await call("GET", "/gpu/_emulator/pacing"))[1]["chunks"] == 12
        assert (await call("DELETE", "/gpu/_emulator/pacing"))[1]["chunks"] == 0
        assert (await call("DELETE", "/_emulator/pacing"))[1]["all"]["chunks"] == 0
        assert (await call("GET", "/gpu/_emulator/load"))[1]["output_tokens"] == 12
        for path, order in (("slowdown", {"factor": 2, "duration_s": 0.01}), ("outage", {"duration_s": 0.01})):
            assert (await call("POST", f"/gpu/_emulator/{path}", order))[0] == 200
            assert (await call("POST", f"/gpu/_emulator/{path}", {"duration_s": -1}))[0] == 400
            assert (await call("POST", f"/gpu/_emulator/{path}", [1]))[0] == 400


async def test_a_full_queue_is_told_as_503(gpu_profile: HardwareProfile, ask: Any) -> None:
    endpoint = EmulatedEndpoint(name="a", profile=gpu_profile, model="test-model", max_waiting=0)
    async with (
        Emulator([endpoint], time_scale=20) as pool,
        openai.AsyncOpenAI(base_url=pool.url("a"), api_key="any", max_retries=0) as client,
    ):
        hogs = [asyncio.create_task(client.chat.completions.create(**ask(out=200))) for _ in range(4)]
        await until(lambda: pool.load("a").running == 4)
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(**ask())
        assert caught.value.status_code == 503
        await asyncio.gather(*hogs)


async def test_a_stream_needs_chunks(pool: Emulator) -> None:
    place = urlsplit(pool.url("gpu"))
    body = json.dumps({"model": "test-model", "stream": True, "messages": [{"role": "user", "content": "x"}]})
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = (
        f"POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write((head + body).encode())
    assert b" 505 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
