"""Microsoft Agent Framework: agents over both APIs, a tool, agents side by side."""

import asyncio

from agent_framework import Agent, WorkflowBuilder
from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient

from tests.frameworks.harness import MODEL, Program


def _agent(name: str = "one") -> Agent:
    return Agent(OpenAIChatCompletionClient(MODEL), "Be brief.", name=name)


def sync(prompt: str) -> object:
    return asyncio.run(aio(prompt))


async def aio(prompt: str) -> object:
    await Agent(OpenAIChatClient(MODEL), "Be brief.", name="responses").run(prompt)
    return await _agent().run(prompt)


async def aio_stream(prompt: str) -> object:
    return [update async for update in _agent().run(prompt, stream=True)]


async def tool(prompt: str) -> object:
    def look() -> str:
        """Look it up."""
        return "seen"

    agent = Agent(OpenAIChatCompletionClient(MODEL), "Be brief.", name="asker", tools=[look])
    return await agent.run(f"{prompt} [[tool=look]]")


async def concurrent(prompt: str) -> object:
    first = _agent("first")
    workflow = WorkflowBuilder(start_executor=first).add_fan_out_edges(first, [_agent("left"), _agent("right")])
    return await workflow.build().run(prompt)


PROGRAM = Program(
    "Microsoft Agent Framework",
    "agent-framework-core",
    sync=sync,
    aio=aio,
    aio_stream=aio_stream,
    own={"agent with a tool": tool, "workflow side by side": concurrent},
    missing={"sync stream": "the framework is asynchronous"},
)
