"""AG2."""

import asyncio

from ag2 import Agent
from ag2.config import OpenAIConfig

from tests.frameworks.harness import MODEL, Program


def _agent(*, streaming: bool = False) -> Agent:
    return Agent("one", "Be brief.", config=OpenAIConfig(model=MODEL, streaming=streaming))


def sync(prompt: str) -> object:
    return asyncio.run(_agent().ask(prompt))


async def aio(prompt: str) -> object:
    return await _agent().ask(prompt)


async def aio_stream(prompt: str) -> object:
    return await _agent(streaming=True).ask(prompt)


async def tool(prompt: str) -> object:
    agent = _agent()

    @agent.tool
    def look() -> str:
        """Look it up."""
        return str(asyncio.run(_agent().ask(prompt)))

    return await agent.ask(f"{prompt} [[tool=look]]")


PROGRAM = Program(
    "AG2",
    "ag2",
    sync=sync,
    aio=aio,
    aio_stream=aio_stream,
    own={"tool in a thread": tool},
    missing={"sync stream": "the framework is asynchronous"},
)
