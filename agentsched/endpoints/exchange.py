"""What a caller's HTTP request asked, and what it is answered: the shape between intercept and dispatch."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["APIS", "AsyncBody", "Body", "Exchange", "Reply"]

APIS = ("chat/completions", "completions", "responses")
"""The request paths, after the base URL, that are model calls."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One model request as the caller made it.

    Attributes:
        api: one of `APIS`.
        body: the parsed JSON object; not to be changed.
        raw: the same as bytes, sent as they are when nothing has to change.
        headers: the caller's headers that may go to any host (never credentials, cookies or organisation headers).
        stream: whether the body asks for a stream of server-sent events.
    """

    api: str
    body: Mapping[str, Any]
    raw: bytes
    headers: tuple[tuple[str, str], ...]
    stream: bool


class AsyncBody(Protocol):
    """The bytes of an answer, in the caller's event loop. Closing it early cancels the upstream request."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks as they come; raises the errors of agentsched.errors."""

    async def aclose(self) -> None:
        """Want no more; idempotent."""


class Body(Protocol):
    """The bytes of an answer for a caller without an event loop. Closing it early cancels the upstream request."""

    def __iter__(self) -> Iterator[bytes]:
        """Chunks as they come; raises the errors of agentsched.errors."""

    def close(self) -> None:
        """Want no more; idempotent."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The HTTP answer to hand to the caller.

    Attributes:
        status: HTTP status: 200, or the 4xx of an upstream that repeating cannot mend.
        headers: answer headers without hop-by-hop, length and encoding headers.
        content: the whole body, or None when it is streamed.
        stream: the body of a stream (`AsyncBody` from ``send``, `Body` from ``send_blocking``), else None.
        endpoint: who answered.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    content: bytes | None
    stream: AsyncBody | Body | None
    endpoint: str
