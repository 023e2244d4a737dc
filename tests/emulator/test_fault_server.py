"""Every fault, as a client meets it on the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from agentsched.emulator import EmulatedEndpoint, Emulator, Fault
from agentsched.engine import HardwareProfile
from tests.emulator.waiting import until

SOON_S = 2.0
A_WHILE_S = 0.12


class Caller:
    """A raw HTTP client of one endpoint."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    def post(self, *, stream: bool, fault: str | None = None, out: int = 8) -> Any:
        body = {"model": "test-model", "stream": stream, "messages": [{"role": "user", "content": f"x [[out={out}]]"}]}
        headers = {"x-emulator-fault": fault} if fault is not None else {}
        return self._session.post(self._url + "/chat/completions", json=body, headers=headers)


@pytest.fixture
async def caller(pool: Emulator) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(session, pool.url("gpu"))


def contents(data: bytes) -> int:
    """Count the content chunks in a stream's bytes."""
    return data.count(b'"delta":{"content":"')


async def read_for(answer: aiohttp.ClientResponse, seconds: float) -> bytes:
    """Read what comes within some time of a body that does not end."""
    pieces: list[bytes] = []
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(_read_into(pieces, answer), seconds)
    return b"".join(pieces)


async def _read_into(pieces: list[bytes], answer: aiohttp.ClientResponse) -> None:
    async for piece in answer.content.iter_any():
        pieces.append(piece)


@pytest.mark.parametrize("stream", [True, False])
async def test_silent(caller: Caller, stream: bool) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(A_WHILE_S):
            await caller.post(stream=stream, fault="silent")


@pytest.mark.parametrize("stream", [True, False])
async def test_refuse_in_a_header_resets_the_connection(caller: Caller, stream: bool) -> None:
    with pytest.raises(aiohttp.ClientConnectionError):
        await caller.post(stream=stream, fault="refuse")


async def test_refuse_closes_the_port_for_a_while(pool: Emulator, caller: Caller) -> None:
    async with caller.post(stream=False) as answer:  # leaves an idle connection, which must not help
        await answer.read()
    pool.inject("gpu", Fault(kind="refuse", duration_s=0.3))
    await asyncio.sleep(0.05)
    with pytest.raises(aiohttp.ClientConnectorError):
        await caller.post(stream=False)
    await asyncio.sleep(0.35)
    async with caller.post(stream=False) as answer:
        assert answer.status == 200


async def test_a_closed_port_is_opened_through_the_control_server(pool: Emulator, caller: Caller) -> None:
    pool.inject("gpu", Fault(kind="refuse"))
    await asyncio.sleep(0.02)
    with pytest.raises(aiohttp.ClientConnectorError):
        await caller.post(stream=False)
    async with aiohttp.ClientSession() as session:
        body = {"model": "test-model", "messages": [{"role": "user", "content": "[[out=2]]"}]}
        async with session.post(f"{pool.control_url}/gpu/v1/chat/completions", json=body) as answer:
            assert answer.status == 200, "the control server carries the endpoint too"
        async with session.post(f"{pool.control_url}/_emulator/clear/gpu") as answer:
            assert answer.status == 200
    async with caller.post(stream=False) as answer:
        assert answer.status == 200


async def test_stalled_stream(caller: Caller) -> None:
    async with caller.post(stream=True, fault="stall;after=3") as answer:
        assert contents(await read_for(answer, A_WHILE_S)) == 3


async def test_stalled_body(caller: Caller) -> None:
    async with caller.post(stream=False, fault="stall") as answer:
        data = await read_for(answer, A_WHILE_S)
        assert answer.content_length is not None
        assert 0 < len(data) < answer.content_length


@pytest.mark.parametrize("stream", [True, False])
async def test_dripping_body(caller: Caller, stream: bool) -> None:
    async with caller.post(stream=stream, fault="drip;interval_s=0.02") as answer:
        data = await read_for(answer, 0.2)
        assert 2 <= len(data) <= 12


@pytest.mark.parametrize(("stream", "drop"), [(True, b": keep-alive\n\n"), (False, b" ")])
async def test_dripping_comments(caller: Caller, stream: bool, drop: bytes) -> None:
    async with caller.post(stream=stream, fault="drip_comments;interval_s=0.02") as answer:
        data = await read_for(answer, 0.2)
        assert data.replace(drop, b"") == b""
        assert 2 <= data.count(drop) <= 12


async def test_cut_stream(caller: Caller) -> None:
    pieces: list[bytes] = []
    async with caller.post(stream=True, fault="cut;after=3") as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await _read_into(pieces, answer)
    assert contents(b"".join(pieces)) == 3


async def test_cleanly_cut_stream_looks_complete_but_for_its_end(caller: Caller) -> None:
    async with caller.post(stream=True, fault="cut;after=3;clean=true") as answer:
        data = await answer.read()
    assert contents(data) == 3
    assert b"[DONE]" not in data
    assert b'"finish_reason":"stop"' not in data


async def test_cut_body(caller: Caller) -> None:
    async with caller.post(stream=False, fault="cut") as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_malformed_events(caller: Caller) -> None:
    async with caller.post(stream=True, fault="malformed_sse;after=2") as answer:
        lines = (await answer.read()).decode().splitlines()
    assert any(line and not line.startswith("data:") for line in lines)
    assert contents("\n".join(lines).encode()) == 2


@pytest.mark.parametrize("after", [0, 2])
async def test_truncated_json_in_a_stream(caller: Caller, after: int) -> None:
    async with caller.post(stream=True, fault=f"truncated_json;after={after}") as answer:
        events = [line[6:] for line in (await answer.read()).decode().splitlines() if line.startswith("data: ")]
    for event in events[:-1]:
        json.loads(event)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|delimiter"):
        json.loads(events[-1])


@pytest.mark.parametrize("kind", ["truncated_json", "malformed_sse"])
async def test_truncated_json_in_a_body(caller: Caller, kind: str) -> None:
    async with caller.post(stream=False, fault=kind) as answer:
        data = await answer.read()
        assert answer.status == 200
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|delimiter"):
        json.loads(data)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        ("rate_limit", 429, None),
        ("rate_limit;retry_after_s=7", 429, "7"),
        ("server_error", 500, None),
        ("server_error;status=502", 502, None),
        ("unavailable", 503, None),
        ("unavailable;retry_after_s=0.5", 503, "0.5"),
        ("explode", 400, None),
    ],
)
async def test_status_faults(caller: Caller, stream: bool, fault: str, status: int, retry_after: str | None) -> None:
    async with caller.post(stream=stream, fault=fault) as answer:
        assert answer.status == status
        assert answer.headers.get("Retry-After") == retry_after
        assert set((await answer.json())["error"]) == {"message", "type", "param", "code"}


async def test_error_object_in_a_stream(caller: Caller) -> None:
    async with caller.post(stream=True, fault="error_in_stream;after=2") as answer:
        assert answer.status == 200
        data = await answer.read()
    assert contents(data) == 2
    assert "error" in json.loads(data.decode().strip().rsplit("data: ", 1)[1])


async def test_error_object_in_a_body(caller: Caller) -> None:
    async with caller.post(stream=False, fault="error_in_stream") as answer:
        assert answer.status == 200
        assert "error" in await answer.json()


@pytest.mark.parametrize("stream", [True, False])
async def test_slow_but_alive(caller: Caller, stream: bool) -> None:
    loop = asyncio.get_running_loop()

    async def timed(fault: str | None) -> tuple[bytes, float]:
        started = loop.time()
        async with caller.post(stream=stream, fault=fault, out=30) as answer:
            return await answer.read(), loop.time() - started

    usual, _ = await timed(None)
    usual_s = min([(await timed(None))[1] for _ in range(3)])
    slow, slow_s = await timed("slow;factor=8")
    assert contents(slow) == contents(usual)
    assert slow_s > 3 * usual_s


async def test_faults_hold_no_slot_once_the_client_has_left(pool: Emulator, caller: Caller) -> None:
    for fault in ("silent", "stall;after=1", "drip;interval_s=1", "drip_comments;interval_s=1", "slow;factor=50"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), caller.post(stream=True, fault=fault, out=500) as answer:
                await answer.read()
    await until(lambda: pool.load("gpu").running == 0)


async def test_faults_are_set_listed_and_cleared_over_http(pool: Emulator, caller: Caller) -> None:
    board = pool.url("gpu").removesuffix("/v1") + "/_emulator/faults"
    async with aiohttp.ClientSession() as session:
        order = {"faults": [{"kind": "server_error", "count": 1}, {"kind": "unavailable", "stream": True}]}
        async with session.post(board, json=order) as answer:
            assert [fault["kind"] for fault in (await answer.json())["faults"]] == ["server_error", "unavailable"]
        statuses = []
        for stream in (False, False, True):
            async with caller.post(stream=stream) as answer:
                statuses.append(answer.status)
        assert statuses == [500, 200, 503]
        async with session.delete(board) as answer:
            assert await answer.json() == {"faults": []}
        async with session.post(board, json={"kind": "explode"}) as answer:
            assert answer.status == 400


async def test_configured_faults_act_from_the_start(gpu_profile: HardwareProfile) -> None:
    faults = (Fault(kind="unavailable", probability=0.5),)
    endpoint = EmulatedEndpoint(name="gpu", profile=gpu_profile, model="test-model", seed=3, faults=faults)

    async def statuses() -> list[int]:
        async with Emulator([endpoint], time_scale=50) as pool, aiohttp.ClientSession() as session:
            caller = Caller(session, pool.url("gpu"))
            found = []
            for _ in range(12):
                async with caller.post(stream=False, out=1) as answer:
                    found.append(answer.status)
            return found

    first = await statuses()
    assert set(first) == {200, 503}
    assert await statuses() == first, "the seed decides"


async def test_stopping_the_pool_ends_hanging_calls(gpu_profile: HardwareProfile) -> None:
    endpoint = EmulatedEndpoint(name="gpu", profile=gpu_profile, model="test-model")
    async with aiohttp.ClientSession() as session:
        async with Emulator([endpoint], time_scale=20) as pool:
            caller = Caller(session, pool.url("gpu"))
            calls = [
                asyncio.create_task(_status(caller, fault))
                for fault in ("silent", "stall;after=1", "drip_comments", None)
            ]
            await asyncio.sleep(0.05)
        async with asyncio.timeout(SOON_S):
            await asyncio.gather(*calls, return_exceptions=True)


async def _status(caller: Caller, fault: str | None) -> int:
    async with caller.post(stream=True, fault=fault, out=3000) as answer:
        await answer.read()
        return int(answer.status)
