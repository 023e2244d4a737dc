"""What a compiled graph says of itself, and that the steps of its run are those it said."""

from collections import Counter
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from langgraph.func import entrypoint
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send

import agentsched as ags
from agentsched.core.structure import WorkflowStructure
from agentsched.workflow.steps import current_step
from agentsched.workflow.structure import tell_structure
from agentsched_langgraph.structure import graph_structure


def edges(structure: WorkflowStructure | None) -> dict[tuple[str, str], str]:
    assert structure is not None
    return {(edge.source, edge.target): edge.kind.value for edge in structure.edges}


def nothing(state: Any) -> dict[str, Any]:
    return {}


def graph_of(state_type: type, *nodes: str) -> StateGraph:
    graph = StateGraph(state_type)
    for node in nodes:
        graph.add_node(node, nothing)
    graph.add_edge(START, nodes[0])
    return graph


def test_a_fan_out_is_joined_and_a_loop_leads_back(state_type: type) -> None:
    def send(state: Any) -> list[Send]:
        return [Send("research", {})]

    def again(state: Any) -> Literal["plan", "__end__"]:
        return "__end__"

    graph = graph_of(state_type, "plan", "research", "write")
    graph.add_conditional_edges("plan", send, ["research"])
    graph.add_edge("research", "write")
    graph.add_conditional_edges("write", again)
    structure = graph_structure(graph.compile())
    assert edges(structure) == {
        ("plan", "research"): "fan_out",
        ("research", "write"): "plain",
        ("write", "plan"): "conditional",
    }
    assert (structure.entry, structure.ends, structure.joins) == (("plan",), ("write",), ("write",))


def test_branches_that_are_always_taken_meet_again(state_type: type) -> None:
    graph = graph_of(state_type, "plan", "left", "right", "write")
    graph.add_edge("plan", "left")
    graph.add_edge("plan", "right")
    graph.add_edge(["left", "right"], "write")
    structure = graph_structure(graph.compile())
    assert set(edges(structure)) == {("plan", "left"), ("plan", "right"), ("left", "write"), ("right", "write")}
    assert set(edges(structure).values()) == {"plain"}
    assert (structure.joins, structure.ends) == (("write",), ("write",))


def test_a_node_may_say_where_it_goes_and_an_edge_need_not(state_type: type) -> None:
    def choose(state: Any) -> Command[Literal["b"]]:
        return Command(goto="b")

    graph = StateGraph(state_type)
    graph.add_node("a", choose)
    graph.add_node("b", nothing)
    graph.add_edge(START, "a")
    graph.add_conditional_edges("b", lambda state: END)
    structure = graph_structure(graph.compile())
    assert edges(structure) == {("a", "b"): "conditional", ("b", "a"): "conditional", ("b", "b"): "conditional"}
    assert structure.ends == ("b",)


def test_a_subgraph_appears_as_its_nodes(state_type: type) -> None:
    inner = graph_of(state_type, "search", "read")
    inner.add_edge("search", "read")
    compiled = inner.compile()

    def calls(state: Any) -> dict[str, Any]:
        compiled.invoke(state)
        return {}

    graph = graph_of(state_type, "plan")
    graph.add_node("research", compiled)
    graph.add_node("check", calls)
    graph.add_edge("plan", "research")
    graph.add_edge("research", "check")
    structure = graph_structure(graph.compile())
    assert structure.nodes == ("plan", "research/search", "research/read", "check/search", "check/read", "check")
    assert edges(structure) == {
        ("research/search", "research/read"): "plain",
        ("check/search", "check/read"): "plain",
        ("check", "check/search"): "conditional",
        ("check/read", "check"): "conditional",
        ("plan", "research/search"): "plain",
        ("research/read", "check"): "plain",
    }
    assert structure.ends == ("check", "check/read")


def test_a_deferred_node_is_a_join(state_type: type) -> None:
    graph = graph_of(state_type, "a", "b")
    graph.add_node("last", nothing, defer=True)
    graph.add_edge("a", "b")
    graph.add_edge("b", "last")
    assert graph_structure(graph.compile()).joins == ("last",)


def test_an_agent_asks_its_model_and_its_tools_in_turn(state_type: type) -> None:
    agents = pytest.importorskip("langchain.agents")
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    @tool
    def look() -> str:
        """Look."""
        return "seen"

    agent = agents.create_agent(ChatOpenAI(model="gpt-4o-mini", api_key="k"), [look])
    structure = graph_structure(agent)
    assert structure.nodes == ("model", "tools")
    assert edges(structure)["model", "tools"] in ("conditional", "fan_out")
    assert ("tools", "model") in edges(structure)
    assert structure.ends == ("model",)


def test_the_functional_interface_says_nothing() -> None:
    @entrypoint()
    def flow(number: int) -> int:
        return number

    assert graph_structure(flow) is None


class Keeper:
    """A run's keeper that keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def start_run(self, run: ags.Run) -> None:
        pass

    def end_run(self, run: ags.Run, outcome: str) -> None:
        pass

    def emit(self, record: Any) -> None:
        self.records.append(record)


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Keeper:
    made = Keeper()
    monkeypatch.setattr("agentsched.api._runtime", lambda: SimpleNamespace(runtime_for=lambda pool: made))
    return made


@pytest.mark.usefixtures("adapter")
@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke"])
async def test_a_run_tells_the_outermost_graph_once_each_time(state_type: type, keeper: Keeper, way: str) -> None:
    inner = StateGraph(state_type)
    inner.add_node("search", lambda state: {"seen": [("search", current_step(ags.current()))]})
    inner.add_edge(START, "search")
    graph = graph_of(state_type, "plan")
    graph.add_node("research", inner.compile())
    graph.add_edge("plan", "research")
    compiled = graph.compile()

    @ags.workflow(name="told")
    async def run() -> Counter[str]:
        if way == "ainvoke":
            return Counter(step for _, step in (await compiled.ainvoke({"seen": []}))["seen"])
        if way == "invoke":
            return Counter(step for _, step in compiled.invoke({"seen": []})["seen"])
        list(compiled.stream({"seen": []}))
        return Counter({"research/search": 1})

    for _ in range(2):
        assert set(await run()) <= set(graph_structure(compiled).nodes)
    assert [told.workflow for told in keeper.records] == ["told", "told"]
    assert keeper.records[0].structure is keeper.records[1].structure
    assert keeper.records[0].structure.nodes == ("plan", "research/search")


def test_what_cannot_be_read_is_told_to_nobody(keeper: Keeper, caplog: pytest.LogCaptureFixture) -> None:
    class Graph:
        pass

    graph = Graph()

    @ags.workflow
    def run() -> None:
        tell_structure(graph, lambda: graph.nodes)  # type: ignore[attr-defined]

    run()
    run()
    assert keeper.records == []
    assert len(caplog.records) == 1
