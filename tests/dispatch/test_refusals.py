"""Refusals: what the caller sees of them is whole; what it does not see delays nothing."""

import asyncio
import contextlib
import json

import pytest

from agentsched.core.endpoint import Endpoint, Pool
from agentsched.errors import EndpointsUnavailable
from tests.dispatch.conftest import a_call, asked

BODY = json.dumps({"error": {"message": "x" * 500}}).encode()
GOOD = b'{"choices":[{"message":{"role":"assistant","content":"yes"}}]}'


@contextlib.asynccontextmanager
async def answering(*parts: bytes, hold: bool = False):
    """A server that answers every request with these bytes, one after another, and hangs up unless it holds on."""
    writers = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0.02)
        if not hold:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


def head(status: str, length: int) -> bytes:
    lines = (f"HTTP/1.1 {status}", "content-type: application/json", "connection: close", f"content-length: {length}")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


async def test_a_refusal_in_two_pieces_is_handed_over_whole(make_runtime):
    async with answering(head("400 Bad", len(BODY)) + BODY[:100], BODY[100:]) as url:
        runtime = make_runtime(Pool([Endpoint(name="a", base_url=url, model="m")]))
        reply = await runtime.dispatcher.send(a_call(2), asked())
        assert (reply.status, reply.content) == (400, BODY)
        runtime.close()


async def test_an_error_body_that_never_ends_does_not_delay_the_next_attempt(make_runtime):
    async with answering(head("500 No", 1000), hold=True) as bad, answering(head("200 OK", len(GOOD)) + GOOD) as good:
        pool = Pool([Endpoint(name="bad", base_url=bad, model="m"), Endpoint(name="good", base_url=good, model="m")])
        runtime = make_runtime(pool)
        replies = [await runtime.dispatcher.send(a_call(2), asked()) for _ in range(2)]
        assert [reply.content for reply in replies] == [GOOD, GOOD]
        table = runtime.dispatcher.scheduler.ledger.table
        assert table.gates.failures_in_row[0] >= 1, "the bad one was tried"
        runtime.close()


async def test_an_unexpected_error_in_an_attempt_ends_it_at_once(make_runtime, monkeypatch):
    def broken(*_: object) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr("agentsched.dispatch.attempt.read_answer", broken)
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context["exception"]))
    async with answering(head("200 OK", len(GOOD)) + GOOD) as url:
        runtime = make_runtime(Pool([Endpoint(name="a", base_url=url, model="m")]))
        with pytest.raises(EndpointsUnavailable, match="unexpected error"):
            await runtime.dispatcher.send(a_call(5), asked())
        runtime.close()
