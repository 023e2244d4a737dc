"""Every model call of a crew is caught, and sent in the name of its task and agent."""

import asyncio
from collections import Counter

import pytest

pytest.importorskip("crewai")

import crewai
from crewai.flow.flow import Flow, listen, start
from crewai.tools import tool

import agentsched as ags

pytestmark = [pytest.mark.usefixtures("known_model_runtime", "adapter"), pytest.mark.filterwarnings("ignore")]

STARTS = {
    "kickoff": lambda crew: crew.kickoff(),
    "kickoff_async": lambda crew: asyncio.run(crew.kickoff_async()),
    "akickoff": lambda crew: asyncio.run(crew.akickoff()),
    "kickoff_for_each": lambda crew: crew.kickoff_for_each([{"topic": "owls"}]),
}


@pytest.mark.parametrize("begin", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_calls_have_the_names_of_tasks_and_agents(make_agent, make_task, steps_of, begin, stream):
    researcher, writer = make_agent("Researcher", stream=stream), make_agent("Writer", stream=stream)
    tasks = [make_task(researcher, "look up"), make_task(writer), make_task(writer)]

    @ags.workflow(slo="30s")
    def run() -> Counter[str]:
        begin(crewai.Crew(agents=[researcher, writer], tasks=tasks))
        return steps_of(ags.current())

    assert run() == {"look up/Researcher": 1, "task2/Writer": 1, "task3/Writer": 1}


@pytest.mark.parametrize("begin", [STARTS["kickoff"], STARTS["akickoff"]], ids=["kickoff", "akickoff"])
def test_tasks_side_by_side_have_their_own_names(make_agent, make_task, steps_of, begin):
    agents = [make_agent(role) for role in ("One", "Two", "Three")]
    beside = [make_task(agents[n], f"part{n}", async_execution=True) for n in range(2)]
    tasks = [*beside, make_task(agents[2], "join")]

    @ags.workflow(slo="30s")
    def run() -> Counter[str]:
        begin(crewai.Crew(agents=agents, tasks=tasks))
        return steps_of(ags.current())

    assert run() == {"part0/One": 1, "part1/Two": 1, "join/Three": 1}


def test_a_role_with_inputs_is_the_same_step_whatever_they_are(make_agent, make_task, steps_of):
    agent = make_agent("{topic} Expert")
    crew = crewai.Crew(agents=[agent], tasks=[make_task(agent, "tell")])

    @ags.workflow(slo="30s")
    def run(topic: str) -> Counter[str]:
        crew.kickoff({"topic": topic})
        assert agent.role == f"{topic} Expert"
        return steps_of(ags.current())

    assert run("Owl") == run("Eel") == {"tell/{topic} Expert": 1}


def test_an_agent_alone_is_named_by_its_role_and_inside_a_flow_by_the_method_too(make_agent, make_task, steps_of):
    class Draft(Flow):
        @start()
        def ask(self) -> str:
            return make_agent("Poet").llm.call("hi")

        @listen(ask)
        def write(self, _: str) -> str:
            writer = make_agent("Writer")
            return crewai.Crew(agents=[writer], tasks=[make_task(writer, "text")]).kickoff().raw

    @ags.workflow(slo="30s")
    def alone() -> Counter[str]:
        make_agent("Poet").kickoff("hi")
        return steps_of(ags.current())

    @ags.workflow(slo="30s")
    def flow() -> Counter[str]:
        Draft().kickoff()
        return steps_of(ags.current())

    assert alone() == {"Poet": 1}
    assert flow() == {"ask": 1, "write/text/Writer": 1}


def test_a_tools_time_and_its_own_calls_belong_to_the_step(make_agent, make_task, steps_of):
    @tool("look")
    def look() -> str:
        """Look it up."""
        inner = make_agent("Helper")
        return inner.llm.call("help") + crewai.Crew(agents=[inner], tasks=[make_task(inner)]).kickoff().raw

    agent = make_agent("Seeker", tools=[look])
    task = make_task(agent, "seek")
    task.description = "Use the tool. [[tool=look]]"

    @ags.workflow(slo="30s")
    def run() -> Counter[str]:
        crewai.Crew(agents=[agent], tasks=[task]).kickoff()
        return steps_of(ags.current())

    assert run() == {"seek/Seeker": 3, "seek/Seeker/task1/Helper": 1}  # it asks, the tool asks twice, it answers


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "after"])
def test_a_streamed_crew_belongs_to_its_run_wherever_it_is_read(make_agent, make_task, steps_of, inside):
    writer = make_agent("Writer", stream=True)
    crew = crewai.Crew(agents=[writer], tasks=[make_task(writer, "text")], stream=True)
    runs = []

    @ags.workflow(slo="30s")
    def run() -> object:
        runs.append(ags.current())
        output = crew.kickoff()
        return "".join(chunk.content for chunk in output) if inside else output

    result = run()
    assert runs[0].finished == inside
    text = result if inside else "".join(chunk.content for chunk in result)
    assert text
    assert steps_of(runs[0]) == {"text/Writer": 1}
    assert runs[0].outcome == "ok"


async def test_an_asynchronously_streamed_crew_as_well(make_agent, make_task, steps_of):
    writer = make_agent("Writer", stream=True)
    crew = crewai.Crew(agents=[writer], tasks=[make_task(writer, "text")], stream=True)
    runs = []

    @ags.workflow(slo="30s")
    async def run() -> object:
        runs.append(ags.current())
        return await crew.akickoff()

    output = await run()
    assert not runs[0].finished
    assert [chunk.content async for chunk in output]
    assert steps_of(runs[0]) == {"text/Writer": 1}
    assert runs[0].outcome == "ok"


def test_a_stream_that_nobody_reads_ends_its_run(make_agent, make_task):
    writer = make_agent("Writer", stream=True)
    crew = crewai.Crew(agents=[writer], tasks=[make_task(writer, "text")], stream=True)
    runs = []

    @ags.workflow(slo="30s")
    def run() -> object:
        runs.append(ags.current())
        return crew.kickoff()

    run().close()
    assert runs[0].finished
    assert runs[0].calls == 0
