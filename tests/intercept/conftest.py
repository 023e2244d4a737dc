"""Every test starts instrumented and leaves no trace."""

import functools
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import openai
import pytest

from agentsched.core.slo import SLO
from agentsched.intercept import instrument, sending, uninstrument
from agentsched.workflow.scope import Run
from tests.intercept.fakes import CANARY, NOWHERE, SENDS, FakeDispatcher, FakeRuntime
from tests.intercept.upstream import Upstream, serving


@pytest.fixture(autouse=True, scope="session")
def _one_ssl_context() -> Iterator[None]:
    """Loading the certificates anew for every client would take most of the time that these tests take."""
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime("m")


@pytest.fixture
def dispatcher(runtime: FakeRuntime) -> FakeDispatcher:
    return runtime.dispatcher


@pytest.fixture
def new_run(runtime: FakeRuntime) -> Callable[..., Run]:
    """Makes runs: ``new_run(deadline="2s", runtime=None)``."""

    def make(deadline: Any = None, *, runtime: Any = runtime, **options: Any) -> Run:
        return Run("flow", SLO(deadline=deadline, **options), runtime=runtime)

    return make


@pytest.fixture(autouse=True)
def _instrumented() -> Iterator[None]:
    """Every test starts instrumented and must leave the very functions that were there."""
    uninstrument()  # a run of another room's test may have left it on
    before = [vars(getattr(module, name))["send"] for module, name in SENDS]
    instrument()
    sending._reported.clear()
    yield
    uninstrument()
    assert [vars(getattr(module, name))["send"] for module, name in SENDS] == before


@pytest.fixture
def sync_client() -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=NOWHERE, api_key=CANARY) as client:
        yield client


@pytest.fixture
async def async_client() -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=NOWHERE, api_key=CANARY) as client:
        yield client


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as served:
        yield served
