"""What a run's calls wait for: the time of tools, the branches of a fan-out."""

import asyncio

import pytest

pytest.importorskip("autogen_agentchat.agents")
pytest.importorskip("autogen_ext.models.openai")

from autogen_agentchat.teams import DiGraphBuilder, GraphFlow

import agentsched as ags

pytestmark = [pytest.mark.usefixtures("known_model_runtime", "adapter"), pytest.mark.filterwarnings("ignore")]

TOOL_S = 0.15
LONG = 3000
"""Output tokens of a branch: it takes long enough for the other one to begin beside it."""


async def test_a_tools_time_is_seen(make_agent, ended_calls):
    async def look() -> str:
        """Look it up."""
        await asyncio.sleep(TOOL_S)
        return "seen"

    agent = make_agent("seeker", tools=[look], reflect_on_tool_use=True)
    await ags.workflow(slo="30s")(agent.run)(task="Use it. [[tool=look]]")
    first, second = ended_calls()
    assert second.call.parents == (first.call.call_id,)
    assert second.call.tool_s >= TOOL_S


async def test_an_agent_that_joins_others_has_them_for_parents(make_agent, ended_calls):
    plan, write = make_agent("plan"), make_agent("write")
    left, right = make_agent("left", max_tokens=LONG), make_agent("right", max_tokens=LONG)
    members = [plan, left, right, write]
    graph = DiGraphBuilder()
    for member in members:
        graph.add_node(member)
    graph.add_edge(plan, left).add_edge(plan, right).add_edge(left, write).add_edge(right, write)
    await ags.workflow(slo="30s")(GraphFlow(members, graph.build()).run)(task=f"hi [[out={LONG}]]")
    first, *branches, join = ended_calls()
    assert [record.call.step for record in (first, join)] == ["plan", "write"]
    assert {record.call.step for record in branches} == {"left", "right"}
    assert all(record.call.parents == (first.call.call_id,) for record in branches)
    assert set(join.call.parents) == {record.call.call_id for record in branches}
