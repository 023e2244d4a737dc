"""CrewAI: a crew with async tasks, streaming, a tool, a flow."""

from typing import Any

from crewai import LLM, Agent, Crew, Process, Task
from crewai.flow.flow import Flow, start
from crewai.tools import tool

from tests.frameworks.harness import MODEL, Program


def _agent(role: str, *, stream: bool = False, **options: Any) -> Agent:
    return Agent(role=role, goal="g", backstory="b", llm=LLM(model=MODEL, stream=stream, max_tokens=20), **options)


def _crew(prompt: str, *, stream: bool = False) -> Crew:
    one, two = _agent("One", stream=stream), _agent("Two", stream=stream)

    def task(name: str, agent: Agent, **options: Any) -> Task:
        return Task(name=name, description=prompt, expected_output="text", agent=agent, **options)

    tasks = [task("left", one, async_execution=True), task("right", two, async_execution=True), task("join", one)]
    return Crew(agents=[one, two], tasks=tasks, stream=stream)


def sync(prompt: str) -> object:
    return _crew(prompt).kickoff()


def sync_stream(prompt: str) -> object:
    return list(_crew(prompt, stream=True).kickoff())


async def aio(prompt: str) -> object:
    await _crew(prompt).kickoff_async()
    return await _crew(prompt).akickoff()


async def aio_stream(prompt: str) -> object:
    return [chunk async for chunk in await _crew(prompt, stream=True).akickoff()]


def with_tool(prompt: str) -> object:
    @tool("look")
    def look() -> str:
        """Look it up."""
        return str(LLM(model=MODEL).call(prompt))

    seeker = _agent("Seeker", tools=[look])
    task = Task(name="seek", description=f"{prompt} [[tool=look]]", expected_output="text", agent=seeker)
    return Crew(agents=[seeker], tasks=[task]).kickoff()


def hierarchical(prompt: str) -> object:
    worker = _agent("Worker")
    task = Task(name="managed", description=prompt, expected_output="text")
    return Crew(agents=[worker], tasks=[task], process=Process.hierarchical, manager_llm=LLM(model=MODEL)).kickoff()


def flow(prompt: str) -> object:
    class Program(Flow):
        @start()
        def ask(self) -> object:
            return sync(prompt)

    return Program().kickoff()


def for_each(prompt: str) -> object:
    return _crew(prompt).kickoff_for_each([{}, {}])


STEPS = {"left/One", "right/Two", "join/One", "seek/Seeker", "managed/Crew Manager"}

PROGRAM = Program(
    "CrewAI",
    "crewai",
    frozenset(STEPS | {f"ask/{name}" for name in STEPS}),
    sync=sync,
    sync_stream=sync_stream,
    aio=aio,
    aio_stream=aio_stream,
    own={
        "agent with a tool": with_tool,
        "hierarchical": hierarchical,
        "flow": flow,
        "kickoff_for_each": for_each,
    },
)
