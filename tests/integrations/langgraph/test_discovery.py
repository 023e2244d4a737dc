"""A decorated run puts the announced adapters in by itself, and `uninstrument` takes them out."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

import agentsched as ags
from agentsched.intercept import adapters
from agentsched.workflow.steps import current_step

ROOT = Path(__file__).resolve().parents[3]
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


def test_a_framework_imported_inside_the_run_is_named_as_well() -> None:
    code = (
        "import agentsched as ags, agentsched_langgraph\n"
        "from agentsched.workflow.steps import current_step\n"
        "from typing import TypedDict\n"
        "class State(TypedDict):\n    step: str\n"
        "agentsched_langgraph.install()\n"
        "@ags.workflow\n"
        "def run():\n"
        "    assert 'langgraph' not in sys.modules\n"
        "    from langgraph.graph import START, StateGraph\n"
        "    graph = StateGraph(State)\n"
        "    graph.add_node('late', lambda state: {'step': current_step(ags.current())})\n"
        "    graph.add_edge(START, 'late')\n"
        "    return graph.compile().invoke({'step': ''})['step']\n"
        "print(run())\n"
    )
    paths = [str(ROOT), str(ROOT / "integrations")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths}\n{code}"],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stdout.strip() == "late"
