"""Agno: agents over both APIs, a tool, a team."""

from typing import Any

from agno.agent import Agent
from agno.models.openai import OpenAIChat, OpenAIResponses
from agno.team import Team

from tests.frameworks.harness import MODEL, Program


def _agent(**options: Any) -> Agent:
    return Agent(model=OpenAIChat(id=MODEL), telemetry=False, **options)


def sync(prompt: str) -> object:
    return _agent().run(prompt)


def sync_stream(prompt: str) -> object:
    return list(_agent().run(prompt, stream=True))


async def aio(prompt: str) -> object:
    return await _agent().arun(prompt)


async def aio_stream(prompt: str) -> object:
    return [event async for event in _agent().arun(prompt, stream=True)]


def responses(prompt: str) -> object:
    return Agent(model=OpenAIResponses(id=MODEL), telemetry=False).run(prompt)


def tool(prompt: str) -> object:
    def look() -> str:
        """Look it up."""
        return str(sync(prompt))

    return _agent(tools=[look]).run(f"{prompt} [[tool=look]]")


def team(prompt: str) -> object:
    members = [_agent(name="first"), _agent(name="second")]
    return Team(members=members, model=OpenAIChat(id=MODEL), telemetry=False).run(prompt)


PROGRAM = Program(
    "Agno",
    "agno",
    sync=sync,
    sync_stream=sync_stream,
    aio=aio,
    aio_stream=aio_stream,
    own={"responses API": responses, "agent with a tool": tool, "team": team},
)
