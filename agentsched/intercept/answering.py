"""A reply of dispatch as the HTTP response that the caller's library would have returned."""

import json
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn

from agentsched.clock import monotonic
from agentsched.endpoints.exchange import AsyncBody, Body, Reply
from agentsched.errors import AgentschedError
from agentsched.intercept.family import Family, as_stream

if TYPE_CHECKING:
    import httpx2

__all__ = ["Watcher", "refusal", "respond"]

_SHOULD_RETRY = "x-should-retry"
_JSON, _EVENTS = "application/json", "text/event-stream"


class Watcher:
    """What happens beside the reading of an answer.

    Args:
        translate: raises an error of dispatch in the caller's shape.
        ended: called once, when the answer has been read, or is wanted no more; says whether any of it was read.
        read: sees every chunk before the caller; None: nobody looks.
    """

    __slots__ = ("ended", "read", "started_at", "translate")

    def __init__(
        self,
        *,
        translate: Callable[[AgentschedError], NoReturn],
        ended: Callable[[bool], None],
        read: Callable[[bytes], None] | None = None,
    ) -> None:
        self.translate, self.ended, self.read = translate, ended, read
        self.started_at = monotonic()


def respond(
    family: Family,
    client: "httpx2.Client | httpx2.AsyncClient",
    request: "httpx2.Request",
    reply: Reply,
    watcher: Watcher,
    *,
    stream: bool,
) -> "httpx2.Response":
    """Build the response to ``request``.

    Args:
        family: the library of ``client``.
        client: whose ``default_encoding`` holds.
        request: what it sent; the response refers to it.
        reply: what dispatch answered. Its answers other than 2xx go out with ``x-should-retry: false``.
        watcher: told of a streamed reply's end, or at once of a whole one's.
        stream: whether the caller reads the body itself (``send(stream=True)``).
    """
    headers = _headers(reply)
    if reply.content is None:
        assert reply.stream is not None, "a reply has content or a stream"
        return _streamed(family, client, request, reply, headers, watcher)
    if watcher.read is not None:
        watcher.read(reply.content)
    headers.append(("content-length", str(len(reply.content))))
    response = _response(family, client, request, reply, headers, family.byte_stream(reply.content))
    response.elapsed = timedelta(seconds=monotonic() - watcher.started_at)
    if not stream and family.assigns_content:
        response.__dict__["_content"] = reply.content
        response.__dict__["_num_bytes_downloaded"] = len(reply.content)
        response.is_closed = response.is_stream_consumed = True
    watcher.ended(True)
    return response


def refusal(family: Family, request: "httpx2.Request", error: AgentschedError, *, late: bool) -> "httpx2.Response":
    """An error as an answer, for an SDK that would try again after any exception; it obeys ``x-should-retry``."""
    status = HTTPStatus.GATEWAY_TIMEOUT if late else HTTPStatus.SERVICE_UNAVAILABLE
    body = {"error": {"message": str(error), "type": type(error).__name__, "param": None, "code": None}}
    headers = {"content-type": _JSON, _SHOULD_RETRY: "false"}
    response = family.response(status, headers=headers, content=json.dumps(body).encode(), request=request)
    response.elapsed = timedelta(0)
    return response


def _headers(reply: Reply) -> list[tuple[str, str]]:
    headers = list(reply.headers)
    if not 200 <= reply.status < 300:
        headers = [item for item in headers if item[0].lower() != _SHOULD_RETRY]
        headers.append((_SHOULD_RETRY, "false"))
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("content-type", _EVENTS if reply.content is None else _JSON))
    return headers


def _response(
    family: Family,
    client: "httpx2.Client | httpx2.AsyncClient",
    request: "httpx2.Request",
    reply: Reply,
    headers: list[tuple[str, str]],
    stream: "httpx2.SyncByteStream | httpx2.AsyncByteStream",
) -> "httpx2.Response":
    return family.response(
        reply.status,
        headers=[(name.encode(), value.encode(errors="surrogateescape")) for name, value in headers],
        stream=stream,
        request=request,
        extensions={"http_version": b"HTTP/1.1", "agentsched_endpoint": reply.endpoint},
        default_encoding=getattr(client, "_default_encoding", "utf-8"),
    )


def _streamed(
    family: Family,
    client: "httpx2.Client | httpx2.AsyncClient",
    request: "httpx2.Request",
    reply: Reply,
    headers: list[tuple[str, str]],
    watcher: Watcher,
) -> "httpx2.Response":
    kind = as_stream(family, _AsyncAnswer if hasattr(reply.stream, "aclose") else _SyncAnswer)
    stream = kind(reply.stream, watcher)
    response = _response(family, client, request, reply, headers, stream)
    stream.response = weakref.ref(response)
    return response


class _Answer:
    """What both kinds of streamed body share: who watches, and what happens at the end.

    The response is referred to weakly: without a cycle, an answer that nobody closes ends as soon as it is forgotten.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._read = watcher.read
        self._any = False
        self._over = False
        self.response: weakref.ref[httpx2.Response] | None = None

    def _saw(self, chunk: bytes) -> bytes:
        self._any = True
        if self._read is not None:
            self._read(chunk)
        return chunk

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        response = self.response() if self.response is not None else None
        if response is not None:
            response.elapsed = timedelta(seconds=monotonic() - self._watcher.started_at)
        self._watcher.ended(self._any)


class _AsyncAnswer(_Answer):
    def __init__(self, body: AsyncBody, watcher: Watcher) -> None:
        super().__init__(watcher)
        self._body = body
        self._chunks = aiter(body)

    def __aiter__(self) -> AsyncIterator[bytes]:
        # Itself, so that a second iteration goes on where the first stopped: the SDK drains a stream that way.
        return self

    async def __anext__(self) -> bytes:
        failure: AgentschedError
        try:
            return self._saw(await anext(self._chunks))
        except AgentschedError as error:
            failure = error
        except StopAsyncIteration:
            self._finish()
            raise
        try:
            self._watcher.translate(failure)
        finally:
            self._finish()

    async def aclose(self) -> None:
        self._finish()
        await self._body.aclose()

    def __del__(self) -> None:
        # The body, forgotten with this, cancels by itself; here there may be no loop to await its closing in.
        self._finish()


class _SyncAnswer(_Answer):
    def __init__(self, body: Body, watcher: Watcher) -> None:
        super().__init__(watcher)
        self._body = body
        self._chunks = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        failure: AgentschedError
        try:
            return self._saw(next(self._chunks))
        except AgentschedError as error:
            failure = error
        except StopIteration:
            self._finish()
            raise
        try:
            self._watcher.translate(failure)
        finally:
            self._finish()

    def close(self) -> None:
        self._finish()
        self._body.close()

    def __del__(self) -> None:
        self.close()
