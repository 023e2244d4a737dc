"""A model server on the loopback that fails as it is told, and counts what it is asked."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.served import Served

MODEL = "gpt-4o-mini"
"""A name that every framework knows the abilities of."""

KINDS = {
    400: ("invalid_request_error", "invalid_value", "Invalid value: 'loud'."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", "not_here", "There is nothing by this name."),
    422: ("invalid_request_error", "unprocessable", "The request cannot be processed."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests. Too Many Requests (429): throttled."),
    500: ("server_error", None, "The server had an error."),
}
"""What hosted APIs say: (type, code, message) per status."""

RETRY_AFTER_S = 30


@dataclass
class Case:
    """One test's share of the server: an address of its own, and how requests to it are answered.

    Attributes:
        mode: ``answer``; ``once`` (an answer to the first request, then as ``silent``); ``silent`` (not even headers);
            ``stall`` (half an answer, then nothing); ``cut`` (half an answer, then the connection closes); ``mixed``
            (429 from endpoint a, 500 from the others); or an HTTP status.
        requests: the instant of each request, by the monotonic clock.
        asked: endpoint and body of each request.
        strays: requests at the address that the SDK was given: those that nobody caught.
        left: how many requests the client gave up before they were answered.
        over: whether the test has ended: ``late`` counts what came nevertheless.
    """

    number: int
    port: int
    mode: str | int = "answer"
    requests: list[float] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    strays: int = 0
    left: int = 0
    over: bool = False
    late: int = 0

    def url(self, endpoint: str) -> str:
        """The base URL of one endpoint; ``sdk`` is where nobody should ask."""
        return f"http://127.0.0.1:{self.port}/{self.number}/{endpoint}/v1"


class Upstream(Served):
    """The server."""

    def __init__(self) -> None:
        super().__init__()
        self.cases: list[Case] = []

    def open_case(self, mode: str | int) -> Case:
        """A new address whose requests are answered by ``mode``."""
        self.cases.append(Case(len(self.cases), self._port, mode))
        return self.cases[-1]

    @asynccontextmanager
    async def _up(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/{case}/{endpoint}/v1/{api:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        yield
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        case = self.cases[int(request.match_info["case"])]
        case.late += case.over
        if request.match_info["endpoint"] == "sdk":
            case.strays += 1
        case.requests.append(time.monotonic())
        try:
            body = await request.json()
            case.asked.append((request.match_info["endpoint"], body))
            stream = bool(body.get("stream"))
            return await self._behave(case, request, stream)
        except (asyncio.CancelledError, ConnectionError):
            case.left += 1
            raise

    async def _behave(self, case: Case, request: web.Request, stream: bool) -> web.StreamResponse:
        mode = case.mode
        if mode == "mixed":
            mode = 429 if request.match_info["endpoint"] == "a" else 500
        if isinstance(mode, int):
            return refusal(mode)
        if mode == "silent" or (mode == "once" and len(case.requests) > 1):
            await self._stop.wait()
        content = b"".join(chunks("good", "bye")) if stream else json.dumps(answer("goodbye")).encode()
        kind = "text/event-stream" if stream else "application/json"
        if mode in ("answer", "once"):
            return web.Response(body=content, headers={"content-type": kind})
        response = web.StreamResponse(headers={"content-type": kind, "content-length": str(len(content))})
        await response.prepare(request)
        await response.write(chunks("good")[0] if stream else content[:40])
        if mode == "stall":
            await self._stop.wait()
        assert request.transport is not None
        request.transport.close()
        return response


def refusal(status: int) -> web.Response:
    """An error as hosted APIs give it."""
    kind, code, message = KINDS[status]
    headers = {"retry-after": str(RETRY_AFTER_S)} if status == 429 else {}
    return web.json_response(
        {"error": {"message": message, "type": kind, "param": None, "code": code}}, status=status, headers=headers
    )


def answer(text: str) -> dict[str, Any]:
    """A whole chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL}
    return {**head, "choices": [choice], "usage": usage}


def chunks(*words: str) -> list[bytes]:
    """The events of a streamed one."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": word}, None) for word in words]
    events = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
        for delta, end in [*deltas, ({}, "stop")]
    ]
    return [*(f"data: {json.dumps(event)}\n\n".encode() for event in events), b"data: [DONE]\n\n"]
