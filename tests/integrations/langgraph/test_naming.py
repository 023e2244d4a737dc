"""Every way in which LangGraph executes user code names the node it is in."""

import asyncio
import threading
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

import agentsched as ags
from agentsched.workflow.steps import current_step
from agentsched_langgraph import current_node, install

pytestmark = pytest.mark.usefixtures("adapter")


def seen(tag: str) -> dict[str, Any]:
    return {"seen": [(tag, current_step(ags.current()))]}


def fan_out_graph(state_type: type, *, is_async: bool) -> Any:
    """plan -> three researchers at once -> write, twice round."""

    def plan(state: Any) -> dict[str, Any]:
        return seen("plan")

    def research(state: Any) -> dict[str, Any]:
        return seen(f"research {state['number']}")

    async def aresearch(state: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        return seen(f"research {state['number']}")

    def write(state: Any) -> dict[str, Any]:
        return {**seen("write"), "rounds": 1}

    graph = StateGraph(state_type)
    graph.add_node("plan", plan)
    graph.add_node("research", aresearch if is_async else research)
    graph.add_node("write", write)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda state: [Send("research", {"number": n}) for n in range(3)], ["research"])
    graph.add_edge("research", "write")
    graph.add_conditional_edges("write", lambda state: "plan" if state["rounds"] < 2 else END, ["plan", END])
    return graph.compile()


EXPECTED = 2 * sorted([("plan", "plan"), ("write", "write"), *((f"research {n}", "research") for n in range(3))])


def test_branches_and_rounds_of_a_synchronous_graph_have_their_nodes_name(state_type: type) -> None:
    @ags.workflow
    def run() -> Any:
        return fan_out_graph(state_type, is_async=False).invoke({"seen": [], "rounds": 0})

    assert sorted(run()["seen"]) == sorted(EXPECTED)


async def test_branches_and_rounds_of_an_asynchronous_graph_have_their_nodes_name(state_type: type) -> None:
    @ags.workflow
    async def run() -> Any:
        return await fan_out_graph(state_type, is_async=True).ainvoke({"seen": [], "rounds": 0})

    assert sorted((await run())["seen"]) == sorted(EXPECTED)


async def test_workflows_at_the_same_time_do_not_mix(state_type: type) -> None:
    graph = fan_out_graph(state_type, is_async=True)

    @ags.workflow
    async def run() -> Any:
        return await graph.ainvoke({"seen": [], "rounds": 0})

    for result in await asyncio.gather(*(run() for _ in range(8))):
        assert sorted(result["seen"]) == sorted(EXPECTED)


def test_a_subgraph_is_named_behind_the_node_around_it_however_often_it_runs(state_type: type) -> None:
    inner = StateGraph(state_type)
    inner.add_node("search", lambda state: seen("search"))
    inner.add_edge(START, "search")
    compiled = inner.compile()

    def research(state: Any) -> dict[str, Any]:
        found = [entry for _ in range(3) for entry in compiled.invoke({"seen": []})["seen"]]
        return {"seen": [*found, *seen("after")["seen"]]}

    graph = StateGraph(state_type)
    graph.add_node("research", research)
    graph.add_node("as_node", compiled)
    graph.add_edge(START, "research")
    graph.add_edge("research", "as_node")
    result = graph.compile().invoke({"seen": []})
    # A subgraph's result contains what it was given, so the last entries repeat the first.
    assert result["seen"][:4] == [("search", "research/search")] * 3 + [("after", "research")]
    assert result["seen"][-1] == ("search", "as_node/search")


def test_a_task_of_the_functional_interface_is_named_behind_its_entrypoint() -> None:
    @task
    def look(number: int) -> str | None:
        return current_node()

    @entrypoint()
    def flow(number: int) -> list[str | None]:
        return [current_node(), *(future.result() for future in [look(1), look(2)])]

    assert flow.invoke(0) == ["flow", "flow/look", "flow/look"]


def test_runnables_and_threads_inside_a_node_are_in_the_node(state_type: type) -> None:
    chain = RunnableLambda(lambda given: given) | RunnableLambda(lambda given: current_node())

    def node(state: Any) -> dict[str, Any]:
        found: list[str | None] = []
        thread = threading.Thread(target=lambda: found.append(current_step(ags.current())))
        thread.start()
        thread.join()
        return {"seen": [("chain", chain.invoke("x")), ("thread", found[0])]}

    graph = StateGraph(state_type)
    graph.add_node("work", node)
    graph.add_edge(START, "work")
    compiled = graph.compile()

    @ags.workflow
    def run() -> Any:
        return compiled.invoke({"seen": []})

    assert run()["seen"] == [("chain", "work"), ("thread", "work")]


def test_a_step_that_the_user_names_wins(state_type: type) -> None:
    def node(state: Any) -> dict[str, Any]:
        with ags.step("mine"):
            inside = seen("inside")["seen"]
        return {"seen": [*inside, *seen("after")["seen"]]}

    graph = StateGraph(state_type)
    graph.add_node("work", node)
    graph.add_edge(START, "work")
    compiled = graph.compile()

    @ags.workflow
    def run() -> Any:
        return compiled.invoke({"seen": []})

    assert run()["seen"] == [("inside", "mine"), ("after", "work")]


def test_outside_a_graph_there_is_no_node() -> None:
    assert current_node() is None
    assert RunnableLambda(lambda given: current_node()).invoke("x") is None


def test_undo_takes_the_names_away_and_may_be_repeated(state_type: type) -> None:
    graph = StateGraph(state_type)
    graph.add_node("work", lambda state: seen("work"))
    graph.add_edge(START, "work")
    compiled = graph.compile()
    second = install()
    second()
    second()
    assert compiled.invoke({"seen": []})["seen"] == [("work", "work")]  # the fixture's own is still in
