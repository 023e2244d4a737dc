"""A runtime that answers from a script, and runs to be inside of."""

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import httpx2
import openai

from agentsched.core.call import ModelCall
from agentsched.core.endpoint import CAPABILITIES, Endpoint, Pool
from agentsched.endpoints.exchange import Exchange, Reply
from agentsched.errors import AgentschedError
from agentsched.settings import InterceptSettings, Settings
from agentsched.workflow.frame import Frame, enter_frame, leave_frame
from agentsched.workflow.scope import Run

CANARY = "sk-canary-1f0c"
NOWHERE = "http://127.0.0.1:9/v1"
"""A port that nothing listens on: whatever is answered did not come over the network."""

SENDS = [(m, c) for m in (httpx, httpx2) for c in ("Client", "AsyncClient")]
FAMILY = httpx2 if issubclass(openai.DefaultHttpxClient, httpx2.Client) else httpx
"""The HTTP library of the SDK that is installed."""

Answer = Reply | AgentschedError | Callable[[ModelCall, Exchange], Any]


def chat_answer(text: str = "hello", **message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def json_reply(body: Any, status: int = 200, **headers: str) -> Reply:
    named = {"content-type": "application/json", **{name.replace("_", "-"): v for name, v in headers.items()}}
    return Reply(status, tuple(named.items()), json.dumps(body).encode(), None, "one")


def sse(*events: Any, done: bool = True) -> list[bytes]:
    chunks = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    return [*chunks, b"data: [DONE]\n\n"] if done else chunks


def chat_chunks(*words: str) -> list[bytes]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    return sse(*(chunk({"role": "assistant", "content": word}) for word in words), chunk({}, "stop"))


class FakeBody:
    """A streamed body, for callers with a loop and for those without."""

    def __init__(self, items: list[bytes | Exception], wait: threading.Event | None = None) -> None:
        self._items = iter(items)
        self.closed = 0

    def _next(self) -> bytes:
        item = next(self._items)
        if isinstance(item, Exception):
            raise item
        return item


class FakeSyncBody(FakeBody):
    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._next()

    def close(self) -> None:
        self.closed += 1


class FakeAsyncBody(FakeBody):
    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return self._next()
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self.closed += 1


class FakeDispatcher:
    """Answers every call with ``answer`` and notes what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = json_reply(chat_answer())
        self.calls: list[ModelCall] = []
        self.exchanges: list[Exchange] = []
        self.threads: list[int] = []
        self.bodies: list[Any] = []

    def stream(self, *items: bytes | Exception) -> None:
        """Answer with a streamed body."""

        def answer(call: ModelCall, exchange: Exchange) -> Reply:
            del call, exchange
            return Reply(200, (("content-type", "text/event-stream"),), None, self.bodies[-1], "one")

        self.answer, self._items = answer, list(items)

    def _take(self, call: ModelCall, exchange: Exchange, kind: type[FakeBody]) -> Any:
        self.calls.append(call)
        self.exchanges.append(exchange)
        self.threads.append(threading.get_ident())
        self.bodies.append(kind(getattr(self, "_items", [])))
        return self.answer(call, exchange) if callable(self.answer) else self.answer

    async def send(self, call: ModelCall, exchange: Exchange) -> Reply:
        answer = self._take(call, exchange, FakeAsyncBody)
        if hasattr(answer, "__await__"):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def send_blocking(self, call: ModelCall, exchange: Exchange) -> Reply:
        answer = self._take(call, exchange, FakeSyncBody)
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeRuntime:
    """What interception needs of a runtime."""

    def __init__(self, *models: str, custom_transports: bool = False) -> None:
        endpoints = [Endpoint(f"e-{model}", NOWHERE, model, capabilities=CAPABILITIES) for model in models]
        self.settings = Settings(Pool(endpoints), intercept=InterceptSettings(custom_transports=custom_transports))
        self.dispatcher = FakeDispatcher()
        self.ended: list[str] = []

    def start_run(self, run: Run) -> None: ...

    def end_run(self, run: Run, outcome: str) -> None:
        self.ended.append(outcome)

    def emit(self, record: object) -> None: ...


@contextmanager
def inside(run: Run) -> Iterator[Run]:
    token = enter_frame(Frame(run=run))
    try:
        yield run
    finally:
        leave_frame(token)
