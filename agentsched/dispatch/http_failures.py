"""What an HTTP status, or an exception of the HTTP client, means for a call."""

import aiohttp

from agentsched.core.call import Failure, FailureKind
from agentsched.endpoints.answers import MalformedAnswer
from agentsched.endpoints.splice import Diverged
from agentsched.endpoints.sse import EventTooLong

__all__ = ["ConnectionTrace", "failure_of", "refusal_kind"]

_RETRIABLE_4XX = frozenset({408, 409, 425})


class ConnectionTrace:
    """Whether the request went over a kept-alive connection, which may have been closed under it."""

    __slots__ = ("reused",)

    def __init__(self) -> None:
        self.reused = False


def refusal_kind(status: int) -> FailureKind:
    """What a status other than 200 means."""
    if status == 429:
        return FailureKind.RATE_LIMITED
    if status >= 500 or status in _RETRIABLE_4XX:
        return FailureKind.SERVER
    return FailureKind.CLIENT if status >= 400 else FailureKind.MALFORMED


def failure_of(error: BaseException, stale: bool) -> Failure:
    """What an exception of the HTTP client means. Its text is not kept: it may hold an address with credentials.

    Args:
        error: the exception.
        stale: whether a kept-alive connection was used and nothing had come back on it.
    """
    name = type(error).__name__
    if isinstance(error, Diverged):
        return Failure(FailureKind.DIVERGED, str(error))
    if isinstance(error, (MalformedAnswer, EventTooLong)):
        return Failure(FailureKind.MALFORMED, str(error)[:200] or name)
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        detail = getattr(getattr(error, "os_error", None), "strerror", None) or name
        return Failure(FailureKind.CONNECT, detail)
    if stale and isinstance(error, (aiohttp.ServerDisconnectedError, ConnectionResetError, aiohttp.ClientOSError)):
        return Failure(FailureKind.STALE, "a kept-alive connection had been closed")
    return Failure(FailureKind.RESET, name)
