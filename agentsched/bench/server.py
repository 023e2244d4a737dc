"""The fastest OpenAI-compatible server that is still one: every answer is made before the first request comes.

It runs in a process of its own, so that its work is not counted as the client's. Run as a module it reads its
`Plan` as JSON from standard input, prints its ports, and ends with its standard input.
"""

import asyncio
import json
import select
import subprocess
import sys
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from agentsched.errors import ConfigError

__all__ = ["LocalServer", "Plan", "answer_text"]

_READY_WITHIN_S = 20.0
_STOP_WITHIN_S = 5.0
_CREATED = 1_700_000_000
_FINGERPRINT = "fp_bench"
_TELLING_HEADERS = (
    b"openai-processing-ms: 12\r\nopenai-version: 2020-10-01\r\n"
    b"x-ratelimit-limit-requests: 10000\r\nx-ratelimit-limit-tokens: 2000000\r\n"
    b"x-ratelimit-remaining-requests: 9999\r\nx-ratelimit-remaining-tokens: 1999000\r\n"
    b"x-ratelimit-reset-requests: 6ms\r\nx-ratelimit-reset-tokens: 30ms\r\n"
    b"x-request-id: req_bench\r\nconnection: keep-alive\r\n"
)
"""What hosted APIs send along: clients read, copy and parse it, so a bench without it would be too kind to them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the server is to do.

    Attributes:
        model: the model name in its answers.
        ports: how many ports it listens on, as if it were as many endpoints.
        chunks: content chunks of a stream, one token each; a whole answer holds the same text.
        gap_s: seconds between two chunks.
    """

    model: str
    ports: int
    chunks: int
    gap_s: float


def answer_text(chunks: int) -> str:
    """The text of every answer."""
    return "".join(_tokens(chunks))


def _tokens(chunks: int) -> list[str]:
    return [f"word{index % 10} " for index in range(chunks)]


class _Answers:
    """All the bytes that are ever sent, and how many requests they answered."""

    def __init__(self, plan: Plan) -> None:
        self.gap_s = plan.gap_s
        self.served = 0
        usage = {
            "prompt_tokens": 2000,
            "completion_tokens": plan.chunks,
            "total_tokens": 2000 + plan.chunks,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }
        head = {
            "id": "chatcmpl-bench",
            "created": _CREATED,
            "model": plan.model,
            "service_tier": "default",
            "system_fingerprint": _FINGERPRINT,
        }
        message: dict[str, Any] = {
            "role": "assistant",
            "content": answer_text(plan.chunks),
            "refusal": None,
            "annotations": [],
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        self.whole = _response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        self.stream_head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n"
            + _TELLING_HEADERS
            + b"\r\n"
        )

        def chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
            choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
            return _event({**head, "object": "chat.completion.chunk", "choices": choices, **more})

        words = [chunk({"content": token}) for token in _tokens(plan.chunks)]
        words[0] = chunk({"role": "assistant", "content": ""}) + words[0]
        last = chunk({}, "stop")
        counted = last + _event({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        done = b"data: [DONE]\n\n"
        self.stream = [*(_frame(word) for word in words), _frame(last + done) + b"0\r\n\r\n"]
        self.counted_stream = [*self.stream[:-1], _frame(counted + done) + b"0\r\n\r\n"]


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


def _frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _response(body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(content)
    return head + _TELLING_HEADERS + b"\r\n" + content


class _Connection(asyncio.Protocol):
    """One kept-alive connection; requests on it come one after the other."""

    def __init__(self, answers: _Answers) -> None:
        self._answers = answers
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        head = self._received[:end].lower()
        size = 0
        if b"content-length:" in head:
            size = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self._received) >= end + size:
            body, self._received = self._received[end : end + size], self._received[end + size :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        if head.startswith(b"get"):
            self._transport.write(_response({"served": self._answers.served}))
            return
        self._answers.served += 1
        compact = body.replace(b'": ', b'":')
        if b'"stream":true' not in compact:
            self._transport.write(self._answers.whole)
            return
        self._transport.write(self._answers.stream_head)
        counted = b'"include_usage":true' in compact
        self._send(self._answers.counted_stream if counted else self._answers.stream, 0)

    def _send(self, chunks: list[bytes], index: int) -> None:
        transport, loop = self._transport, asyncio.get_running_loop()
        assert transport is not None
        transport.write(chunks[index])
        if index + 1 < len(chunks) and not transport.is_closing():
            self._timer = loop.call_later(self._answers.gap_s, self._send, chunks, index + 1)


class LocalServer:
    """The server as a child process; a context manager that stops it.

    Attributes:
        urls: one base URL per port.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.urls: tuple[str, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "LocalServer":
        command = [sys.executable, "-m", "agentsched.bench.server"]
        process = self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asdict(self.plan)).encode() + b"\n")
        process.stdin.flush()
        readable, _, _ = select.select((process.stdout,), (), (), _READY_WITHIN_S)
        line = process.stdout.readline() if readable else b""
        if not line:
            self.__exit__(None, None, None)
            raise ConfigError(f"the bench's local server did not start within {_READY_WITHIN_S:g} s")
        self.urls = tuple(f"http://127.0.0.1:{port}/v1" for port in json.loads(line))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _serve(plan: Plan) -> None:
    loop, stop, answers = asyncio.get_running_loop(), asyncio.Event(), _Answers(plan)
    servers = [
        await loop.create_server(lambda: _Connection(answers), "127.0.0.1", 0, backlog=512) for _ in range(plan.ports)
    ]
    sys.stdout.write(json.dumps([server.sockets[0].getsockname()[1] for server in servers]) + "\n")
    sys.stdout.flush()
    await loop.connect_read_pipe(lambda: _UntilClosed(stop), sys.stdin.buffer)
    await stop.wait()


class _UntilClosed(asyncio.Protocol):
    """Sets an event when the parent has closed its end of the pipe, or died."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop.set()


if __name__ == "__main__":
    asyncio.run(_serve(Plan(**json.loads(sys.stdin.buffer.readline()))))
