"""One event loop's share of the work: its connections, its running attempts, its timers."""

import asyncio
import contextvars
import functools
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from urllib.request import getproxies, proxy_bypass

import aiohttp
from asyncio_throttle.throttler import Throttler
from yarl import URL

from agentsched import clock
from agentsched.core.call import FailureKind, ModelCall, Way
from agentsched.core.endpoint import Endpoint
from agentsched.dispatch.attempt import LiveAttempt
from agentsched.dispatch.body import AsyncReader, AsyncStream, Reader, Stream
from agentsched.dispatch.connections import Route, open_session
from agentsched.dispatch.failing import error_for
from agentsched.endpoints.continuation import Transcript, cap_of, continued
from agentsched.endpoints.dialects import hinted
from agentsched.endpoints.exchange import Exchange, Reply
from agentsched.endpoints.request import Address
from agentsched.endpoints.splice import Splice
from agentsched.endpoints.splice_responses import ResponsesSplice, ResponsesTranscript
from agentsched.endpoints.token_ids import TokenIds, asking_for_ids, asks_for_ids
from agentsched.endpoints.upgrade import Assembler, as_stream
from agentsched.scheduler.actions import Action, Cancel, Deliver, Fail, ReviewAt, Start
from agentsched.scheduler.events import CallCancelled, Event, ReviewDue

__all__ = ["Lane", "Pending"]

_WINDOW_S = 60.0
_CLAMP_NOTICED_S = 0.001


class Pending:
    """A call somebody waits for: who asked, in which lane it is worked on, and how it is answered."""

    __slots__ = ("_future", "attempts", "call", "exchange", "lane", "source", "sources", "stream", "sync", "timer")

    def __init__(
        self,
        call: ModelCall,
        exchange: Exchange,
        lane: "Lane",
        future: "asyncio.Future[Reply] | Future[Reply]",
        *,
        sync: bool,
    ) -> None:
        self.call, self.exchange, self.lane, self.sync = call, exchange, lane, sync
        self._future: asyncio.Future[Reply] | Future[Reply] | None = future
        self.attempts: dict[str, tuple[LiveAttempt, asyncio.Task[None]]] = {}
        self.stream: AsyncStream | Stream | None = None
        self.source: LiveAttempt | None = None
        """The attempt whose answer is delivered, also after its end."""
        self.sources: dict[str, LiveAttempt] = {}
        """Attempts that another one may have to go on with, also after their end."""
        self.timer: asyncio.TimerHandle | None = None

    def answer(self, reply: Reply | BaseException) -> None:
        """Let the caller go on. The future is let go too: it would keep a reader alive that the caller forgot."""
        future, self._future = self._future, None
        if future is None or future.done():
            return
        if isinstance(reply, BaseException):
            future.set_exception(reply)
        else:
            future.set_result(reply)


class Lane:
    """Performs actions in one event loop. Everything but `push` and `wake` runs in that loop.

    Args:
        loop: the loop.
        endpoints: name -> endpoint.
        post: takes events; callable from any thread.
        credentials: as from `credentials_of`, of those endpoints.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        endpoints: Mapping[str, Endpoint],
        post: Callable[[Event], None],
        credentials: Mapping[str, ssl.SSLContext],
    ) -> None:
        self.loop = loop
        self._thread = 0
        self.clamped = 0
        self.closed = False
        self._post = post
        self._credentials = credentials
        self._addresses = {name: Address(endpoint) for name, endpoint in endpoints.items()}
        self._proxies = {name: _proxy_for(endpoint.base_url) for name, endpoint in endpoints.items()}
        self._throttles = {
            name: Throttler(rate_limit=max(1, int(endpoint.rpm)), period=_WINDOW_S)
            for name, endpoint in endpoints.items()
            if endpoint.rpm is not None
        }
        self._refuses_ids: set[str] = set()
        self._whole_tokens: defaultdict[str, set[int]] = defaultdict(set)
        self._inbox: deque[tuple[Pending, Action]] = deque()
        self._draining = False
        self._session: aiohttp.ClientSession | None = None
        self._guard: AsyncGenerator[None, None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._context = contextvars.Context()

    # -- life --------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the connections. They are closed with the loop's async generators, which `asyncio.run` always does."""
        self._thread = threading.get_ident()
        if self._session is None:
            self._session = open_session(self.loop)
            self._guard = self._close_with_loop()
            await anext(self._guard)

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        """Cancel what runs and close the connections."""
        self.closed = True
        for task in tuple(self._tasks):
            task.cancel()
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def close_soon(self, idle: Callable[[], bool]) -> None:
        """Close the connections from the loop, if it runs and ``idle`` says then that no call needs them; the next call
        opens another lane. Callable from any thread."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._close_if, idle)

    def _close_if(self, idle: Callable[[], bool]) -> None:
        if not self.closed and idle():
            self.closed = True
            self._closing = self.loop.create_task(self.close(), context=self._context)

    @property
    def dead(self) -> bool:
        """Whether nothing can be done here any more."""
        return self.closed or self.loop.is_closed()

    # -- actions in --------------------------------------------------------------------------------------------------

    def push(self, pending: Pending, action: Action) -> None:
        """Take one action, in the order of `handle`; called under the scheduler's lock, does nothing else."""
        self._inbox.append((pending, action))

    def wake(self, here: asyncio.AbstractEventLoop | None) -> None:
        """Perform what was pushed: at once if ``here`` is this lane's loop, else soon, in it."""
        if self._runs(here):
            self._drain()
        else:
            try:
                self.loop.call_soon_threadsafe(self._drain)
            except RuntimeError:
                self.closed = True

    def _runs(self, here: asyncio.AbstractEventLoop | None) -> bool:
        """Whether the caller is this lane's loop. Of gevent's threads all but one only seem to be."""
        return here is self.loop and threading.get_ident() == self._thread

    def _drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        try:
            while self._inbox:
                pending, action = self._inbox.popleft()
                self._perform(pending, action)
        finally:
            self._draining = False

    def _perform(self, pending: Pending, action: Action) -> None:
        match action:
            case Start():
                self._start(pending, action)
            case ReviewAt():
                self._review_at(pending, action)
            case Deliver():
                self._deliver(pending, action)
            case Cancel():
                self._cancel(pending, action)
            case Fail():
                self._fail(pending, action)

    def _start(self, pending: Pending, action: Start) -> None:
        assert self._session is not None, "a lane is opened before its first call"
        address = self._addresses[action.endpoint]
        ids = self._asks_for_ids(pending, action, address.endpoint)
        attempt = LiveAttempt(
            action.attempt_id,
            address,
            self._asked(pending, action, address.endpoint, ids=ids),
            action.limits,
            Route(self._session, self._proxies[action.endpoint], self._credentials.get(action.endpoint, True)),
            self._post,
            _assembler(pending, action),
            _splice(pending, action, self._ids(pending, address.endpoint)),
            functools.partial(self._asked_without_ids, pending, action, address.endpoint) if ids else None,
        )
        if action.resumable:
            pending.sources[action.attempt_id] = attempt
        throttle = self._throttles.get(action.endpoint)
        work = attempt.run() if throttle is None else self._run_clamped(throttle, attempt)
        task = self.loop.create_task(work, name=action.attempt_id, context=self._context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        pending.attempts[action.attempt_id] = (attempt, task)

    def _ids(self, pending: Pending, endpoint: Endpoint) -> TokenIds | None:
        """What takes the ids of an answer by this endpoint; None: they are of no use."""
        if Way.TOKENS not in pending.call.continuable or not endpoint.takes_token_ids:
            return None
        return TokenIds.of(pending.exchange.body, self._whole_tokens[endpoint.model])

    def _asks_for_ids(self, pending: Pending, action: Start, endpoint: Endpoint) -> bool:
        """Whether the endpoint is asked for token ids that the caller does not want to see."""
        useful = action.resumable and Way.TOKENS in pending.call.continuable and endpoint.takes_token_ids
        return useful and not asks_for_ids(pending.exchange.body) and endpoint.name not in self._refuses_ids

    def _asked(self, pending: Pending, action: Start, endpoint: Endpoint, *, ids: bool) -> Exchange:
        """What this endpoint is asked: what the caller asked, as a stream, or from where the text so far ends."""
        exchange, before = pending.exchange, _transcript(pending, action)
        asked = as_stream(exchange) if action.stream and not exchange.stream else exchange
        if ids:
            asked = asking_for_ids(asked)
        if action.way is not None and isinstance(before, Transcript):  # a response is only ever replayed
            asked = continued(asked, action.way, endpoint.continues_by, before)
        return hinted(asked, pending.call, endpoint, clock.monotonic())

    def _asked_without_ids(self, pending: Pending, action: Start, endpoint: Endpoint) -> Exchange:
        """The same for an endpoint that has refused to be asked for ids, which it is not from now on."""
        self._refuses_ids.add(endpoint.name)
        return self._asked(pending, action, endpoint, ids=False)

    async def _run_clamped(self, throttle: Throttler, attempt: LiveAttempt) -> None:
        """The safety clamp: never more requests a minute than declared, even if the scheduler's books were wrong."""
        before = clock.monotonic()
        async with throttle:
            if clock.monotonic() - before > _CLAMP_NOTICED_S:
                self.clamped += 1
            await attempt.run()

    def _review_at(self, pending: Pending, action: ReviewAt) -> None:
        if pending.timer is not None:
            pending.timer.cancel()
        delay = action.at - clock.monotonic()
        pending.timer = self.loop.call_later(max(0.0, delay), self._review, pending)

    def _review(self, pending: Pending) -> None:
        # Once around the loop first: what has arrived by now is read before anybody is called silent.
        pending.timer = self.loop.call_later(0.0, self._review_now, pending)

    def _review_now(self, pending: Pending) -> None:
        pending.timer = None
        for attempt, _ in tuple(pending.attempts.values()):
            attempt.flush()
        self._post(ReviewDue(pending.call.call_id))

    def _deliver(self, pending: Pending, action: Deliver) -> None:
        attempt, _ = pending.attempts[action.attempt_id]
        answer, pending.source = attempt.answer, attempt
        if pending.stream is not None:
            attempt.deliver_to(pending.stream)
            return
        content, reader = answer.content, None
        if pending.exchange.stream:
            content, reader = None, self._open_stream(pending, attempt)
        pending.answer(Reply(answer.status, answer.headers, content, reader, action.endpoint))

    def _open_stream(self, pending: Pending, attempt: LiveAttempt) -> AsyncReader | Reader:
        loop, post, event = self.loop, self._post, CallCancelled(pending.call.call_id)

        def on_close() -> None:
            # Runs in any thread, even inside the garbage collector: it must not take the scheduler's lock itself.
            if not loop.is_closed():
                loop.call_soon_threadsafe(post, event)

        if pending.sync:
            stream = pending.stream = Stream(loop)
            attempt.deliver_to(stream)
            return Reader(stream, on_close)
        stream_ = pending.stream = AsyncStream()
        attempt.deliver_to(stream_)
        return AsyncReader(stream_, on_close)

    def _cancel(self, pending: Pending, action: Cancel) -> None:
        held = pending.attempts.pop(action.attempt_id, None)
        if held is not None:
            held[0].stop()
            held[1].cancel()

    def _fail(self, pending: Pending, action: Fail) -> None:
        if action.passthrough is not None:
            answer = pending.attempts[action.passthrough][0].answer
            content = answer.content or b""
            pending.answer(Reply(answer.status, answer.headers, content, None, action.endpoint or ""))
            return
        error = error_for(pending.call, action)
        if pending.stream is not None:
            told = None if pending.source is None else pending.source.answer.error_event
            if told is not None and action.failure.kind is FailureKind.IN_BAND:
                pending.stream.push(told)  # the server's own words, which the caller's SDK understands
                pending.stream.end()
            else:
                pending.stream.end(error)
        else:
            pending.answer(error)

    def retire(self, pending: Pending, here: asyncio.AbstractEventLoop | None) -> None:
        """The call is over: its timer must not fire. Callable from any thread."""
        if self._runs(here):
            self._disarm(pending)
        elif not self.dead:
            self.loop.call_soon_threadsafe(self._disarm, pending)

    @staticmethod
    def _disarm(pending: Pending) -> None:
        if pending.timer is not None:
            pending.timer.cancel()
            pending.timer = None


def _source(pending: Pending, action: Start) -> LiveAttempt | None:
    """The attempt with whose answer this one goes on; None: it begins."""
    return None if action.way is None or action.after is None else pending.sources.get(action.after)


def _transcript(pending: Pending, action: Start) -> Transcript | ResponsesTranscript | None:
    source = _source(pending, action)
    return None if source is None or source.splice is None else source.splice.transcript


def _assembler(pending: Pending, action: Start) -> Assembler | None:
    """What puts a whole answer together that is asked for as a stream; None: what comes is what was asked for."""
    if not action.stream or pending.exchange.stream:
        return None
    source = _source(pending, action)
    held = None if source is None else source.assembler
    return Assembler(pending.exchange.api) if held is None else held.copy()


def _splice(pending: Pending, action: Start, ids: TokenIds | None) -> Splice | ResponsesSplice | None:
    """What keeps track of what comes; None: the call could not be gone on with anyway."""
    if not action.resumable:
        return None
    before = _transcript(pending, action)
    if pending.exchange.api == "responses":
        return ResponsesSplice(before if isinstance(before, ResponsesTranscript) else None)
    begun = before if isinstance(before, Transcript) else None
    known_tokens = 0 if begun is None else begun.tokens
    cap = cap_of(pending.exchange.body, pending.call.max_tokens, action.way, known_tokens)
    return Splice(action.way, begun, limit_tokens=cap, ids=ids)


def _proxy_for(base_url: str) -> str | None:
    """The proxy that the environment names for this address (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY)."""
    url = URL(base_url)
    if url.host is None or proxy_bypass(url.host):
        return None
    proxies = getproxies()
    return proxies.get(url.scheme) or proxies.get("all")
