"""The frameworks that have an adapter: what is imported of each, and a program in each whose model answers at once."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypedDict

from agentsched.bench.packages import load_package
from agentsched.workflow.scope import current_run
from agentsched.workflow.steps import current_step, current_task

__all__ = ["ADAPTED", "Adapted"]


@dataclass(frozen=True, slots=True)
class Adapted:
    """A framework that has an adapter.

    Attributes:
        name: for people and the command line.
        adapter: its adapter's package.
        distribution: whose version is shown.
        modules: what a program imports of it.
        program: what makes one model call each time in the per-call measurement, for people.
        make: makes such a program, which gets the number of its calls.
    """

    name: str
    adapter: str
    distribution: str
    modules: tuple[str, ...]
    program: str
    make: Callable[[], Callable[[int], None]]


def _asked() -> str:
    """A model call as the adapter sees it: somebody asks in which step and task it is made."""
    current_step(current_run())
    current_task()
    return "answer"


class _State(TypedDict):
    left: int


def _langgraph() -> Callable[[int], None]:
    graphs = load_package("langgraph.graph")

    def call(state: _State) -> _State:
        _asked()
        return {"left": state["left"] - 1}

    inner = graphs.StateGraph(_State)
    inner.add_node("inner", call)
    inner.add_edge(graphs.START, "inner")
    outer = graphs.StateGraph(_State)
    outer.add_node("outer", inner.compile())
    outer.add_edge(graphs.START, "outer")
    outer.add_conditional_edges("outer", lambda state: "outer" if state["left"] else graphs.END, ["outer", graphs.END])
    graph = outer.compile()

    def run(calls: int) -> None:
        graph.invoke({"left": calls}, {"recursion_limit": 10 * calls})

    return run


def _autogen() -> Callable[[int], None]:
    agents, teams = load_package("autogen_agentchat.agents"), load_package("autogen_agentchat.teams")
    models, replay = load_package("autogen_core.models"), load_package("autogen_ext.models.replay")

    async def create(*_: object, **__: object) -> Any:
        usage = models.RequestUsage(prompt_tokens=1, completion_tokens=1)
        return models.CreateResult(finish_reason="stop", content=_asked(), usage=usage, cached=False)

    def member(name: str) -> Any:
        client = replay.ReplayChatCompletionClient(["never said"])
        client.create = create
        return agents.AssistantAgent(name, model_client=client)

    async def talk(calls: int) -> None:
        team = teams.RoundRobinGroupChat([member("one"), member("two")], max_turns=calls)
        await team.run(task="question")

    def run(calls: int) -> None:
        asyncio.run(talk(calls))

    return run


def _crewai() -> Callable[[int], None]:
    hollow = _hollow_crewai()
    agent = hollow.Agent()
    tasks = [hollow.Task(name) for name in ("look up", "write", "check")]

    def run(calls: int) -> None:
        for number in range(calls):
            tasks[number % len(tasks)].execute_sync(agent)

    return run


def _hollow_crewai() -> Any:
    """CrewAI's public names that the adapter stands around, with nothing in them.

    CrewAI itself takes some ten milliseconds per task, in whose spread the microseconds of an adapter do not show.
    """

    def nothing(*_: object, **__: object) -> None:
        return None

    class Agent:
        id, role, crew = "0", "Researcher", None
        aexecute_task = kickoff = kickoff_async = interpolate_inputs = nothing

        def execute_task(self, task: object) -> str:
            return _asked()

    class Task:
        agent, expected_output = None, "text"
        execute_async = aexecute_sync = nothing

        def __init__(self, name: str) -> None:
            self.name = name

        def execute_sync(self, agent: Agent) -> str:
            return agent.execute_task(self)

    class Crew:
        kickoff = akickoff = nothing

    class Flow:
        kickoff_async = nothing

    class Streamed:
        def __init__(self, sync_iterator: object = None, async_iterator: object = None) -> None:
            pass

    crewai: Any = ModuleType("crewai")
    crewai.Agent, crewai.Task, crewai.Crew, crewai.Flow = Agent, Task, Crew, Flow
    streaming: Any = ModuleType("crewai.types.streaming")
    streaming.StreamingOutputBase = streaming.StreamSessionBase = Streamed
    sys.modules.update({"crewai": crewai, "crewai.types.streaming": streaming})
    return crewai


_AUTOGEN = ("autogen_agentchat.agents", "autogen_agentchat.teams")

ADAPTED = {
    each.name: each
    for each in (
        Adapted(
            "langgraph", "agentsched_langgraph", "langgraph", ("langgraph.graph",), "node of a subgraph", _langgraph
        ),
        Adapted("crewai", "agentsched_crewai", "crewai", ("crewai",), "task of a hollow CrewAI", _crewai),
        Adapted("autogen", "agentsched_autogen", "autogen-agentchat", _AUTOGEN, "turn in a round-robin team", _autogen),
    )
}
"""By name."""
