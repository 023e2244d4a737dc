"""Getting an answer to the client over HTTP, or failing to in the way a fault prescribes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import HttpVersion11, web

from agentsched import clock
from agentsched.emulator.apierror import ApiError
from agentsched.emulator.faults import Fault
from agentsched.emulator.sinks import SlowStreamSink, StreamSink, WholeSink
from agentsched.emulator.wire import Usage, Wire, event

__all__ = ["Delivery", "error_response"]

_SSE = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
_IN_BAND = {
    "error": {"message": "the engine failed while generating", "type": "server_error", "code": "internal_error"}
}
_BREAKING = ("stall", "cut", "malformed_sse", "truncated_json", "error_in_stream")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request on its way to an answer.

    Attributes:
        request: the HTTP request.
        wire: makes the bytes.
        prompt_tokens: for the usage.
        output_tokens: tokens that the answer has.
        complete: whether that is one which stands for none, as nothing was left to be said.
        fault: what is to go wrong; None for nothing.
        headers: further response headers.
        start: gives the sink to the engine; raises `ApiError` when the engine refuses.
        hang: waits until the server stops (a client that leaves cancels the handler).
    """

    request: web.Request
    wire: Wire
    prompt_tokens: int
    output_tokens: int
    complete: bool
    fault: Fault | None
    headers: Mapping[str, str]
    start: Callable[[WholeSink | StreamSink], None]
    hang: Callable[[], asyncio.Future[bool]]

    async def stream(self) -> web.StreamResponse:
        """Answer with server-sent events."""
        fault = self.fault
        if self.request.version < HttpVersion11:
            raise ApiError(505, "streaming needs HTTP/1.1")
        response = web.StreamResponse(headers={**_SSE, **self.headers})
        response.enable_chunked_encoding()
        if fault is not None and fault.kind == "drip_comments":
            return await self._drip_forever(response, b": keep-alive\n\n", fault.interval_s)
        sink = self._stream_sink()
        self.start(sink)
        try:
            await response.prepare(self.request)
            if fault is not None and fault.kind == "drip":
                return await self._drip_stream(response, sink, fault.interval_s)
            sink.attach(self._transport().write)
            if await sink.done:
                return self._cut(response)
            if fault is not None and fault.kind in _BREAKING and sink.count == fault.after:
                return await self._break_stream(response, fault)
            await response.write(self._closing(sink))
            await response.write_eof()
            return response
        finally:
            if isinstance(sink, SlowStreamSink):
                sink.cancel()

    async def whole(self) -> web.StreamResponse:
        """Answer with one JSON body."""
        fault = self.fault
        if fault is not None and fault.kind == "drip_comments":
            response = web.StreamResponse(headers={"Content-Type": "application/json", **self.headers})
            return await self._drip_forever(response, b" ", fault.interval_s)
        started_s = clock.monotonic()
        sink = WholeSink()
        self.start(sink)
        if await sink.done:
            raise ApiError(500, "the engine failed while generating", kind="server_error")
        body = self.wire.whole(self._usage(sink))
        if fault is not None:
            if fault.kind == "slow":
                await asyncio.sleep((clock.monotonic() - started_s) * (fault.factor - 1))
            elif fault.kind == "error_in_stream":
                body = event(_IN_BAND).removeprefix(b"data: ").strip()
            elif fault.kind in ("truncated_json", "malformed_sse"):
                body = body[: len(body) // 2]
            else:
                return await self._break_body(body, fault)
        return web.Response(body=body, content_type="application/json", headers=self.headers)

    # Faults ----------------------------------------------------------------------------------------------------------

    def _stream_sink(self) -> StreamSink:
        fault = self.fault
        if fault is not None and fault.kind == "slow":
            return SlowStreamSink(self.wire, self.output_tokens, fault.factor)
        stop_after = fault.after if fault is not None and fault.kind in _BREAKING else None
        return StreamSink(self.wire, self.output_tokens, stop_after)

    async def _break_stream(self, response: web.StreamResponse, fault: Fault) -> web.StreamResponse:
        if fault.kind == "stall":
            await self.hang()
        elif fault.kind == "cut" and not fault.clean:
            return self._cut(response)
        elif fault.kind == "malformed_sse":
            await response.write(b'dta {"id": "broken"\n\nchoices: [[[\n\n')
        elif fault.kind == "truncated_json":
            whole = self.wire.token(0) if fault.after == 0 else self.wire.token(fault.after - 1)
            await response.write(whole[: len(whole) // 2] + b"\n\n")
        elif fault.kind == "error_in_stream":
            await response.write(event(_IN_BAND))
        await response.write_eof()
        return response

    async def _break_body(self, body: bytes, fault: Fault) -> web.StreamResponse:
        """Send headers that promise the whole body, and then deliver it badly."""
        response = web.StreamResponse(headers={"Content-Type": "application/json", **self.headers})
        response.content_length = len(body)
        await response.prepare(self.request)
        if fault.kind == "drip":
            await self._drip(response, body, fault.interval_s)
            await response.write_eof()
            return response
        await response.write(body[: len(body) // 2])
        if fault.kind == "stall":
            await self.hang()
        return self._cut(response)

    async def _drip_stream(
        self, response: web.StreamResponse, sink: StreamSink, interval_s: float
    ) -> web.StreamResponse:
        """Let the stream through one byte at a time, which is slower than any engine."""
        await self._drip(response, self.wire.opening(), interval_s)
        for index in range(self.output_tokens):
            await self._drip(response, self.wire.token(index), interval_s)
        if await sink.done:
            return self._cut(response)
        await self._drip(response, self._closing(sink), interval_s)
        await response.write_eof()
        return response

    async def _drip(self, response: web.StreamResponse, body: bytes, interval_s: float) -> None:
        for at in range(len(body)):
            await response.write(body[at : at + 1])
            await asyncio.sleep(interval_s)

    async def _drip_forever(self, response: web.StreamResponse, drop: bytes, interval_s: float) -> web.StreamResponse:
        await response.prepare(self.request)
        stopped = self.hang()
        while not stopped.done():
            await response.write(drop)
            await asyncio.wait((stopped,), timeout=interval_s)
        return response

    def _closing(self, sink: StreamSink) -> bytes:
        return self.wire.closing(self._usage(sink))

    def _usage(self, sink: WholeSink | StreamSink) -> Usage:
        return Usage(self.prompt_tokens, sink.cached_tokens, 0 if self.complete else sink.count)

    def _transport(self) -> asyncio.Transport:
        transport = self.request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        assert isinstance(transport, asyncio.Transport)
        return transport

    def _cut(self, response: web.StreamResponse) -> web.StreamResponse:
        transport = self.request.transport
        if transport is not None:
            transport.abort()
        return response


def error_response(error: ApiError) -> web.Response:
    """Return an error as OpenAI-compatible servers do."""
    return web.Response(status=error.status, body=error.body(), content_type="application/json", headers=error.headers)
