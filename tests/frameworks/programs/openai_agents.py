"""OpenAI's Agents SDK, over both APIs, with a handoff and a tool that is a plain function."""

import asyncio

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool
from openai import AsyncOpenAI

from tests.frameworks.harness import MODEL, Program


def _agent() -> Agent:
    return Agent(name="one", instructions="Be brief.", model=MODEL)


def sync(prompt: str) -> object:
    return asyncio.run(Runner.run(_agent(), prompt))


async def aio(prompt: str) -> object:
    chats = OpenAIChatCompletionsModel(model=MODEL, openai_client=AsyncOpenAI())
    await Runner.run(Agent(name="chat", instructions="Be brief.", model=chats), prompt)
    return await Runner.run(_agent(), prompt)


async def aio_stream(prompt: str) -> object:
    return [event async for event in Runner.run_streamed(_agent(), prompt).stream_events()]


async def tool(prompt: str) -> object:
    @function_tool
    def look() -> str:
        """Look it up."""
        return str(asyncio.run(Runner.run(_agent(), prompt)).final_output)

    agent = Agent(name="asker", instructions="Use the tool.", model=MODEL, tools=[look])
    return await Runner.run(agent, f"{prompt} [[tool=look]]")


PROGRAM = Program(
    "OpenAI Agents SDK",
    "openai-agents",
    sync=sync,
    aio=aio,
    aio_stream=aio_stream,
    own={"tool in a thread": tool},
    missing={"sync stream": "the framework streams asynchronously only"},
)
