"""The connections of one event loop to the endpoints."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple
from weakref import WeakSet

import aiohttp

from agentsched.forking import in_forked_child

__all__ = ["Route", "ended_with_connection", "open_session"]

_READ_BYTES = 256 * 1024
_HEADER_BYTES = 64 * 1024
"""As much as callers' own HTTP clients take; gateways send policies and cookies of more than aiohttp's 8 KiB."""


class Route(NamedTuple):
    """How an endpoint is reached.

    Attributes:
        session: the loop's connections.
        proxy: through whom; None: straight.
        tls: whose certificates are believed, and who this client is; True: as aiohttp sees to it.
    """

    session: aiohttp.ClientSession
    proxy: str | None
    tls: ssl.SSLContext | bool


class _Connector(aiohttp.TCPConnector):
    """Closed with its loop: who closes a loop without its async generators, as programs do, left nothing open.

    Also closed in a forked child, which must not end the parent's connections: both use one and the same poll object
    of the system, and the parent would wait forever for what the child has taken out of it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=0, limit_per_host=0, enable_cleanup_closed=False)
        self._of = loop
        self.in_parent = False

    @property
    def closed(self) -> bool:
        return super().closed or self._of.is_closed() or self.in_parent

    def __del__(self, *args: Any) -> None:
        if not self.closed:
            super().__del__(*args)


def open_session(loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
    """A session of the running loop: as many connections as are asked for, no cookies, no proxies by itself.

    The ``trace_request_ctx`` of a request, a namespace, has ``reused`` set when its connection had been used before.
    """
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    connector = _Connector(loop)
    _connectors.add(connector)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        auto_decompress=True,
        read_bufsize=_READ_BYTES,
        max_line_size=_HEADER_BYTES,
        max_field_size=_HEADER_BYTES,
        trust_env=False,
    )


@contextmanager
def ended_with_connection(response: aiohttp.ClientResponse) -> Iterator[None]:
    """While its body is read: once the connection is closed, what has not ended breaks off.

    aiohttp (3.14) closes a connection whose chunks it cannot make out, and tells nobody who waits for the next one.
    """
    connection = response.connection
    closed = None if connection is None else getattr(connection.protocol, "closed", None)
    if closed is None:
        yield
        return
    closed.remove_done_callback(_hear)  # of an answer before this one: one is enough for a connection
    closed.add_done_callback(_hear)
    closed.add_done_callback(breaks := partial(_break_off, response.content))
    try:
        yield
    finally:
        closed.remove_done_callback(breaks)


def _hear(closed: "asyncio.Future[None]") -> None:
    """Why the connection was closed is known from its answer; asyncio complains of what nobody has asked for."""
    if not closed.cancelled():
        closed.exception()


def _break_off(content: aiohttp.StreamReader, closed: object) -> None:
    if not content.is_eof() and content.exception() is None:
        content.set_exception(aiohttp.ClientPayloadError("the connection was closed"))


async def _note_reuse(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx.reused = True


_connectors: WeakSet[_Connector] = WeakSet()
_of_parent: list[_Connector] = []
"""Kept for as long as the child lives: their sockets and their loop are left alone."""


def _leave_to_parent() -> None:
    for connector in list(_connectors):
        connector.in_parent = True
        _of_parent.append(connector)
    _connectors.clear()


in_forked_child(_leave_to_parent)
