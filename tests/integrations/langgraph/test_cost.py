"""The adapter serves a framework that comes late, and costs a model call less than it may."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from langgraph.graph import START, StateGraph

from agentsched_langgraph import current_node

_ROOT = Path(__file__).resolve().parents[3]


def in_new_process(code: str) -> str:
    paths = f"import sys; sys.path[:0] = [{str(_ROOT)!r}, {str(_ROOT / 'integrations')!r}]\n"
    done = subprocess.run([sys.executable, "-c", paths + code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_framework_imported_inside_the_run_is_named_as_well() -> None:
    told = in_new_process(
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
    assert told == "late"


def test_naming_takes_less_than_twenty_microseconds_in_a_nested_graph(state_type: type) -> None:
    seconds: list[float] = []

    def measure(state: Any) -> dict[str, Any]:
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(1000):
                current_node()
            seconds.append((time.perf_counter() - began) / 1000)
        return {}

    inner = StateGraph(state_type)
    inner.add_node("inner", measure)
    inner.add_edge(START, "inner")
    outer = StateGraph(state_type)
    outer.add_node("outer", inner.compile())
    outer.add_edge(START, "outer")
    outer.compile().invoke({"seen": []})
    assert min(seconds) < 20e-6
