"""Model calls that go where the caller sent them, but end with the run: TOTAL time is bounded, drips included.

Asynchronous: the call, and each wait for a chunk, is cancelled at the deadline.

Synchronous: every timeout of the request is shortened to what is left, and since those start anew with every byte, a
watchdog shuts the connection's socket down at the deadline. It learns the socket when the connection is made, or else
from the response. Not bounded, then: the resolution of a host's name; response *headers* that drip byte by byte over a
connection kept alive from an earlier call, whose socket nobody tells; an HTTP/2 connection, which others share, waits
for one more chunk or read timeout; a transport of the user's own, which can only be stopped between two chunks.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from agentsched.clock import monotonic
from agentsched.errors import CallFailed, CallTimedOut, DeadlineExceeded, EndpointsUnavailable
from agentsched.intercept.callers import reader_of
from agentsched.intercept.family import as_stream
from agentsched.intercept.sdk_retries import backoff_s, would_repeat
from agentsched.intercept.site import GRAIN_S, Site
from agentsched.intercept.watchdog import set_alarm
from agentsched.workflow.frame import detached

if TYPE_CHECKING:
    import httpx2

__all__ = ["Bounded", "pass_through", "pass_through_blocking"]

Options = dict[str, Any]
"""The keyword arguments of ``send``."""


class Bounded(NamedTuple):
    """A call that passes through.

    Attributes:
        site: where it was caught.
        at: the instant by which it must end, on the run's clock; None: unbounded.
        step: where its time is booked.
        number: which call of its run it is.
    """

    site: Site
    at: float | None
    step: str
    number: int

    def left_s(self) -> float:
        """Seconds left; infinite without a deadline."""
        return float("inf") if self.at is None else self.at - self.site.run.clock()

    def passed(self) -> bool:
        """Whether an error that comes now is the deadline's."""
        return self.left_s() <= GRAIN_S

    def spent(self) -> DeadlineExceeded:
        """The deadline error of whoever reads the body."""
        run = self.site.run
        return DeadlineExceeded(run_id=run.run_id, workflow=run.workflow, step=self.step)

    def unrepeatable(self, error: Exception) -> CallFailed | None:
        """The library's error as one that the SDK does not repeat, if its sleep before would outlive the deadline."""
        pause_s = backoff_s(self.site.request)
        if pause_s is None or pause_s < self.left_s() or not isinstance(error, self.site.family.request_error):
            return None
        text = f"{type(error).__name__}: {error} (no time is left to try again)"
        timed_out = isinstance(error, self.site.family.timeout_error)
        return CallTimedOut(text) if timed_out else EndpointsUnavailable(text)

    def settle(self, response: "httpx2.Response") -> "httpx2.Response":
        """Keep the SDK from sleeping past the deadline before it repeats the call."""
        if would_repeat(response):
            pause_s = backoff_s(self.site.request, response)
            if pause_s is not None and pause_s >= self.left_s():
                response.headers["x-should-retry"] = "false"
        return response

    def book(self) -> None:
        """The call is over, its stream is read or wanted no more: book its seconds on the step."""
        self.site.run.close_call(self.number)


async def pass_through(
    call: Bounded, original: Callable[..., Awaitable["httpx2.Response"]], options: Options
) -> "httpx2.Response":
    """Send with the library's own ``send``, as coroutine.

    Args:
        call: what to send and until when.
        original: ``AsyncClient.send`` as it was.
        options: its keyword arguments.
    """
    failure: Exception | None = None
    handed_over = False
    try:
        async with asyncio.timeout(None if call.at is None else call.left_s()) as limit:
            with detached():
                response = await original(call.site.client, call.site.request, **options)
        handed_over = bool(options.get("stream")) and call.at is not None
    except call.site.family.request_error as error:
        failure = error
    except TimeoutError as error:
        if not limit.expired():
            raise
        failure = error
    finally:
        if not handed_over:
            call.book()
    if failure is not None:
        return _outcome(call, failure, late=limit.expired())
    if handed_over:
        response.stream = as_stream(call.site.family, _AsyncBounded)(response.stream, call)
    return call.settle(response)


def pass_through_blocking(
    call: Bounded, original: Callable[..., "httpx2.Response"], options: Options
) -> "httpx2.Response":
    """The same for ``Client.send``."""
    if call.at is not None:
        return _send_watched(call, original, options)
    try:
        with detached():
            return original(call.site.client, call.site.request, **options)
    finally:
        call.book()


def _send_watched(call: Bounded, original: Callable[..., "httpx2.Response"], options: Options) -> "httpx2.Response":
    cut = _Cut(call.left_s())
    handed_over = False
    failure: Exception | None = None
    try:
        response = _send_shortened(call, cut, original, options)
        handed_over = bool(options.get("stream"))
        if not handed_over:
            _read(response)
    except (call.site.family.request_error, OSError) as error:
        failure = error
    finally:
        if not handed_over:
            cut.release()
            call.book()
    return call.settle(response) if failure is None else _outcome(call, failure, late=call.passed())


def _outcome(call: Bounded, failure: Exception, *, late: bool) -> "httpx2.Response":
    """Outside the handler of ``failure``, so that what is raised in its place has no context."""
    if late:
        return call.site.fail(call.site.late())
    last = call.unrepeatable(failure)
    if last is None:
        raise failure
    return call.site.fail(last)


def _send_shortened(
    call: Bounded, cut: "_Cut", original: Callable[..., "httpx2.Response"], options: Options
) -> "httpx2.Response":
    request = call.site.request
    before = request.extensions
    request.extensions = _shortened(before, call, cut)
    try:
        with detached():
            # Streamed, so that the socket is known before the body is read.
            response = original(call.site.client, request, **{**options, "stream": True})
    finally:
        request.extensions = before
    if response.http_version != "HTTP/2":
        cut.attach(response.extensions.get("network_stream"))
    response.stream = as_stream(call.site.family, _SyncBounded)(response.stream, call, cut)
    return response


def _shortened(extensions: "MutableMapping[str, Any]", call: Bounded, cut: "_Cut") -> dict[str, Any]:
    left_s = max(call.left_s(), 1e-3)
    timeouts = extensions.get("timeout")
    if timeouts is None:
        timeouts = call.site.client.timeout.as_dict()
    clipped = {name: left_s if value is None else min(value, left_s) for name, value in timeouts.items()}
    return {**extensions, "timeout": clipped, "trace": cut.tracer(extensions.get("trace"))}


def _read(response: "httpx2.Response") -> None:
    try:
        response.read()
    except BaseException:
        response.close()
        raise


class _Cut:
    """Shuts down, at an instant, the socket that a blocking call reads from."""

    def __init__(self, left_s: float) -> None:
        self._socket: socket.socket | None = None
        self._due = False
        self._lock = threading.Lock()
        self._alarm = set_alarm(monotonic() + left_s, self._ring)

    def attach(self, stream: Any) -> None:
        """This is the network stream (httpcore's) that the call is waiting for."""
        found = None if stream is None else stream.get_extra_info("socket")
        if not isinstance(found, socket.socket) or _is_shared(found):
            return
        with self._lock:
            self._socket = found
            if self._due:
                _shut_down(found)

    def tracer(self, user: Callable[[str, dict[str, Any]], object] | None) -> Callable[[str, dict[str, Any]], object]:
        """httpcore's ``trace`` extension: tells of each new connection. The user's own is called as well."""

        def trace(name: str, info: dict[str, Any]) -> object:
            if name.endswith(("connect_tcp.complete", "connect_unix_socket.complete", "start_tls.complete")):
                self.attach(info.get("return_value"))
            return None if user is None else user(name, info)

        return trace

    def release(self) -> None:
        """The socket is no longer this call's."""
        self._alarm.cancel()

    def _ring(self) -> None:
        with self._lock:
            self._due = True
            if self._socket is not None:
                _shut_down(self._socket)


def _is_shared(found: socket.socket) -> bool:
    return isinstance(found, ssl.SSLSocket) and found.selected_alpn_protocol() == "h2"


def _shut_down(found: socket.socket) -> None:
    # SSLSocket.shutdown would take the TLS object away from the thread that is reading with it.
    with suppress(OSError):
        socket.socket.shutdown(found, socket.SHUT_RDWR)


class _AsyncBounded:
    """A body whose every wait ends at the deadline."""

    def __init__(self, inner: Any, call: Bounded) -> None:
        self._inner, self._call = inner, call
        self._reader = reader_of(call.site.request, in_loop=True)
        self._chunks: AsyncIterator[bytes] | None = None

    @property
    def elapsed(self) -> timedelta | None:
        return getattr(self._inner, "elapsed", None)

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._chunks is None:
            self._chunks = aiter(self._inner)
        return self

    async def __anext__(self) -> bytes:
        call = self._call
        assert self._chunks is not None, "iteration starts with aiter()"
        if call.left_s() > 0:
            try:
                async with asyncio.timeout(call.left_s()) as limit:
                    return await anext(self._chunks)
            except TimeoutError:
                if not limit.expired():
                    raise
            except call.site.family.request_error:
                if not call.passed():
                    raise
        return call.site.break_off(call.spent(), self._reader)

    async def aclose(self) -> None:
        self._call.book()
        await self._inner.aclose()


class _SyncBounded:
    """The same for a thread; the socket is watched until the body is closed."""

    def __init__(self, inner: Any, call: Bounded, cut: _Cut) -> None:
        self._inner, self._call, self._cut = inner, call, cut
        self._chunks: Iterator[bytes] | None = None

    @property
    def elapsed(self) -> timedelta | None:
        return getattr(self._inner, "elapsed", None)

    def __iter__(self) -> Iterator[bytes]:
        if self._chunks is None:
            self._chunks = iter(self._inner)
        return self

    def __next__(self) -> bytes:
        call = self._call
        assert self._chunks is not None, "iteration starts with iter()"
        if call.left_s() > 0:
            try:
                return next(self._chunks)
            except (call.site.family.request_error, OSError):
                if not call.passed():
                    raise
        return call.site.break_off(call.spent())

    def close(self) -> None:
        # First: once closed, the connection may serve another request.
        self._release()
        self._inner.close()

    def _release(self) -> None:
        self._cut.release()
        self._call.book()

    def __del__(self) -> None:
        self._release()
