"""What a run's calls wait for: the time of tools, the branches of a fan-out."""

import time
from typing import Any

import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from langgraph.types import Send

import agentsched as ags

pytestmark = pytest.mark.usefixtures("known_model_runtime", "adapter")

TOOL_S = 0.15
LONG = 3000
"""Output tokens of a branch: it takes long enough for the others to begin beside it."""


def test_a_tools_time_is_seen(ended_calls) -> None:
    agents = pytest.importorskip("langchain.agents")

    @tool
    def look() -> str:
        """Look it up."""
        time.sleep(TOOL_S)
        return "seen"

    agent = agents.create_agent(ChatOpenAI(model="gpt-4o-mini", max_tokens=4), [look])
    ags.workflow(slo="30s")(agent.invoke)({"messages": [("user", "[[tool=look]]")]})
    first, second = ended_calls()
    assert second.call.parents == (first.call.call_id,)
    assert second.call.tool_s >= TOOL_S


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_a_node_that_joins_others_has_them_for_parents(state_type: type, ended_calls, way: str) -> None:
    model = ChatOpenAI(model="gpt-4o-mini")

    def call(state: Any) -> dict[str, Any]:
        model.invoke(f"hi [[out={state.get('number', 4)}]]")
        return {}

    async def acall(state: Any) -> dict[str, Any]:
        await model.ainvoke(f"hi [[out={state.get('number', 4)}]]")
        return {}

    graph = StateGraph(state_type)
    for name in ("plan", "research", "write"):
        graph.add_node(name, acall if way == "ainvoke" else call)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges(
        "plan", lambda state: [Send("research", {"number": LONG}) for _ in range(3)], ["research"]
    )
    graph.add_edge("research", "write")
    compiled = graph.compile()
    if way == "ainvoke":
        await ags.workflow(slo="30s")(compiled.ainvoke)({"seen": []})
    else:
        ags.workflow(slo="30s")(compiled.invoke)({"seen": []})
    first, *branches, join = ended_calls()
    assert [record.call.step for record in branches] == ["research"] * 3
    assert all(record.call.parents == (first.call.call_id,) for record in branches)
    assert set(join.call.parents) == {record.call.call_id for record in branches}


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_nodes_of_one_superstep_are_branches_also_one_after_the_other(
    state_type: type, ended_calls, way: str
) -> None:
    """Nodes of different names, each with a subgraph in it, of which only one may run at a time."""
    model = ChatOpenAI(model="gpt-4o-mini", max_tokens=4)

    def call(state: Any) -> dict[str, Any]:
        model.invoke("hi")
        return {}

    async def acall(state: Any) -> dict[str, Any]:
        await model.ainvoke("hi")
        return {}

    node = acall if way == "ainvoke" else call
    inner = StateGraph(state_type)
    inner.add_sequence([("search", node), ("grade", node)])
    inner.add_edge(START, "search")
    graph = StateGraph(state_type)
    graph.add_node("plan", node)
    for name in ("left", "right"):
        graph.add_node(name, inner.compile())
        graph.add_edge("plan", name)
    graph.add_node("write", node)
    graph.add_edge(START, "plan")
    graph.add_edge(["left", "right"], "write")
    compiled = graph.compile()
    config = {"max_concurrency": 1}
    if way == "ainvoke":
        await ags.workflow(slo="30s")(compiled.ainvoke)({"seen": []}, config)
    else:
        ags.workflow(slo="30s")(compiled.invoke)({"seen": []}, config)
    of_step = {record.call.step: record.call for record in ended_calls()}
    step_of = {call.call_id: step for step, call in of_step.items()}
    parents = {step: {step_of[parent] for parent in call.parents} for step, call in of_step.items()}
    assert parents == {
        "plan": set(),
        "left/search": {"plan"},
        "right/search": {"plan"},
        "left/grade": {"left/search"},
        "right/grade": {"right/search"},
        "write": {"left/grade", "right/grade"},
    }
