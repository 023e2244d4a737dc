"""One attempt, live: the HTTP request, the reading of its answer, and the events both give rise to."""

import asyncio
from collections.abc import Callable
from dataclasses import astuple, dataclass, field

import aiohttp
from aiohttp import ClientTimeout

from agentsched import clock
from agentsched.core.call import AttemptLimits, Failure, FailureKind, Usage
from agentsched.dispatch.body import AsyncStream, Stream
from agentsched.endpoints.answers import Chunk, MalformedAnswer, error_of, read_answer, read_chunk, usage_of
from agentsched.endpoints.exchange import Exchange
from agentsched.endpoints.limits import limits_of, retry_after_s
from agentsched.endpoints.request import Address
from agentsched.endpoints.sse import EventTooLong, SseDecoder
from agentsched.scheduler.events import AttemptFailed, AttemptFinished, EndpointLimited, Event, TokensProgressed

__all__ = ["Answer", "LiveAttempt"]

_REPORT_EVERY_S = 0.1
"""Token progress is told to the scheduler at most this often, seconds."""

_DRAIN_S = 0.25
"""How long the end of a finished stream is waited for, so that its connection can be used again, seconds."""

_MOST_ERROR_BYTES = 64 * 1024
_CHARACTERS_PER_TOKEN = 5
"""Servers that pack several tokens into an event are counted by their text, at this many characters a token or more."""

_NOT_FORWARDED = frozenset(
    {
        "connection",
        "keep-alive",
        "transfer-encoding",
        "content-length",
        "content-encoding",
        "set-cookie",
        "trailer",
        "upgrade",
        "proxy-authenticate",
    }
)
_RETRIABLE_4XX = frozenset({408, 409, 425})


@dataclass(slots=True)
class Answer:
    """What came back so far; chunks gather here until the scheduler has this attempt delivered."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None
    chunks: list[bytes] = field(default_factory=list)
    stream: AsyncStream | Stream | None = None


class LiveAttempt:
    """Sends one request and reports what happens to it.

    Args:
        attempt_id: whose events these are.
        address: the endpoint.
        exchange: what is asked.
        limits: the clocks kept here.
        session: the loop's HTTP connections.
        proxy: the proxy for this endpoint, or None.
        post: takes events, in this loop.
    """

    def __init__(
        self,
        attempt_id: str,
        address: Address,
        exchange: Exchange,
        limits: AttemptLimits,
        session: aiohttp.ClientSession,
        proxy: str | None,
        post: Callable[[Event], None],
    ) -> None:
        self.attempt_id = attempt_id
        self.answer = Answer()
        self._address, self._exchange, self._limits = address, exchange, limits
        self._session, self._proxy, self._post = session, proxy, post
        self._tokens, self._characters = 0, 0
        self._reported_tokens, self._reported_at = 0, 0.0
        self._usage = Usage()
        self._finished = False
        self._finished_output = False
        self._paused = False

    async def run(self) -> None:
        """Carry the attempt out; every failure but cancellation becomes an event."""
        reuse = ConnectionTrace()
        try:
            await self._exchange_bytes(reuse)
        except asyncio.CancelledError:
            raise
        except (aiohttp.ClientError, OSError, TimeoutError, MalformedAnswer, EventTooLong) as error:
            self._fail(_failure_of(error, reuse.reused and not self.answer.status))
        except Exception:
            # A bug of ours, or of the HTTP client: the call must not hang for it until its deadline.
            self._fail(Failure(FailureKind.RESET, "an unexpected error, see the log"))
            raise

    async def _exchange_bytes(self, trace: "ConnectionTrace") -> None:
        request = self._address.request(self._exchange, self.attempt_id)
        async with self._session.post(
            request.url,
            data=request.body,
            headers=request.headers,
            timeout=ClientTimeout(total=None, connect=self._limits.connect_s),
            allow_redirects=False,
            proxy=self._proxy,
            trace_request_ctx=trace,
        ) as response:
            self.answer.headers = tuple(
                (name.lower(), value) for name, value in response.headers.items() if name.lower() not in _NOT_FORWARDED
            )
            self.answer.status = response.status
            if response.status != 200:
                await self._read_refusal(response)
                return
            limits = limits_of(response.headers)
            if limits is not None:
                self._post(EndpointLimited(self._address.endpoint.name, *astuple(limits)))
            if self._exchange.stream:
                await self._read_stream(response)
            else:
                await self._read_whole(response)

    # -- whole answers -----------------------------------------------------------------------------------------------

    async def _read_refusal(self, response: aiohttp.ClientResponse) -> None:
        """Only a refusal that the caller will see is read: the body of any other would delay the next attempt."""
        kind = _refusal_kind(response.status)
        if kind is FailureKind.CLIENT:
            self.answer.content = await _read_bounded(response)
        wait = retry_after_s(response.headers, clock.wall())
        self._fail(Failure(kind, f"HTTP {response.status}", response.status, wait))

    async def _read_whole(self, response: aiohttp.ClientResponse) -> None:
        self.answer.content = content = await response.read()
        answer = read_answer(content)
        error = error_of(answer)
        if error is not None:
            self._fail(Failure(FailureKind.IN_BAND, error, 200))
        else:
            self._finish(usage_of(answer))

    # -- streams -----------------------------------------------------------------------------------------------------

    async def _read_stream(self, response: aiohttp.ClientResponse) -> None:
        if "text/event-stream" not in response.headers.get("content-type", "text/event-stream"):
            self._refuse_plain_answer(await _read_bounded(response))
            return
        decoder, api = SseDecoder(), self._exchange.api
        async for piece in response.content.iter_any():
            for event in decoder.feed(piece):
                if not event.data:
                    continue
                chunk = read_chunk(api, event.data)
                if chunk.error is not None:
                    self._fail_in_band(event.raw, chunk.error)
                    return
                self._count(chunk)
                if self._emit(event.raw):
                    await self._hold()
                if chunk.done:
                    self._finish(self._usage)
                    await self._drain(response)
                    return
        if self._finished_output:
            self._finish(self._usage)
        else:
            self._fail(Failure(FailureKind.RESET, "the stream was cut before its end"))

    def _refuse_plain_answer(self, content: bytes) -> None:
        error = error_of(read_answer(content))
        kind = FailureKind.MALFORMED if error is None else FailureKind.IN_BAND
        self._fail(Failure(kind, error or "no event stream", 200))

    def _count(self, chunk: Chunk) -> None:
        """Tokens so far; the first content and then now and again is told to the scheduler."""
        if chunk.usage is not None:
            self._usage = chunk.usage
        self._finished_output = self._finished_output or chunk.finish
        if not chunk.content:
            return
        self._characters += chunk.characters
        self._tokens = max(self._tokens + 1, self._characters // _CHARACTERS_PER_TOKEN)
        now = clock.monotonic()
        if now - self._reported_at >= _REPORT_EVERY_S:
            self._report(now)

    def _report(self, now: float, *, paused: bool = False) -> None:
        self._reported_tokens, self._reported_at, self._paused = self._tokens, now, paused
        self._post(TokensProgressed(self.attempt_id, self._tokens, paused))

    def flush(self) -> None:
        """Tell the scheduler the latest, before it looks at the clocks."""
        if self._tokens > self._reported_tokens and not (self._finished or self._paused):
            self._report(clock.monotonic())

    def _emit(self, raw: bytes) -> bool:
        if self.answer.stream is not None:
            return self.answer.stream.push(raw)
        self.answer.chunks.append(raw)
        return False

    async def _hold(self) -> None:
        """The caller is slower than the server: stop reading, and rest the idle clock, until it has caught up."""
        assert self.answer.stream is not None
        self._report(clock.monotonic(), paused=True)
        await self.answer.stream.drained()
        self._report(clock.monotonic())

    def deliver_to(self, stream: AsyncStream | Stream) -> None:
        """From now on the caller gets every event; first those that came before."""
        for chunk in self.answer.chunks:
            stream.push(chunk)
        self.answer.chunks.clear()
        self.answer.stream = stream
        if self._finished:
            stream.end()

    async def _drain(self, response: aiohttp.ClientResponse) -> None:
        try:
            async with asyncio.timeout(_DRAIN_S):
                await response.content.read()
        except (TimeoutError, aiohttp.ClientError, OSError):
            response.close()

    # -- ends --------------------------------------------------------------------------------------------------------

    def _finish(self, usage: Usage) -> None:
        self._finished = True
        if self._exchange.stream and usage.output_tokens is None:
            usage = Usage(usage.input_tokens, self._tokens, usage.cached_input_tokens)
        self._post(AttemptFinished(self.attempt_id, usage))
        if self.answer.stream is not None:
            self.answer.stream.end()

    def _fail(self, failure: Failure) -> None:
        self._finished = True
        self._post(AttemptFailed(self.attempt_id, failure))

    def _fail_in_band(self, raw: bytes, message: str) -> None:
        """An error event: before delivery another endpoint may answer; after it the caller's SDK understands it."""
        if self.answer.stream is not None:
            self.answer.stream.push(raw)
            self.answer.stream.end()
        self._fail(Failure(FailureKind.IN_BAND, message, 200))


def _refusal_kind(status: int) -> FailureKind:
    if status == 429:
        return FailureKind.RATE_LIMITED
    if status >= 500 or status in _RETRIABLE_4XX:
        return FailureKind.SERVER
    return FailureKind.CLIENT if status >= 400 else FailureKind.MALFORMED


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body, to its end or to `_MOST_ERROR_BYTES`."""
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size >= _MOST_ERROR_BYTES:
            break
    return b"".join(pieces)[:_MOST_ERROR_BYTES]


class ConnectionTrace:
    """Whether the request went over a kept-alive connection, which may have been closed under it."""

    __slots__ = ("reused",)

    def __init__(self) -> None:
        self.reused = False


def _failure_of(error: BaseException, stale: bool) -> Failure:
    """What an exception of the HTTP client means. Its text is not kept: it may hold an address with credentials."""
    name = type(error).__name__
    if isinstance(error, (MalformedAnswer, EventTooLong)):
        return Failure(FailureKind.MALFORMED, str(error)[:200] or name)
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        detail = getattr(getattr(error, "os_error", None), "strerror", None) or name
        return Failure(FailureKind.CONNECT, detail)
    if stale and isinstance(error, (aiohttp.ServerDisconnectedError, ConnectionResetError, aiohttp.ClientOSError)):
        return Failure(FailureKind.STALE, "a kept-alive connection had been closed")
    return Failure(FailureKind.RESET, name)
