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


def test_methods_that_begin_a_flow_are_branches(ended_calls):
    """However soon after one has been answered the other asks."""
    from crewai.flow.flow import Flow, and_, listen, start

    model = crewai.LLM(model="gpt-4o-mini", max_tokens=4)

    class Both(Flow):
        @start()
        def first(self):
            return model.call("hi")

        @start()
        async def second(self):
            return await model.acall("hi")

        @listen(and_(first, second))
        def then(self):
            return model.call("hi")

    ags.workflow(slo="30s")(Both().kickoff)()
    of_step = {record.call.step: record.call for record in ended_calls()}
    assert [of_step[name].parents for name in ("first", "second")] == [(), ()]
    # CrewAI has the method that was done last go on with what listens to both.
    assert set(of_step["then"].parents) <= {of_step["first"].call_id, of_step["second"].call_id}
    assert of_step["then"].parents


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
