"""``agentsched probe`` against the emulator, and against servers with habits of their own."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import Result

from agentsched.cli.probe_abilities import Finding
from agentsched.cli.probe_calls import session
from agentsched.cli.prober import Plan, Probed, changes_for, probe
from agentsched.core.endpoint import Endpoint, Price, Profile
from agentsched.emulator import EmulatedEndpoint, Emulator
from agentsched.engine.profile import HardwareProfile
from agentsched.settings import load_settings

Run = Callable[..., Result]

FAST = HardwareProfile(
    name="fast",
    step_base_s=0.002,
    step_per_sequence_s=0.004,
    step_per_kv_token_s=0.0,
    prefill_tokens_per_s=20_000,
    max_slots=8,
    kv_tokens=50_000,
    basis="scenario",
    source="this test",
)


def write(text: str) -> None:
    Path("pool.yaml").write_text(text, encoding="utf-8")


def content(path: str = "pool.yaml") -> str:
    return Path(path).read_text(encoding="utf-8")


SMALL = Plan(short=2, together=3, long=2, output_tokens=24, long_tokens=(3000, 500))


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with session(10.0) as connections:
        yield connections


async def probed(endpoint: Endpoint, http: aiohttp.ClientSession) -> Probed:
    return await probe(endpoint, http, SMALL, first_wait_s=0.001)


async def test_an_emulated_endpoint_is_found_as_it_is(http: aiohttp.ClientSession) -> None:
    steps: list[str] = []
    emulated = EmulatedEndpoint(name="e", profile=FAST, model="m", api_key="canary")
    async with Emulator([emulated]) as pool:
        endpoint = Endpoint("e", pool.url("e"), "m", api_key="canary", kind="vllm", price=Price(1.0, 2.0))
        found = await probe(endpoint, http, SMALL, on_step=steps.append)
        assert pool.load("e").running == 0
    assert (found.reachable, found.listed, found.detail, found.context_tokens) == (True, True, "", 50_000)
    assert (found.stream, found.usage) == (Finding(True), Finding(True))
    able = {name: finding.able for name, finding in found.abilities.items()}
    assert able == {
        "tools": True,
        "json_schema": True,
        "logprobs": False,
        "n": False,
        "completions": True,
        "responses": True,
        "token_ids": True,
        "priority": True,
        "continuation": True,
    }
    # The machine that runs this may be busy: an answer is never early, and how late it is says nothing of the probe.
    figures = found.figures
    assert figures.tpot_alone_s is not None
    assert figures.tpot_together_s is not None
    assert 0.9 * 0.006 < figures.tpot_alone_s < 0.3
    assert figures.tpot_together_s > figures.tpot_alone_s
    assert figures.prefill_tokens_per_s is not None
    assert 500 < figures.prefill_tokens_per_s < 1.7 * 20_000
    assert figures.ttft_s is not None
    assert 0 <= figures.ttft_s < 2.0
    assert len(steps) == SMALL.steps
    assert found.requests == SMALL.requests
    assert found.input_tokens > 2 * 3000
    assert found.cost_usd == pytest.approx((found.input_tokens + 2 * found.output_tokens) * 1e-6)
    assert found.cost_usd < 2 * SMALL.cost_usd(endpoint)


async def test_the_command_shows_and_writes(run: Run) -> None:
    faster = replace(FAST, step_base_s=0.0005, step_per_sequence_s=0.0001)
    async with Emulator([EmulatedEndpoint(name=name, profile=faster, model="m") for name in ("one", "two")]) as pool:
        write(
            f"""version: 1  # mine
endpoints:
  - name: one  # the first
    base_url: {pool.url("one")}
    model: m
    kind: vllm
    profile: study-8b-a40  # a guess
  - {{name: two, base_url: "{pool.url("two")}", model: m, kind: vllm}}
""",
        )
        before = content()
        shown = await asyncio.to_thread(run, "probe", "--endpoint", "one")
        assert shown.exit_code == 0, shown.output
        assert content() == before
        written = await asyncio.to_thread(run, "probe", "--write", "--json")
    assert "one: can: stream, usage in the stream, tools" in shown.stdout
    assert "nothing was written; --write puts" in shown.stderr
    assert "about 20 requests to each of 1 endpoints" in shown.stderr
    told = json.loads(written.stdout)
    assert (told["path"], [one["name"] for one in told["endpoints"]]) == ("pool.yaml", ["one", "two"])
    assert content(told["backup"]) == before
    after = content()
    assert [remark for remark in ("# mine", "# the first", "# a guess") if remark not in after] == []
    for endpoint, document in zip(load_settings("pool.yaml").pool.endpoints, told["endpoints"], strict=True):
        measured = {name: document["figures"][name] for name in Profile.__slots__}
        kept = {name: float(f"{value:.4g}") for name, value in measured.items() if value is not None}
        assert {name: getattr(endpoint.profile, name) for name in kept} == kept
        assert kept["tpot_s"] < 0.01
        assert endpoint.context_tokens == 50_000
        assert endpoint.can(frozenset({"responses", "tools", "token_ids"}))
        assert not endpoint.can(frozenset({"logprobs"}))


async def test_an_endpoint_that_is_not_there(run: Run, closed_port: int) -> None:
    write(
        f"version: 1\nendpoints: [{{name: a, base_url: 'http://127.0.0.1:{closed_port}/v1', model: m}}]",
    )
    before = content()
    result = await asyncio.to_thread(run, "probe", "--write")
    assert result.exit_code == 1
    assert "a: cannot be reached: " in result.stdout
    assert content() == before


def test_other_machines_are_not_called_without_consent(run: Run) -> None:
    write("version: 1\nendpoints: [{name: far, base_url: 'https://api.invalid/v1', model: m}]")
    result = run("probe")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no price is configured for far" in result.stderr
    assert "send them to far?" in result.stderr


def test_wrong_arguments(run: Run) -> None:
    write("version: 1\nendpoints: [{name: a, base_url: 'http://localhost:9', model: m}]")
    unknown = run("probe", "--endpoint", "b")
    assert (unknown.exit_code, "--endpoint: unknown endpoint (given: 'b'); allowed: a" in unknown.stderr) == (2, True)
    soon = run("probe", "--timeout", "soon")
    assert (soon.exit_code, "--timeout: not a usable duration" in soon.stderr) == (2, True)


Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Answer], Awaitable[str]]]:
    """Start a server that answers chat completions with the given function and knows nothing else."""
    servers: list[TestServer] = []

    async def start(answer: Answer) -> str:
        async def chat(request: web.Request) -> web.StreamResponse:
            return await answer(request, await request.json())

        app = web.Application()
        app.router.add_post("/v1/chat/completions", chat)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return str(server.make_url("/v1"))

    yield start
    for server in servers:
        await server.close()


def refusal(text: str, status: int = 400, **headers: str) -> web.Response:
    return web.json_response({"error": {"message": text}}, status=status, headers=headers)


async def sse(request: web.Request, *events: object) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for event in events:
        await asyncio.sleep(0.001)
        await response.write(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode())
    return response


def token(text: str) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}}]}


async def test_a_model_that_wants_another_name_for_the_limit(http: aiohttp.ClientSession, serve: Any) -> None:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if "max_tokens" in body:
            return refusal("Unsupported parameter: 'max_tokens'; use 'max_completion_tokens' instead.")
        if body.get("stream"):
            return await sse(request, *[token("x")] * 4, {"choices": [], "usage": {"completion_tokens": 4}}, "[DONE]")
        return web.json_response(WHOLE)

    found = await probed(Endpoint("a", await serve(answer), "m"), http)
    assert (found.reachable, found.usage.able, found.listed) == (True, True, None)
    assert found.abilities["tools"] == Finding(False, "accepted, but the answer does not show it")
    assert found.abilities["priority"] == Finding(None, "no way known for kind openai")
    assert found.abilities["token_ids"] == Finding(None, "no way known for kind openai")
    assert found.abilities["responses"].able is False


async def test_a_server_that_does_not_know_stream_options(http: aiohttp.ClientSession, serve: Any) -> None:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if "stream_options" in body:
            return refusal("unknown field stream_options", 422)
        return await sse(request, *[token("x")] * 4, "[DONE]")

    found = await probed(Endpoint("a", await serve(answer), "m"), http)
    assert (found.stream.able, found.usage.able) == (True, False)
    assert found.figures.ttft_s is not None


async def test_a_server_that_does_not_stream(http: aiohttp.ClientSession, serve: Any) -> None:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(WHOLE)

    endpoint = Endpoint("a", await serve(answer), "m")
    found = await probed(endpoint, http)
    assert (found.reachable, found.stream) == (True, Finding(False, "answers whole when a stream is asked for"))
    assert found.figures.profile() == {}
    assert "stream" not in changes_for(found)["capabilities"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        ("Incorrect API key provided: canary", 401, "401 Unauthorized: Incorrect API key provided: (key)"),
        ("no such model", 404, "404 Not Found: no such model"),
        ("bad request", 400, "400 Bad Request: bad request"),
    ],
)
async def test_a_server_that_refuses(
    http: aiohttp.ClientSession, serve: Any, text: str, status: int, told: str
) -> None:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return refusal(text, status)

    found = await probed(Endpoint("a", await serve(answer), "m", api_key="canary"), http)
    assert (found.reachable, found.detail, found.abilities) == (False, told, {})
    assert changes_for(found) == {}


async def test_a_busy_server_is_asked_again(http: aiohttp.ClientSession, serve: Any) -> None:
    times = 0

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        nonlocal times
        times += 1
        if times <= 2:
            return refusal("busy", 503 if times == 1 else 429, **{"retry-after-ms": "1"})
        return await sse(request, *[token("x")] * 4, "[DONE]")

    found = await probed(Endpoint("a", await serve(answer), "m"), http)
    assert (found.reachable, found.figures.tpot_alone_s is not None) == (True, True)


async def test_long_prompts_are_made_shorter_where_they_do_not_fit(http: aiohttp.ClientSession, serve: Any) -> None:
    sizes: list[int] = []

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        sizes.append(len(body["messages"][0]["content"]))
        return refusal("context length exceeded") if sizes[-1] > 4 * 600 else await sse(request, *[token("x")] * 4)

    await probed(Endpoint("a", await serve(answer), "m"), http)
    assert [size for size in sizes if size > 400] == [4 * 3000, 4 * 500, 4 * 500]
    sizes.clear()
    await probed(Endpoint("a", await serve(answer), "m", context_tokens=900), http)
    assert max(sizes) < 4 * 500, "a known context length is respected without trying"


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (["{broken"], "no usable stream: no JSON"),
        ([{"error": {"message": "overloaded"}}], "overloaded"),
        (["[DONE]"], "the stream held no output"),
    ],
)
async def test_streams_that_are_none(http: aiohttp.ClientSession, serve: Any, events: list[object], told: str) -> None:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await sse(request, *events) if body.get("stream") else refusal("no", 500)

    found = await probed(Endpoint("a", await serve(answer), "m"), http)
    assert found.reachable is False
    assert told in found.detail


@pytest.mark.parametrize(
    ("entry", "tokens"),
    [
        ({"max_model_len": 4096}, 4096),  # vLLM
        ({"meta": {"n_ctx": 2048, "n_ctx_train": 8192}}, 2048),  # llama.cpp: of one slot
        ({"context_window": 131072}, 131072),  # Groq
        ({"context_length": 0}, None),
        ({"context_length": "long"}, None),
        ({}, None),
    ],
)
async def test_context_lengths(http: aiohttp.ClientSession, entry: dict[str, object], tokens: int | None) -> None:
    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "m", **entry}]})

    app = web.Application()
    app.router.add_get("/v1/models", models)
    async with TestServer(app) as server:
        found = await probed(Endpoint("a", str(server.make_url("/v1")), "m"), http)
    assert (found.listed, found.context_tokens) == (True, tokens)


def test_what_is_unknown_stays_as_it_was_declared() -> None:
    declared = Endpoint("a", "http://h", "m", capabilities=frozenset({"vision", "tools", "logprobs"}), context_tokens=9)
    findings = {
        "tools": Finding(False),
        "logprobs": Finding(None),
        "responses": Finding(True),
        "priority": Finding(True),
    }
    found = Probed(declared, reachable=True, stream=Finding(True), abilities=findings, context_tokens=100)
    assert changes_for(found) == {"capabilities": ["logprobs", "responses", "stream", "vision"], "priority": True}
    same = Endpoint("a", "http://h", "m", capabilities=frozenset({"stream"}))
    assert changes_for(Probed(same, reachable=True, stream=Finding(True))) == {}
