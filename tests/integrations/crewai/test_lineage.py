"""What a run's calls wait for: the time of tools, the branches of a fan-out."""

import time

import pytest

pytest.importorskip("crewai")

import crewai
from crewai.tools import tool

import agentsched as ags

pytestmark = [pytest.mark.usefixtures("known_model_runtime", "adapter"), pytest.mark.filterwarnings("ignore")]

TOOL_S = 0.15
LONG = 3000
"""Output tokens of a branch: it takes long enough for the other one to begin beside it."""


def test_a_tools_time_is_seen(make_agent, make_task, ended_calls):
    @tool("look")
    def look() -> str:
        """Look it up."""
        time.sleep(TOOL_S)
        return "seen"

    agent = make_agent("Seeker", tools=[look])
    task = make_task(agent, "seek")
    task.description = "Use it. [[tool=look]]"
    ags.workflow(slo="30s")(crewai.Crew(agents=[agent], tasks=[task]).kickoff)()
    first, second = ended_calls()
    assert second.call.parents == (first.call.call_id,)
    assert second.call.tool_s >= TOOL_S


def test_a_task_that_joins_others_has_them_for_parents(make_agent, make_task, ended_calls):
    agents = [make_agent("One", max_tokens=LONG), make_agent("Two", max_tokens=LONG), make_agent("Three")]
    beside = [make_task(agents[n], f"part{n}", async_execution=True) for n in range(2)]
    for task in beside:
        task.description += f" [[out={LONG}]]"
    crew = crewai.Crew(agents=agents, tasks=[*beside, make_task(agents[2], "join")])
    ags.workflow(slo="30s")(crew.kickoff)()
    *branches, join = ended_calls()
    assert {record.call.step for record in branches} == {"part0/One", "part1/Two"}
    assert join.call.step == "join/Three"
    assert set(join.call.parents) == {record.call.call_id for record in branches}
