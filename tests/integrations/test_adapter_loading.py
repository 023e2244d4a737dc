"""No adapter loads its framework or anything else of others, and each leaves no trace when it is taken out.

What that costs is measured by ``agentsched bench adapters``.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]
REPLACED = {
    "agentsched_autogen": {
        ("autogen_core", "SingleThreadedAgentRuntime", "send_message"),
        ("autogen_core", "SingleThreadedAgentRuntime", "publish_message"),
        ("autogen_core", "BaseAgent", "on_message"),
        ("autogen_core", "ComponentToConfig", "dump_component"),
        ("autogen_agentchat.agents", "AssistantAgent", "__init__"),
        ("autogen_agentchat.agents", "SocietyOfMindAgent", "__init__"),
        ("autogen_agentchat.agents", "BaseChatAgent", "run"),
        ("autogen_agentchat.agents", "BaseChatAgent", "run_stream"),
        ("autogen_agentchat.teams", "BaseGroupChat", "run_stream"),
        ("autogen_agentchat.teams", "GraphFlow", "__init__"),
        ("autogen_agentchat.teams", "MagenticOneGroupChat", "__init__"),
        ("autogen_agentchat.teams", "RoundRobinGroupChat", "__init__"),
        ("autogen_agentchat.teams", "SelectorGroupChat", "__init__"),
        ("autogen_agentchat.teams", "Swarm", "__init__"),
    },
    "agentsched_crewai": {
        ("crewai", "Task", "execute_sync"),
        ("crewai", "Task", "execute_async"),
        ("crewai", "Task", "aexecute_sync"),
        ("crewai", "Agent", "execute_task"),
        ("crewai", "Agent", "aexecute_task"),
        ("crewai", "Agent", "kickoff"),
        ("crewai", "Agent", "kickoff_async"),
        ("crewai", "Agent", "interpolate_inputs"),
        ("crewai", "Crew", "kickoff"),
        ("crewai", "Crew", "akickoff"),
        ("crewai", "Flow", "kickoff_async"),
        ("crewai.types.streaming", "StreamingOutputBase", "__init__"),
        ("crewai.types.streaming", "StreamSessionBase", "__init__"),
    },
    "agentsched_langgraph": {("langgraph.pregel", "Pregel", "stream"), ("langgraph.pregel", "Pregel", "astream")},
}
"""The public methods that each adapter stands around: all that is told in its README."""

EACH = pytest.mark.parametrize("adapter", REPLACED)


def told_by_new_process(code: str) -> Any:
    paths = f"import json, sys; sys.path[:0] = [{str(_ROOT)!r}, {str(_ROOT / 'integrations')!r}]\n"
    done = subprocess.run([sys.executable, "-c", paths + code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@EACH
def test_an_install_loads_only_its_own_package_and_leaves_no_trace(adapter: str) -> None:
    loaded, before, after = told_by_new_process(
        "import agentsched.api, agentsched.runtime, agentsched.intercept\n"  # what a first run has loaded by then
        "known, before = set(sys.modules), list(map(str, sys.meta_path))\n"
        f"import {adapter}; undo = {adapter}.install()\n"
        "undo(); undo()\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - known}\n"
        "print(json.dumps([sorted(loaded), before, list(map(str, sys.meta_path))]))\n"
    )
    assert set(loaded) - sys.stdlib_module_names <= {adapter, "agentsched"}
    assert before == after


METHODS_OF_AN_INSTALL = """
from importlib import import_module
from agentsched.workflow import steps

def methods():
    return [getattr(getattr(import_module(module), owner), name) for module, owner, name in replaced]

before, sources = methods(), (list(steps._sources), list(steps._task_sources))
undo = import_module(adapter).install()
kept = [name for name, was, now in zip(replaced, before, methods(), strict=True) if was is now]
undo()
print(json.dumps([kept, methods() == before, (steps._sources, steps._task_sources) == sources]))
"""


@EACH
def test_exactly_the_told_methods_are_replaced_and_put_back(adapter: str) -> None:
    for module, _, _ in REPLACED[adapter]:
        pytest.importorskip(module)
    # In a process of its own: in this one another test may have installed the adapter already.
    told = f"adapter, replaced = {adapter!r}, {sorted(REPLACED[adapter])!r}\n"
    assert told_by_new_process(told + METHODS_OF_AN_INSTALL) == [[], True, True]


@EACH
def test_a_framework_that_comes_later_is_adapted_as_well(adapter: str) -> None:
    for module, _, _ in REPLACED[adapter]:
        pytest.importorskip(module)
    untouched = told_by_new_process(
        f"import importlib, {adapter}; {adapter}.install()\n"
        f"each = {sorted(REPLACED[adapter])!r}\n"
        "found = {one: getattr(getattr(importlib.import_module(one[0]), one[1]), one[2]) for one in each}\n"
        "ours = [one for one, method in found.items() if 'agentsched' in method.__code__.co_filename]\n"
        "print(json.dumps([one for one in each if one not in ours]))\n"
    )
    assert untouched == []
