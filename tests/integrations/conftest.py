"""An emulated pool for frameworks, which reach nothing else."""

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

import agentsched as ags
from agentsched.core.records import CallEnded
from agentsched.emulator.config import EmulatedEndpoint, EmulatorConfig
from agentsched.emulator.process import PoolProcess, start_pool
from agentsched.runtime import Runtime, configure, shutdown
from agentsched.settings import load_settings

KNOWN_MODEL = "gpt-4o-mini"
"""A name that every framework knows the abilities of."""

QUIET = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_API_KEY": "k",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "OTEL_SDK_DISABLED": "true",
}
"""By which the frameworks are told to report to nobody; a call that is not caught reaches a closed port."""


@pytest.fixture(autouse=True, scope="module")
def _collected() -> Iterator[None]:
    """Clients that a framework leaves unclosed are reported in their own module, where that is ignored."""
    yield
    gc.collect()


@pytest.fixture
def adapter(request: pytest.FixtureRequest) -> Iterator[None]:
    """The adapter of the framework that the test's folder is named after, put in."""
    undo = import_module(f"agentsched_{request.path.parent.name}").install()
    yield
    undo()


@pytest.fixture(scope="session")
def known_model_pool() -> Iterator[PoolProcess]:
    """Two endpoints of one model and one of another, a hundred times as fast as real ones."""
    models = {"a": KNOWN_MODEL, "b": KNOWN_MODEL, "c": "gpt-4o"}
    endpoints = tuple(
        EmulatedEndpoint(name=name, profile="llama3-8b-h100", model=each) for name, each in models.items()
    )
    with start_pool(EmulatorConfig(endpoints=endpoints, time_scale=100)) as started:
        yield started


@pytest.fixture
def quiet(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment in which frameworks are quiet."""
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path_factory.getbasetemp()))


@pytest.fixture
def known_model_runtime(known_model_pool: PoolProcess, quiet: None) -> Iterator[Runtime]:
    """A runtime on that pool; whatever was instrumented is not so afterwards."""
    yield configure(load_settings(known_model_pool.pool_config))
    shutdown()
    ags.uninstrument()


@pytest.fixture
def steps_of() -> Callable[[ags.Run | None], Counter[str]]:
    """How many calls of a run came from each step."""

    def steps(run: ags.Run | None) -> Counter[str]:
        assert run is not None
        assert len(run.decisions) == run.calls, "a call was not scheduled"
        return Counter(decision.step for decision in run.decisions)

    return steps


@pytest.fixture
def ended_calls(known_model_runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[CallEnded]]:
    """The calls that have ended so far, by arrival: with their parents, and the seconds since those."""
    records: list[CallEnded] = []
    take = known_model_runtime._learner.take

    def taken(lesson: Any) -> None:
        if isinstance(lesson, CallEnded):
            records.append(lesson)
        take(lesson)

    monkeypatch.setattr(known_model_runtime._learner, "take", taken)
    return lambda: sorted(records, key=lambda record: record.call.call_index)
