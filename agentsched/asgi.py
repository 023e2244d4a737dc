"""ASGI middleware: a request that comes from inside a run is handled inside that run's budget."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from agentsched.api import attach
from agentsched.errors import DeadlineExceeded

__all__ = ["AgentschedMiddleware"]

Message = MutableMapping[str, Any]  # the shape that the ASGI specification gives its messages and scopes
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class AgentschedMiddleware:
    """Attach every HTTP request and websocket to the run it was sent from, if any.

    The handler is cancelled when the sender's time is up: nobody waits for its answer any more. If no answer has
    begun by then, it is a 504.

    Args:
        app: the ASGI application.

    Example:
        ``app = AgentschedMiddleware(app)``, or ``app.add_middleware(AgentschedMiddleware)`` with Starlette and FastAPI.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI 3)."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        begun, run = False, None

        async def watched_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with attach(scope["headers"]) as run:
                await self.app(scope, receive, watched_send)
        except DeadlineExceeded as error:
            if begun or scope["type"] != "http" or run is None or error.run_id != run.run_id:
                raise
            await _answer_too_late(send)


async def _answer_too_late(send: Send) -> None:
    body = b"the caller's deadline has passed\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 504, "headers": headers})
    await send({"type": "http.response.body", "body": body})
