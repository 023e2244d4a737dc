"""Strands Agents: an agent, a tool that asks another one, a graph with a fan-out."""

from typing import Any

from strands import Agent, tool
from strands.models.openai import OpenAIModel
from strands.multiagent import GraphBuilder

from tests.frameworks.harness import MODEL, Program


def _agent(**options: Any) -> Agent:
    return Agent(model=OpenAIModel(model_id=MODEL), callback_handler=None, **options)


def sync(prompt: str) -> object:
    return _agent()(prompt)


async def aio(prompt: str) -> object:
    return await _agent().invoke_async(prompt)


async def aio_stream(prompt: str) -> object:
    return [event async for event in _agent().stream_async(prompt)]


def with_tool(prompt: str) -> object:
    @tool
    def look() -> str:
        """Look it up."""
        return str(sync(prompt))

    return _agent(tools=[look])(f"{prompt} [[tool=look]]")


def graph(prompt: str) -> object:
    builder = GraphBuilder()
    for name in ("plan", "left", "right", "write"):
        builder.add_node(_agent(name=name), name)
    for side in ("left", "right"):
        builder.add_edge("plan", side)
        builder.add_edge(side, "write")
    builder.set_entry_point("plan")
    return builder.build()(prompt)


PROGRAM = Program(
    "Strands Agents",
    "strands-agents",
    sync=sync,
    aio=aio,
    aio_stream=aio_stream,
    own={"agent with a tool": with_tool, "graph": graph},
    missing={"sync stream": "the framework streams asynchronously only"},
)
