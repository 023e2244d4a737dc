"""One attempt, live: the HTTP request, the reading of its answer, and the events both give rise to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import astuple, dataclass, field

import aiohttp
from aiohttp import ClientTimeout

from agentsched import clock
from agentsched.core.call import AttemptLimits, Failure, FailureKind, Handed, Usage
from agentsched.dispatch.body import AsyncStream, Stream
from agentsched.dispatch.connections import Route, ended_with_connection
from agentsched.dispatch.http_failures import ConnectionTrace, failure_of, refusal_kind
from agentsched.dispatch.redirects import MOST_REDIRECTS, redirected
from agentsched.endpoints.answers import Chunk, MalformedAnswer, error_of, read_answer, read_chunk, usage_of
from agentsched.endpoints.exchange import Exchange
from agentsched.endpoints.limits import limits_of, retry_after_s
from agentsched.endpoints.request import Address
from agentsched.endpoints.splice import Diverged, Splice
from agentsched.endpoints.splice_responses import ResponsesSplice
from agentsched.endpoints.sse import EventTooLong, SseDecoder
from agentsched.endpoints.token_ids import ASKED
from agentsched.endpoints.upgrade import Assembler
from agentsched.scheduler.events import AttemptFailed, AttemptFinished, EndpointLimited, Event, TokensProgressed

__all__ = ["Answer", "LiveAttempt"]

_REPORT_EVERY_S = 0.1
"""Token progress is told to the scheduler at most this often, seconds."""

_LAST_WORDS_S = 1.0
"""Once a stream's output is complete, its usage and its end mark are waited for no longer than this, seconds: a server
that stands still then has said everything, and nobody else is to be asked for more of it."""

_DRAIN_S = 0.25
"""How long the end of a finished stream is waited for, so that its connection can be used again, seconds."""

_MOST_ERROR_BYTES = 4 * 1024 * 1024
"""A refusal may repeat what it refuses, the whole prompt; half of a JSON object would say nothing to the caller."""

_MOST_UNSAID = 3
"""Tokens without text before one with text: a character has four bytes. More are no tokens but signs of life."""

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
_UNREADABLE = frozenset({400, 404, 415, 422})
"""Statuses of servers that do not take a request as it is."""

_END_MARK = b"data: [DONE]\n\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EVENTS_BEGIN = b"deir:"
"""The first letters of an event (data, event, id, retry, a comment), which no JSON object and no page begins with."""


@dataclass(slots=True)
class Answer:
    """What came back so far; chunks gather here until the scheduler has this attempt delivered.

    ``error_event`` is an error that came inside the stream, as it came.
    """

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None
    chunks: list[bytes] = field(default_factory=list)
    stream: AsyncStream | Stream | None = None
    error_event: bytes | None = None


class LiveAttempt:
    """Sends one request and reports what happens to it.

    Args:
        attempt_id: whose events these are.
        address: the endpoint.
        exchange: what is asked of this endpoint.
        limits: the clocks kept here.
        route: how the endpoint is reached.
        post: takes events, in this loop.
        assembler: puts a whole answer together that is asked for as a stream; None: what comes is what was asked for.
        splice: decides what of the stream the caller gets, and keeps what others may go on from; None: all of it.
        without_ids: makes the same request without asking for token ids, for a server that refuses this; None: nobody
            asks for them, or the caller does.
    """

    def __init__(
        self,
        attempt_id: str,
        address: Address,
        exchange: Exchange,
        limits: AttemptLimits,
        route: Route,
        post: Callable[[Event], None],
        assembler: Assembler | None = None,
        splice: Splice | ResponsesSplice | None = None,
        without_ids: Callable[[], Exchange] | None = None,
    ) -> None:
        self.attempt_id = attempt_id
        self.answer = Answer()
        self.splice = splice
        self.assembler = assembler
        self._added = False
        self._stopped = False
        self._reported_handed = Handed.NOTHING
        self._address, self._exchange, self._limits = address, exchange, limits
        self._route, self._post = route, post
        self._without_ids = without_ids
        self._tokens, self._characters, self._unsaid = 0, 0, 0
        self._reported_tokens, self._reported_at, self._token_at = 0, 0.0, 0.0
        self._usage = Usage()
        self._finished = False
        self._finished_output = False
        self._paused = False
        self._led_to: str | None = None
        self._redirects = 0

    async def run(self) -> None:
        """Carry the attempt out; every failure but cancellation becomes an event."""
        reuse = ConnectionTrace()
        try:
            await self._exchange_bytes(reuse)
        except asyncio.CancelledError:
            raise
        except (aiohttp.ClientError, OSError, TimeoutError, MalformedAnswer, EventTooLong, Diverged) as error:
            self._broke(error, reuse.reused and not self.answer.status)
        except Exception:
            # A bug of ours, or of the HTTP client: the call must not hang for it until its deadline.
            self._fail(Failure(FailureKind.RESET, "an unexpected error, see the log"))
            raise

    async def _exchange_bytes(self, trace: ConnectionTrace) -> None:
        request = self._address.request(self._exchange, self.attempt_id)
        async with self._route.session.post(
            self._led_to or request.url,
            data=request.body,
            headers=request.headers,
            timeout=ClientTimeout(total=None, connect=self._limits.connect_s),
            allow_redirects=False,
            proxy=self._route.proxy,
            ssl=self._route.tls,
            trace_request_ctx=trace,
        ) as response:
            self.answer.headers = tuple(
                (name.lower(), value) for name, value in response.headers.items() if name.lower() not in _NOT_FORWARDED
            )
            self.answer.status = response.status
            with ended_with_connection(response):
                again = await self._read(response) if 200 <= response.status < 300 else await self._refused(response)
        if again:
            await self._exchange_bytes(trace)

    async def _read(self, response: aiohttp.ClientResponse) -> bool:
        limits = limits_of(response.headers)
        if limits is not None:
            self._post(EndpointLimited(self._address.endpoint.name, *astuple(limits)))
        if self._exchange.stream:
            await self._read_stream(response)
        else:
            await self._read_whole(response)
        return False

    # -- whole answers -----------------------------------------------------------------------------------------------

    async def _refused(self, response: aiohttp.ClientResponse) -> bool:
        """Only a refusal that the caller will see is read: the body of any other would delay the next attempt.

        Answers whether to ask again at once: elsewhere on that host, or without what nobody but us asked for.
        """
        led_to = redirected(response.status, str(response.url), response.headers.get("location"))
        if led_to is not None and self._redirects < MOST_REDIRECTS:
            self.answer, self._led_to, self._redirects = Answer(), led_to, self._redirects + 1
            return True
        kind = refusal_kind(response.status)
        if kind is FailureKind.CLIENT:
            self.answer.content = said = await _read_bounded(response)
            if self._without_ids is not None and ASKED.encode() in said:
                self.answer, self._exchange, self._without_ids = Answer(), self._without_ids(), None
                return True
            asked = self.assembler is not None and not self._goes_on
            if asked and response.status in _UNREADABLE and b"stream" in said:
                kind = FailureKind.UNSTREAMED
        wait = retry_after_s(response.headers, clock.wall())
        moved = ": `base_url` must name the address it redirects to" if 300 < response.status < 400 else ""
        self._fail(Failure(kind, f"HTTP {response.status}{moved}", response.status, wait))
        return False

    async def _read_whole(self, response: aiohttp.ClientResponse) -> None:
        self._take_whole(await response.read())

    def _take_whole(self, content: bytes) -> None:
        self.answer.content = content
        answer = read_answer(content)
        error = error_of(answer)
        if error is not None:
            self._fail(Failure(FailureKind.IN_BAND, error, 200))
        else:
            self._finish(usage_of(answer))

    # -- streams -----------------------------------------------------------------------------------------------------

    async def _read_stream(self, response: aiohttp.ClientResponse) -> None:
        head = b""
        if "text/event-stream" not in response.headers.get("content-type", ""):  # servers call events by any name
            head = await _first_bytes(response)
            if _begun(head)[:1] not in _EVENTS_BEGIN:
                await self._read_no_stream(response, head)
                return
        async with asyncio.timeout(None) as last_words:
            ended = await self._read_events(response, head, last_words)
        if ended:
            await self._drain(response)

    async def _read_no_stream(self, response: aiohttp.ClientResponse, head: bytes) -> None:
        if self.assembler is not None and not self._goes_on:  # a whole answer is what was wanted
            self._take_whole(head + await response.read())
        else:
            self._refuse_plain_answer(await _read_bounded(response, head))

    async def _read_events(self, response: aiohttp.ClientResponse, head: bytes, last_words: asyncio.Timeout) -> bool:
        """Read the stream, of which there is ``head``, to its end mark, which it answers; any other end of it is dealt
        with."""
        decoder, api = SseDecoder(), self._exchange.api
        pieces = response.content.iter_any() if not head else _all_of(head, response)
        async for piece in pieces:
            for event in decoder.feed(piece):
                if not event.data:
                    continue
                chunk = read_chunk(api, event.data)
                if chunk.error is not None:
                    self._fail_in_band(event.raw, chunk.error)
                    return False
                if chunk.done and chunk.event is None and not (self._tokens or self._finished_output):
                    raise MalformedAnswer("the stream ended without any output")
                full = self._take(event.raw, chunk)
                self._count(chunk)
                if full:
                    last_words.reschedule(None)
                    await self._hold()
                if self._stopped:
                    return False
                if chunk.done:
                    last_words.reschedule(None)
                    self._finish(self._usage)
                    return True
            if self._finished_output and self._alone and last_words.when() is None:
                last_words.reschedule(asyncio.get_running_loop().time() + _LAST_WORDS_S)
        if self._finished_output:
            self._finish_unmarked()
        else:
            self._fail(Failure(FailureKind.RESET, "the stream was cut before its end"))
        return False

    def _refuse_plain_answer(self, content: bytes) -> None:
        error = error_of(read_answer(content))
        kind = FailureKind.MALFORMED if error is None else FailureKind.IN_BAND
        self._fail(Failure(kind, error or "no event stream", 200))

    def _take(self, raw: bytes, chunk: Chunk) -> bool:
        """Hand on what the caller gets of an event; answers whether to wait until it has been read.

        This comes before the scheduler hears of it: whoever goes on with the answer goes on after this event.
        """
        if self.assembler is not None:
            event = chunk.event
            if event is not None and self.splice is not None:
                event = self.splice.keep(event)
                self._added = self._added or (event is not None and chunk.content)
            if event is not None:
                self.assembler.take(event)
            return False
        if self.splice is not None:
            raw = self.splice.pass_on(raw, chunk.event)
            self._added = self._added or (bool(raw) and chunk.content)
        return bool(raw) and self._emit(raw)

    def _count(self, chunk: Chunk) -> None:
        """Tokens so far; the first content and then now and again is told to the scheduler."""
        if chunk.usage is not None:
            self._usage = chunk.usage
        self._finished_output = self._finished_output or chunk.finish
        if not chunk.content:
            self._unsaid = min(self._unsaid + chunk.unsaid, _MOST_UNSAID)
            if self._tokens and self._handed is not self._reported_handed:
                self._report(clock.monotonic())
            return
        self._characters += chunk.characters
        self._tokens = max(self._tokens + 1 + self._unsaid, self._characters // _CHARACTERS_PER_TOKEN)
        self._unsaid = 0
        if self.splice is not None:
            self._tokens = self.splice.count(self._tokens)
        now = self._token_at = clock.monotonic()
        if now - self._reported_at >= _REPORT_EVERY_S or self._handed is not self._reported_handed:
            self._report(now)

    @property
    def _handed(self) -> Handed:
        """What the caller has of the answer through this attempt, or would have if it were delivered now."""
        if self.splice is None:
            return Handed.OTHER
        return self.splice.transcript.handed if self._added else Handed.NOTHING

    @property
    def _alone(self) -> bool:
        """Whether there is one choice, so that its end is that of the output."""
        return self.splice is not None or self.assembler is not None

    @property
    def _goes_on(self) -> bool:
        return self.splice is not None and self.splice.goes_on

    def _report(self, now: float, *, paused: bool = False) -> None:
        handed = self._handed
        resumed = self._paused and not paused  # the caller has caught up: whatever it took, the server is not late
        self._reported_tokens, self._reported_at, self._paused = self._tokens, now, paused
        self._reported_handed = handed
        age_s = 0.0 if paused or resumed else max(0.0, now - self._token_at)
        self._post(TokensProgressed(self.attempt_id, self._tokens, paused, handed, age_s))

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

    def stop(self) -> None:
        """Nothing more is wanted: not even what is being read at this moment."""
        self._stopped = True

    async def _drain(self, response: aiohttp.ClientResponse) -> None:
        try:
            async with asyncio.timeout(_DRAIN_S):
                await response.content.read()
        except (TimeoutError, aiohttp.ClientError, OSError):
            response.close()

    # -- ends --------------------------------------------------------------------------------------------------------

    def _broke(self, error: Exception, stale: bool) -> None:
        """The connection broke, or its bytes are no answer: the end of the attempt, if its output was not complete."""
        if self._finished_output and self._alone and isinstance(error, (aiohttp.ClientError, OSError)):
            try:
                self._finish_unmarked()
            except MalformedAnswer as malformed:
                error = malformed
            else:
                return
        self._fail(failure_of(error, stale))

    def _finish_unmarked(self) -> None:
        """The output is complete, but the connection ended before the end mark: the caller shall not miss it."""
        if self.assembler is None and self._exchange.api != "responses":
            self._emit(_END_MARK if self.splice is None else self.splice.pass_on(_END_MARK, None))
        self._finish(self._usage)

    def _finish(self, usage: Usage) -> None:
        if self.assembler is not None and self.answer.content is None:
            self.answer.content = self.assembler.body()
            others = (item for item in self.answer.headers if item[0] != "content-type")
            self.answer.headers = (*others, ("content-type", "application/json"))
        self._finished = True
        if self._exchange.stream and usage.output_tokens is None:
            usage = Usage(usage.input_tokens, self._tokens, usage.cached_input_tokens)
        self._post(AttemptFinished(self.attempt_id, usage))
        if self.answer.stream is not None:
            self.answer.stream.end()

    def _fail(self, failure: Failure) -> None:
        """Where another attempt may go on, the scheduler first hears how far this one has come."""
        if self._tokens > self._reported_tokens:
            self._report(clock.monotonic())
        if self._stopped:
            return
        self._finished = True
        self._post(AttemptFailed(self.attempt_id, failure))

    def _fail_in_band(self, raw: bytes, message: str) -> None:
        """An error event: the caller's SDK understands it, if nobody else can answer."""
        self.answer.error_event = raw
        self._fail(Failure(FailureKind.IN_BAND, message, 200))


async def _first_bytes(response: aiohttp.ClientResponse) -> bytes:
    """The body up to its first character that is not blank, and whatever came with it; empty: there is none."""
    head = b""
    async for piece in response.content.iter_any():
        head += piece
        if _begun(head):
            break
    return head


def _begun(head: bytes) -> bytes:
    """The same from that character on; empty: it has not come yet."""
    return b"" if _BYTE_ORDER_MARK.startswith(head) else head.removeprefix(_BYTE_ORDER_MARK).lstrip()


async def _all_of(head: bytes, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    yield head
    async for piece in response.content.iter_any():
        yield piece


async def _read_bounded(response: aiohttp.ClientResponse, head: bytes = b"") -> bytes:
    """The body, to its end or to `_MOST_ERROR_BYTES`; ``head``: what was read of it before."""
    pieces, size = [head], len(head)
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size >= _MOST_ERROR_BYTES:
            break
    return b"".join(pieces)[:_MOST_ERROR_BYTES]
