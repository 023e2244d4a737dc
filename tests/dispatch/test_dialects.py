"""What a live server is told of a call: anew at each attempt, only in its own dialect."""

import asyncio
import json

from agentsched.core.endpoint import Endpoint, Pool
from tests.dispatch.conftest import a_call, asked


async def test_a_retry_tells_the_other_server_what_is_left_by_then(make_runtime):
    heard: list[tuple[dict[str, str], dict[str, object]]] = []
    enough, handlers = asyncio.Event(), list[asyncio.Task[None]]()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        handlers.append(handler)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")[1:-2]
        headers = dict(line.split(": ", 1) for line in lines)
        heard.append((headers, json.loads(await reader.readexactly(int(headers["content-length"])))))
        if len(heard) == 4:
            enough.set()
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 500 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    kinds = {"envoy": False, "vllm": True, "openai": True}
    endpoints = [
        Endpoint(name=kind, base_url=f"{url}/{kind}", model=kind, kind=kind, priority=takes)
        for kind, takes in kinds.items()
    ]
    runtime = make_runtime(Pool(endpoints, {"m": list(kinds)}))
    call = asyncio.ensure_future(runtime.dispatcher.send(a_call(2.0), asked()))
    await enough.wait()
    call.cancel()
    await asyncio.wait([call, *handlers])
    server.close()
    left = [int(headers["x-envoy-upstream-rq-timeout-ms"]) for headers, body in heard if body["model"] == "envoy"]
    assert left
    assert 0 < min(left) <= max(left) <= 2000
    assert left == sorted(left, reverse=True)
    for headers, body in heard:
        assert ("priority" in body) == (body["model"] == "vllm")
        assert ("x-envoy-upstream-rq-timeout-ms" in headers) == (body["model"] == "envoy")
    urgent = [body["priority"] for _, body in heard if body["model"] == "vllm"]
    assert all(isinstance(priority, int) and priority < 0 for priority in urgent), "less than ten seconds are left"
