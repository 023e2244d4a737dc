"""A failing pool per test, and frameworks that reach nothing but the loopback."""

import functools
import gc
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

import agentsched as ags
from agentsched import runtime
from tests.integrations.errors.scene import Scene, write_pool
from tests.integrations.errors.upstream import Upstream

QUIET = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_API_KEY": "k",
    "OTEL_SDK_DISABLED": "true",
}
"""By which the frameworks are told, as their manuals say, to report to nobody."""


@pytest.fixture(scope="module", autouse=True)
def _quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patching:
        for name, value in QUIET.items():
            patching.setenv(name, value)
        patching.setenv("CREWAI_STORAGE_DIR", str(tmp_path_factory.mktemp("crewai")))
        # Loading the certificates anew for every client would take most of the time that these tests take.
        patching.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """Clients that the frameworks leave unclosed are reported in their own module, where that is ignored."""
    yield
    gc.collect()


@pytest.fixture
def unused_url() -> str:
    """The base URL of a port that nothing listens on, and that reads like the status of a limit."""
    return "http://127.0.0.1:429/v1"


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """The server of all tests; at the end no call that a test left behind may have come to it."""
    with Upstream() as served:
        yield served
        assert [case.number for case in served.cases if case.late] == []


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    connect, elsewhere = socket.socket.connect, []

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
            elsewhere.append(address)
            raise ConnectionRefusedError(f"{address} is not the loopback")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield
    assert elsewhere == []


@pytest.fixture
def make_scene(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Scene]]:
    """Makes scenes: ``make_scene("silent", deadline_s=0.5, pool=False)``."""
    scenes: list[Scene] = []
    counting = _count_sends(scenes)

    def make(mode: str | int, deadline_s: float = 5.0, *, pool: bool = True) -> Scene:
        case = upstream.open_case(mode)
        monkeypatch.setenv("OPENAI_BASE_URL", case.url("sdk"))
        path = write_pool(tmp_path / f"{case.number}.yaml", case) if pool else None
        scenes.append(Scene(case, path, deadline_s))
        return scenes[-1]

    yield make
    counting.undo()
    ags.uninstrument()
    runtime.shutdown()
    for scene in scenes:
        scene.case.over = True
        assert scene.pool is None or scene.case.strays == 0, "a call was not caught"
        assert scene.raised is None or len(scene.case.requests) == scene.requests, "somebody went on asking"


def _count_sends(scenes: list[Scene]) -> pytest.MonkeyPatch:
    """On top of what `agentsched.instrument` puts there, so that what it refuses at the door is counted too."""
    ags.instrument()
    patching = pytest.MonkeyPatch()

    def count(request: httpx.Request | httpx2.Request) -> None:
        scenes[-1].sends += request.url.path.endswith(("/chat/completions", "/responses"))

    for library in (httpx, httpx2):
        patching.setattr(library.Client, "send", _counting(library.Client.send, count))
        patching.setattr(library.AsyncClient, "send", _counting_async(library.AsyncClient.send, count))
    return patching


def _counting(send: Callable[..., Any], count: Callable[[Any], None]) -> Callable[..., Any]:
    def counted(self: Any, request: Any, **options: Any) -> Any:
        count(request)
        return send(self, request, **options)

    return counted


def _counting_async(send: Callable[..., Any], count: Callable[[Any], None]) -> Callable[..., Any]:
    async def counted(self: Any, request: Any, **options: Any) -> Any:
        count(request)
        return await send(self, request, **options)

    return counted
