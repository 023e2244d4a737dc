"""A decorated run puts the announced adapters in by itself, and `uninstrument` takes them out."""

import logging
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

import agentsched as ags
from agentsched.intercept import adapters
from agentsched.workflow.steps import current_step

_OURS = EntryPoint("langgraph", "agentsched_langgraph:install", adapters.GROUP)


@pytest.fixture
def announce(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def announce(*points: EntryPoint) -> None:
        monkeypatch.setattr(adapters, "entry_points", lambda group: points if group == adapters.GROUP else ())

    ags.uninstrument()
    monkeypatch.setattr(adapters, "_found", None)
    yield announce
    ags.uninstrument()


def step_in_a_graph(state_type: type) -> str | None:
    from langgraph.graph import START, StateGraph

    graph = StateGraph(state_type)
    graph.add_node("plan", lambda state: {"seen": [("plan", current_step(None))]})
    graph.add_edge(START, "plan")
    return graph.compile().invoke({"seen": []})["seen"][0][1]


def test_a_run_installs_what_is_announced(announce: Callable[..., None], state_type: type) -> None:
    announce(_OURS)

    @ags.workflow
    def run() -> str | None:
        return step_in_a_graph(state_type)

    assert step_in_a_graph(state_type) is None
    assert [run(), run()] == ["plan", "plan"]
    ags.uninstrument()
    assert step_in_a_graph(state_type) is None


def test_each_adapter_goes_in_once(announce: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def install() -> Callable[[], None]:
        calls.append("in")
        return lambda: calls.append("out")

    monkeypatch.setitem(__import__("sys").modules, "a_framework_adapter", SimpleNamespace(install=install))
    announce(EntryPoint("one", "a_framework_adapter:install", adapters.GROUP))
    ags.instrument()
    adapters.install_adapters()
    assert calls == ["in"]
    ags.uninstrument()
    adapters.uninstall_adapters()
    assert calls == ["in", "out"]


def test_an_adapter_that_cannot_be_loaded_is_left_out_with_one_warning(
    announce: Callable[..., None], state_type: type, caplog: pytest.LogCaptureFixture
) -> None:
    announce(EntryPoint("gone", "no_such_package:install", adapters.GROUP), _OURS)
    with caplog.at_level(logging.WARNING, "agentsched"):
        ags.instrument()
        adapters.install_adapters()
    assert step_in_a_graph(state_type) == "plan"
    assert [record.getMessage()[:20] for record in caplog.records] == ["the adapter 'gone' ("]
