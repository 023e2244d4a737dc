"""AutoGen: teams, a graph with branches, streaming, a runtime that was started elsewhere."""

import asyncio
from dataclasses import dataclass

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import DiGraphBuilder, GraphFlow, RoundRobinGroupChat
from autogen_core import AgentId, MessageContext, RoutedAgent, SingleThreadedAgentRuntime, message_handler
from autogen_core.models import UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient

from tests.frameworks.harness import MODEL, Program


def _agent(name: str, *, stream: bool = False, **options: object) -> AssistantAgent:
    client = OpenAIChatCompletionClient(model=MODEL)
    return AssistantAgent(name, model_client=client, model_client_stream=stream, **options)


def _team(*, stream: bool = False) -> RoundRobinGroupChat:
    return RoundRobinGroupChat([_agent("one", stream=stream), _agent("two", stream=stream)], max_turns=2)


def sync(prompt: str) -> object:
    return asyncio.run(_team().run(task=prompt))


async def aio(prompt: str) -> object:
    await _agent("one").run(task=prompt)
    return await _team().run(task=prompt)


async def aio_stream(prompt: str) -> object:
    return [item async for item in _team(stream=True).run_stream(task=prompt)]


async def graph_flow(prompt: str) -> object:
    plan, left, right, write = members = [_agent(name) for name in ("plan", "left", "right", "write")]
    graph = DiGraphBuilder()
    for member in members:
        graph.add_node(member)
    graph.add_edge(plan, left).add_edge(plan, right).add_edge(left, write).add_edge(right, write)
    return await GraphFlow(members, graph.build()).run(task=prompt)


async def tool(prompt: str) -> object:
    def look() -> str:
        """Look it up."""
        return str(asyncio.run(_agent("inner").run(task=prompt)))

    # A thread takes the run along but not AutoGen's own context: there the inner agent has no outer one.
    return await _agent("asker", tools=[look]).run(task=f"{prompt} [[tool=look]]")


@dataclass
class Ask:
    prompt: str


class Answerer(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("answers")
        self._client = OpenAIChatCompletionClient(model=MODEL)

    @message_handler
    async def answer(self, message: Ask, ctx: MessageContext) -> str:
        return str(await self._client.create([UserMessage(content=message.prompt, source="user")]))


_shared: dict[asyncio.AbstractEventLoop, SingleThreadedAgentRuntime] = {}


async def shared_runtime(prompt: str) -> object:
    """The first of three runs starts the runtime, and all send to it."""
    loop = asyncio.get_running_loop()
    if loop not in _shared:
        runtime = _shared[loop] = SingleThreadedAgentRuntime()
        await Answerer.register(runtime, "answerer", Answerer)
        runtime.start()
    return await _shared[loop].send_message(Ask(prompt), AgentId("answerer", "default"))


STEPS = ("one", "two", "plan", "left", "right", "write", "asker", "inner", "answerer")

PROGRAM = Program(
    "AutoGen",
    "autogen-agentchat",
    frozenset(STEPS),
    sync=sync,
    aio=aio,
    aio_stream=aio_stream,
    own={"GraphFlow": graph_flow, "tool in a thread": tool, "runtime of another run": shared_runtime},
    missing={"sync stream": "the framework is asynchronous"},
)
