"""Model calls of a graph, caught in a decorated run: each is sent in the name of its node."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

import agentsched as ags
from agentsched.emulator.defaults import DEFAULT_MODEL, default_config
from agentsched.emulator.process import PoolProcess, start_pool
from agentsched.runtime import Runtime, configure, shutdown
from agentsched.settings import load_settings

pytestmark = pytest.mark.usefixtures("adapter")


@pytest.fixture(scope="module")
def pool() -> Iterator[PoolProcess]:
    with start_pool(default_config(time_scale=100)) as started:
        yield started


@pytest.fixture
def runtime(pool: PoolProcess) -> Iterator[Runtime]:
    yield configure(load_settings(pool.pool_config))
    shutdown()
    ags.uninstrument()


@pytest.fixture
def graph(pool: PoolProcess, state_type: type) -> Any:
    """plan -> three researchers -> write, where research is a subgraph of one node; nodes for both ways of running."""
    model = ChatOpenAI(base_url=next(iter(pool.urls.values())), model=DEFAULT_MODEL, api_key="none", max_tokens=4)

    def node(name: str) -> Any:
        from langchain_core.runnables import RunnableLambda

        def call(state: Any) -> dict[str, Any]:
            return {"seen": [(name, model.invoke(name).text)]}

        async def acall(state: Any) -> dict[str, Any]:
            pieces = [chunk.text async for chunk in model.astream(name)]
            return {"seen": [(name, "".join(pieces))]}

        return RunnableLambda(call, afunc=acall)

    inner = StateGraph(state_type)
    inner.add_node("search", node("search"))
    inner.add_edge(START, "search")
    built = StateGraph(state_type)
    built.add_node("plan", node("plan"))
    built.add_node("research", inner.compile())
    built.add_node("write", node("write"))
    built.add_edge(START, "plan")
    built.add_conditional_edges("plan", lambda state: [Send("research", {"seen": []}) for _ in range(3)], ["research"])
    built.add_edge("research", "write")
    built.add_edge("write", END)
    return built.compile()


STEPS = {"plan": 1, "research/search": 3, "write": 1}


def test_calls_of_a_synchronous_graph_have_their_nodes_names(runtime: Runtime, graph: Any) -> None:
    @ags.workflow(slo="30s")
    def run() -> Counter[str]:
        graph.invoke({"seen": []})
        return Counter(decision.step for decision in ags.current().decisions)

    assert run() == STEPS


async def test_streams_of_an_asynchronous_graph_have_their_nodes_names(runtime: Runtime, graph: Any) -> None:
    @ags.workflow(slo="30s")
    async def run() -> Counter[str]:
        await graph.ainvoke({"seen": []})
        return Counter(decision.step for decision in ags.current().decisions)

    assert await run() == STEPS


def test_time_is_kept_for_a_node_by_its_name(runtime: Runtime, graph: Any) -> None:
    @ags.workflow(slo=ags.SLO(deadline="30s", reserve={"write": "29.9999s"}))
    def run() -> None:
        graph.invoke({"seen": []})

    with pytest.raises(ags.DeadlineExceeded) as raised:
        run()
    assert raised.value.step == "plan"
    assert raised.value.elapsed_s < 5
