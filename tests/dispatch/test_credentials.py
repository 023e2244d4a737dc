"""Credentials never cross hosts: a canary is sent wherever a caller's or an endpoint's secret could leak from."""

import asyncio
import logging

import pytest

from agentsched.core.endpoint import Endpoint, Pool
from agentsched.errors import EndpointsUnavailable
from tests.dispatch.conftest import a_call, asked


async def test_an_endpoint_sees_its_own_key_only(make_runtime, caplog):
    seen: dict[int, list[bytes]] = {}

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("sockname")[1]
        seen.setdefault(port, []).append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 500 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    servers = [await asyncio.start_server(listen, "127.0.0.1", 0) for _ in range(2)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    pool = Pool(
        [
            Endpoint(name=f"e{port}", base_url=f"http://127.0.0.1:{port}/v1", model="m", api_key=f"canary-{port}")
            for port in ports
        ]
    )
    runtime = make_runtime(pool)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(EndpointsUnavailable) as error:
        await runtime.dispatcher.send(a_call(2), asked())
    for server in servers:
        server.close()
    assert set(seen) == set(ports)
    for port, heads in seen.items():
        for head in heads:
            assert f"Bearer canary-{port}".encode() in head
            assert head.count(b"canary-") == 1
    everything = (
        f"{error.value!r} {error.value} {caplog.text} {pool!r} {runtime.settings!r} {runtime.dispatcher.scheduler!r}"
    )
    assert "canary-" not in everything
