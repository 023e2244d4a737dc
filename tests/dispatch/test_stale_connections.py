"""Servers close kept-alive connections under a client: a request that hit a closed one is sent again at once."""

import asyncio

from agentsched.core.endpoint import Endpoint, Pool
from tests.dispatch.conftest import a_call, asked

ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 66\r\n\r\n"
    b'{"choices":[{"message":{"role":"assistant","content":"yes"}}]}    '
)


async def test_a_connection_closed_when_reused_costs_nothing(make_runtime):
    writers: list[asyncio.StreamWriter] = []

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the first request of a connection; hang up on the second one's first bytes."""
        writers.append(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(ANSWER)
        await writer.drain()
        await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    runtime = make_runtime(Pool([Endpoint(name="a", base_url=f"http://127.0.0.1:{port}/v1", model="m")]))
    for _ in range(4):
        assert (await runtime.dispatcher.send(a_call(2), asked())).status == 200
    server.close()
    for writer in writers:
        writer.transport.abort()  # the last one's handler still waits for a second request
    assert len(writers) == 4
    assert runtime.dispatcher.scheduler.ledger.table.rows.error_rate.max() == 0
