"""A framework inside another: its own steps are named, in whichever order the adapters went in."""

import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TypedDict

import pytest

import agentsched as ags

pytestmark = [pytest.mark.usefixtures("known_model_runtime"), pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).resolve().parents[2]


class State(TypedDict, total=False):
    text: str


@pytest.fixture(autouse=True, params=[1, -1], ids=["as a run puts them in", "the other way round"])
def _adapters(request: pytest.FixtureRequest) -> Iterator[None]:
    """All adapters."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    places = project["entry-points"]["agentsched.adapters"].values()
    names = [place.partition(":")[0] for place in places][:: request.param]
    undos = [import_module(name).install() for name in names]
    yield
    for undo in undos:
        undo()


def graph_of(node: Any) -> Any:
    from langgraph.graph import START, StateGraph

    graph = StateGraph(State)
    graph.add_node("outer", node)
    graph.add_edge(START, "outer")
    return graph.compile()


async def test_a_team_in_a_node_of_a_graph(steps_of):
    agents = pytest.importorskip("autogen_agentchat.agents")
    teams = pytest.importorskip("autogen_agentchat.teams")
    models = pytest.importorskip("autogen_ext.models.openai")
    pytest.importorskip("langgraph.graph")

    async def node(state: State) -> State:
        client = models.OpenAIChatCompletionClient(model="gpt-4o-mini", max_tokens=6)
        team = teams.RoundRobinGroupChat([agents.AssistantAgent("inner", model_client=client)], max_turns=1)
        await team.run(task="hi")
        return {}

    @ags.workflow(slo="30s")
    async def run() -> Counter[str]:
        await graph_of(node).ainvoke({})
        return steps_of(ags.current())

    assert await run() == {"inner": 1}


def test_a_crew_in_a_node_of_a_graph(steps_of):
    crewai = pytest.importorskip("crewai")
    pytest.importorskip("langgraph.graph")

    def node(state: State) -> State:
        agent = crewai.Agent(role="Writer", goal="g", backstory="b", llm=crewai.LLM(model="gpt-4o-mini", max_tokens=6))
        task = crewai.Task(name="inner", description="d", expected_output="e", agent=agent)
        crewai.Crew(agents=[agent], tasks=[task]).kickoff()
        return {}

    @ags.workflow(slo="30s")
    def run() -> Counter[str]:
        graph_of(node).invoke({})
        return steps_of(ags.current())

    assert run() == {"inner/Writer": 1}
