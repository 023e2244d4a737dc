"""An HTTP server on the loopback that misbehaves as it is told."""

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.intercept.fakes import chat_answer


class Upstream:
    """A server on the loopback whose connections are handled by ``script(connection, request)``."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.requests: list[bytes] = []
        self.script: Callable[[socket.socket, bytes], None] = ok()
        self.over = threading.Event()


def head(*extra: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"content-type: {kind}", *extra, "", ""]).encode()


def ok(body: Any = None, status: str = "200 OK", *extra: str) -> Callable[[socket.socket, bytes], None]:
    content = json.dumps(chat_answer() if body is None else body).encode()

    def script(connection: socket.socket, request: bytes) -> None:
        connection.sendall(head(f"content-length: {len(content)}", *extra, status=status) + content)

    return script


@contextmanager
def serving() -> Iterator[Upstream]:
    """An `Upstream` while the block lasts."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while (request := _read_request(self.request)) is not None:
                served.requests.append(request)
                with suppress(OSError):
                    served.script(self.request, request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, allow_reuse_address = True, True

    with Server(("127.0.0.1", 0), Handler) as server:
        served = Upstream(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.over.set()
        server.shutdown()
        thread.join()


def _read_request(connection: socket.socket) -> bytes | None:
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            part = connection.recv(65536)
        except OSError:
            return None
        if not part:
            return None
        data += part
    header, _, rest = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in header.lower():
        while not rest.endswith(b"0\r\n\r\n"):
            rest += connection.recv(65536)
        return header + b"\r\n\r\n" + rest
    lengths = [line for line in header.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].split(b":")[1]) if lengths else 0
    while len(rest) < length:
        rest += connection.recv(65536)
    return header + b"\r\n\r\n" + rest
