"""Calls that the pool does not serve go where they were sent, and still end with the run: TOTAL time is bounded."""

import asyncio
import json
import logging
import time
from contextlib import suppress
from dataclasses import replace

import httpx
import httpx2
import openai
import pytest

from agentsched.core.endpoint import Pool
from agentsched.errors import CallTimedOut, DeadlineExceeded, EndpointsUnavailable
from tests.intercept.fakes import FAMILY, NOWHERE, FakeRuntime, chat_answer, chat_chunks, inside
from tests.intercept.upstream import head, ok

ELSEWHERE = {"model": "elsewhere", "messages": [{"role": "user", "content": "hi"}]}
DEADLINE_S, SLACK_S = 0.3, 3.0  # the alternative is for ever; a busy machine takes its time
COMMENT, BYTE = b": still here\n\n", b" "


def drip(part, start=b"", gap_s=0.04):
    """Send ``start`` at once and then ``part`` again and again, until the client goes away."""

    def script(connection, request):
        connection.sendall(start)
        for _ in range(200):
            connection.sendall(part)
            time.sleep(gap_s)

    return script


def chunked(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def silent(start=b""):
    def script(connection, request):
        connection.sendall(start)
        with suppress(OSError):
            connection.recv(1)

    return script


SSE_HEAD = head("transfer-encoding: chunked", kind="text/event-stream")
FAULTS = {
    "silent": (silent(), False),
    "dripping headers": (drip(b"x-filler: 1\r\n", b"HTTP/1.1 200 OK\r\n"), False),
    "stalled body": (silent(head("content-length: 1000") + b"{"), False),
    "dripping body": (drip(BYTE, head("content-length: 1000000")), False),
    "stalled stream": (silent(SSE_HEAD + chunked(chat_chunks("a")[0])), True),
    "dripping comments": (drip(chunked(COMMENT), SSE_HEAD), True),
}


@pytest.fixture(params=FAULTS, ids=lambda name: name.replace(" ", "-"))
def fault(request, upstream):
    upstream.script, stream = FAULTS[request.param]
    return stream


class Stopwatch:
    def __enter__(self):
        self.start = time.monotonic()
        return self

    def __exit__(self, *_):
        self.took_s = time.monotonic() - self.start


def check_late(caught, watch, upstream, run):
    assert isinstance(caught.value, DeadlineExceeded)
    assert isinstance(caught.value, openai.APITimeoutError)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert DEADLINE_S - 0.05 <= watch.took_s < DEADLINE_S + SLACK_S
    assert len(upstream.requests) == 1
    assert run.error is not None


def test_sync_total_time_is_bounded(fault, upstream, new_run):
    with openai.OpenAI(base_url=upstream.url, api_key="k") as client:
        run = new_run(DEADLINE_S)
        with inside(run), pytest.raises(DeadlineExceeded) as caught, Stopwatch() as watch:
            list(client.chat.completions.create(**ELSEWHERE, stream=fault))
    check_late(caught, watch, upstream, run)


async def test_async_total_time_is_bounded(fault, upstream, new_run):
    async with openai.AsyncOpenAI(base_url=upstream.url, api_key="k") as client:
        run = new_run(DEADLINE_S)
        with inside(run), pytest.raises(DeadlineExceeded) as caught, Stopwatch() as watch:
            async for _ in await client.chat.completions.create(**ELSEWHERE, stream=fault):
                pass
    check_late(caught, watch, upstream, run)


def test_sync_over_a_connection_kept_alive(upstream, new_run):
    """The socket is not told when it was connected before: it is known from the response."""
    with openai.OpenAI(base_url=upstream.url, api_key="k") as client:
        client.chat.completions.create(**ELSEWHERE)
        upstream.requests.clear()
        upstream.script = drip(BYTE, head("content-length: 1000000"))
        run = new_run(DEADLINE_S)
        with inside(run), pytest.raises(DeadlineExceeded) as caught, Stopwatch() as watch:
            client.chat.completions.create(**ELSEWHERE)
    check_late(caught, watch, upstream, run)


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_plain_http_and_a_read_timeout_of_its_own(module, upstream, new_run):
    upstream.script = silent()
    with module.Client() as client:
        with inside(new_run(0.2)), pytest.raises(module.ReadTimeout) as caught:
            client.post(f"{upstream.url}/chat/completions", json=ELSEWHERE)
        assert isinstance(caught.value, DeadlineExceeded)
        with inside(new_run(10)), pytest.raises(module.ReadTimeout) as caught:
            client.post(f"{upstream.url}/chat/completions", json=ELSEWHERE, timeout=0.1)
        assert not isinstance(caught.value, DeadlineExceeded)


async def test_answers_are_the_upstreams_own(upstream, new_run, caplog):
    with openai.OpenAI(base_url=upstream.url, api_key="sk-own") as client, inside(new_run("5s")) as run:
        for _ in range(2):
            raw = client.chat.completions.with_raw_response.create(**ELSEWHERE)
            assert raw.parse().choices[0].message.content == "hello"
            assert raw.http_response.elapsed.total_seconds() > 0
            assert raw.http_response.extensions["network_stream"] is not None
        content = b"".join(map(chunked, chat_chunks("a", "b"))) + b"0\r\n\r\n"
        upstream.script = lambda connection, request: connection.sendall(SSE_HEAD + content)
        chunks = list(client.chat.completions.create(**ELSEWHERE, stream=True))
        assert [chunk.choices[0].delta.content for chunk in chunks] == ["a", "b", None]
        async with openai.AsyncOpenAI(base_url=upstream.url, api_key="sk-own") as async_client:
            stream = await async_client.chat.completions.create(**ELSEWHERE, stream=True)
            assert [chunk.choices[0].delta.content async for chunk in stream] == ["a", "b", None]
            assert stream.response.elapsed.total_seconds() > 0
    assert all(b"Bearer sk-own" in request for request in upstream.requests)
    assert run.calls == 4
    assert run.spent_s[0][1] > 0
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in warnings] == [
        "no endpoint of the pool serves model 'elsewhere': its calls pass through, bounded in time only"
    ]


def test_the_request_is_as_it_was(upstream, new_run):
    with httpx.Client(timeout=7.0) as client, inside(new_run("5s")):
        request = client.build_request("POST", f"{upstream.url}/chat/completions", json=ELSEWHERE)
        before = dict(request.extensions)
        client.send(request)
    assert request.extensions == before


def test_the_users_trace_is_called_too(upstream, new_run):
    seen = []
    with httpx.Client() as client, inside(new_run("5s")):
        extensions = {"trace": lambda name, info: seen.append(name)}
        client.post(f"{upstream.url}/chat/completions", json=ELSEWHERE, extensions=extensions)
    assert "connection.connect_tcp.complete" in seen


def test_without_a_deadline_or_a_runtime(upstream, new_run):
    with openai.OpenAI(base_url=upstream.url, api_key="k") as client:
        with inside(new_run()):
            client.chat.completions.create(**ELSEWHERE)
        with inside(new_run("5s", runtime=None)) as run:
            client.chat.completions.create(**{**ELSEWHERE, "model": "m"})
    assert len(upstream.requests) == 2
    assert run.calls == 1


def test_model_errors_before_the_deadline_are_the_upstreams(upstream, new_run):
    upstream.script = ok({"error": {"message": "bad"}}, "400 Bad Request")
    client = openai.OpenAI(base_url=upstream.url, api_key="k")
    with client, inside(new_run("5s")), pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**ELSEWHERE)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("retry_after", ["30", "0.9", ""])
async def test_the_sdk_does_not_sleep_past_the_deadline(upstream, new_run, retry_after):
    headers = [f"retry-after: {retry_after}"] if retry_after else []
    upstream.script = ok({"error": {"message": "slow down"}}, "429 Too Many Requests", *headers)
    deadline_s = 0.45  # the SDK's first pause, without a retry-after, is at most .5 s
    client = openai.OpenAI(base_url=upstream.url, api_key="k")
    with client, inside(new_run(deadline_s)), Stopwatch() as watch, pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**ELSEWHERE)
    assert watch.took_s < deadline_s
    async with openai.AsyncOpenAI(base_url=upstream.url, api_key="k") as client:
        with inside(new_run(deadline_s)), pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(**ELSEWHERE)
    assert len(upstream.requests) == 2


def test_the_sdk_tries_again_where_there_is_time(upstream, new_run):
    answers = [ok({"error": {}}, "503 Service Unavailable", "retry-after-ms: 10"), ok()]
    upstream.script = lambda connection, request: answers.pop(0)(connection, request)
    with openai.OpenAI(base_url=upstream.url, api_key="k") as client, inside(new_run("5s")):
        client.chat.completions.create(**ELSEWHERE)
    assert len(upstream.requests) == 2


async def test_a_failed_connection_is_final_when_a_pause_would_outlive_the_deadline(new_run):
    client, final = openai.OpenAI(base_url=NOWHERE, api_key="k"), EndpointsUnavailable
    with client, inside(new_run(0.4)), Stopwatch() as watch, pytest.raises(final, match="no time is left") as caught:
        client.chat.completions.create(**ELSEWHERE)
    assert isinstance(caught.value, openai.APIConnectionError)
    assert caught.value.__context__ is None
    assert watch.took_s < 0.3


async def test_the_callers_own_timeout_is_final_when_a_pause_would_outlive_the_deadline(upstream, new_run):
    upstream.script = silent()
    async with openai.AsyncOpenAI(base_url=upstream.url, api_key="k", timeout=0.1) as client:
        with inside(new_run(0.5)), pytest.raises(CallTimedOut) as caught:
            await client.chat.completions.create(**ELSEWHERE)
    assert isinstance(caught.value, openai.APITimeoutError)
    assert len(upstream.requests) == 1


def mocked():
    def answer(request):
        return FAMILY.Response(200, json=chat_answer("mocked"))

    return FAMILY.MockTransport(answer)


async def test_custom_transports_pass_through(runtime, new_run):
    ask = {**ELSEWHERE, "model": "m"}
    with inside(new_run("5s")):
        with openai.OpenAI(api_key="k", http_client=FAMILY.Client(transport=mocked())) as client:
            assert client.chat.completions.create(**ask).choices[0].message.content == "mocked"
        http_client = FAMILY.AsyncClient(transport=mocked())
        async with openai.AsyncOpenAI(api_key="k", http_client=http_client) as client:
            answer = await client.chat.completions.create(**ask)
    assert answer.choices[0].message.content == "mocked"
    assert runtime.dispatcher.calls == []


def test_custom_transports_are_scheduled_when_asked_for(new_run):
    runtime = FakeRuntime("m", custom_transports=True)
    client = openai.OpenAI(api_key="k", http_client=FAMILY.Client(transport=mocked()))
    with client, inside(new_run(runtime=runtime)):
        answer = client.chat.completions.create(**{**ELSEWHERE, "model": "m"})
    assert answer.choices[0].message.content == "hello"


async def test_a_custom_async_transport_is_cut(new_run):
    class Slow(FAMILY.AsyncBaseTransport):
        async def handle_async_request(self, request):
            await asyncio.Event().wait()

    http_client = FAMILY.AsyncClient(transport=Slow())
    async with openai.AsyncOpenAI(api_key="k", http_client=http_client) as client:
        with inside(new_run(0.1)), pytest.raises(DeadlineExceeded):
            await client.chat.completions.create(**ELSEWHERE)


def test_a_custom_stream_is_stopped_between_chunks(new_run):
    run = new_run("5s")

    def answer(request):
        def chunks():
            yield chat_chunks("a")[0]
            run.clock = lambda: run.started_at + 6
            yield from chat_chunks("b", "c")

        return FAMILY.Response(200, content=chunks(), headers={"content-type": "text/event-stream"})

    seen = []
    http_client = FAMILY.Client(transport=FAMILY.MockTransport(answer))
    client = openai.OpenAI(api_key="k", http_client=http_client)
    with client, inside(run), pytest.raises(DeadlineExceeded):
        seen.extend(client.chat.completions.create(**ELSEWHERE, stream=True))
    assert [chunk.choices[0].delta.content for chunk in seen] == ["a", "b"]


@pytest.mark.parametrize(
    "body", [{"conversation": "conv_1"}, {"background": True}, {"previous_response_id": "resp_made_elsewhere"}]
)
def test_state_that_lives_at_the_callers_own_address_is_used_there(upstream, dispatcher, new_run, body):
    with httpx.Client() as client, inside(new_run("5s")):
        client.post(f"{upstream.url}/responses", json={"model": "m", "input": "hi", **body})
    assert dispatcher.calls == []
    assert json.loads(upstream.requests[0].partition(b"\r\n\r\n")[2])["model"] == "m"


async def test_cancelling_reaches_the_upstream(upstream, new_run):
    async with openai.AsyncOpenAI(base_url=upstream.url, api_key="k") as client:
        asked, gone = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def script(connection, request):
            loop.call_soon_threadsafe(asked.set)
            assert connection.recv(1) == b""
            loop.call_soon_threadsafe(gone.set)

        upstream.script = script
        with inside(new_run("5s")):
            task = asyncio.create_task(client.chat.completions.create(**ELSEWHERE))
        await asyncio.wait_for(asked.wait(), 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 2)


def test_the_connection_serves_the_next_request_undisturbed(upstream, new_run):
    """The watch over a socket ends before the connection is given back."""
    with openai.OpenAI(base_url=upstream.url, api_key="k") as client:
        with inside(new_run(0.15)):
            client.chat.completions.create(**ELSEWHERE)
            with client.chat.completions.with_streaming_response.create(**ELSEWHERE) as response:
                response.read()
        upstream.script = lambda connection, request: (time.sleep(0.25), ok()(connection, request))
        client.with_options(max_retries=0).chat.completions.create(**ELSEWHERE)
    assert len(upstream.requests) == 3


async def test_a_break_before_the_deadline_is_the_librarys_own_error(upstream, new_run):
    def cut_off(connection, request):
        connection.sendall(SSE_HEAD + chunked(chat_chunks("a")[0]))
        connection.close()

    upstream.script = cut_off
    body, url = {**ELSEWHERE, "stream": True}, f"{upstream.url}/chat/completions"
    with inside(new_run("5s")):
        with FAMILY.Client() as client:
            with pytest.raises(FAMILY.RemoteProtocolError) as caught:
                client.post(url, json=body)
            with client.stream("POST", url, json=body) as response, pytest.raises(FAMILY.RemoteProtocolError):
                list(response.iter_raw())
        async with FAMILY.AsyncClient() as client:
            with pytest.raises(FAMILY.RemoteProtocolError):
                await client.post(url, json=body)
            async with client.stream("POST", url, json=body) as response:
                with pytest.raises(FAMILY.RemoteProtocolError):
                    [part async for part in response.aiter_raw()]
    assert not isinstance(caught.value, DeadlineExceeded)


async def test_a_timeout_of_the_users_own_code_is_not_the_deadline(upstream, new_run):
    async def slow(response):
        raise TimeoutError("mine")

    async with FAMILY.AsyncClient(event_hooks={"response": [slow]}) as client:
        with inside(new_run("5s")), pytest.raises(TimeoutError, match="mine") as caught:
            await client.post(f"{upstream.url}/chat/completions", json=ELSEWHERE)
    assert type(caught.value) is TimeoutError


def test_reading_goes_on_where_it_stopped(upstream, new_run):
    content = b"".join(map(chunked, chat_chunks("a", "b"))) + b"0\r\n\r\n"
    upstream.script = lambda connection, request: connection.sendall(SSE_HEAD + content)
    with FAMILY.Client() as client, inside(new_run("5s")):
        body = {**ELSEWHERE, "stream": True}
        with client.stream("POST", f"{upstream.url}/chat/completions", json=body) as response:
            first = next(iter(response.stream))
            assert b"".join([first, *response.stream]).endswith(b"[DONE]\n\n")


async def test_an_http2_connection_is_not_shut_down(new_run, monkeypatch):
    """Others share it: the wait ends with the next chunk."""
    from agentsched.intercept import passthrough

    def never(found):
        raise AssertionError("shut down")

    monkeypatch.setattr(passthrough, "_shut_down", never)
    run = new_run("5s")

    def answer(request):
        def chunks():
            yield b"data: 1\n\n"
            run.clock = lambda: run.started_at + 6
            yield b"data: 2\n\n"
            yield b"data: 3\n\n"

        stream = type("Stream", (FAMILY.SyncByteStream,), {"__iter__": lambda self: chunks()})()
        return FAMILY.Response(200, stream=stream, extensions={"http_version": b"HTTP/2", "network_stream": object()})

    client = FAMILY.Client(transport=FAMILY.MockTransport(answer))
    with client, inside(run), pytest.raises(DeadlineExceeded):
        client.post("http://h/v1/chat/completions", json=ELSEWHERE)


def test_an_api_that_no_endpoint_declares_is_used_at_the_callers_own_address(upstream, dispatcher, new_run, caplog):
    run = new_run("5s")
    pool = run.runtime.settings.pool
    plain = Pool([replace(endpoint, capabilities=None) for endpoint in pool.endpoints])
    run.runtime.settings = replace(run.runtime.settings, pool=plain)
    with httpx.Client() as client, inside(run):
        client.post(f"{upstream.url}/responses", json={"model": "m", "input": "hi", "store": False})
    assert dispatcher.calls == []
    assert len(upstream.requests) == 1
    assert "no endpoint that serves 'm' declares `responses`" in caplog.text
