"""pydantic-ai, with a tool that is a plain function and calls a model itself."""

from openai import OpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel

from tests.frameworks.harness import MODEL, Program


def _agent() -> Agent:
    return Agent(OpenAIChatModel(MODEL), instructions="Be brief.")


def sync(prompt: str) -> object:
    return _agent().run_sync(prompt)


async def aio(prompt: str) -> object:
    return await _agent().run(prompt)


async def aio_stream(prompt: str) -> object:
    async with _agent().run_stream(prompt) as result:
        return [text async for text in result.stream_text()]


async def tool(prompt: str) -> object:
    agent = _agent()

    @agent.tool_plain
    def look() -> str:
        """Look it up."""
        messages = [{"role": "user", "content": prompt}]
        return str(OpenAI().chat.completions.create(model=MODEL, messages=messages))

    return await agent.run(f"{prompt} [[tool=look]]")


PROGRAM = Program(
    "pydantic-ai",
    "pydantic-ai-slim",
    sync=sync,
    aio=aio,
    aio_stream=aio_stream,
    own={"tool in a thread": tool},
    missing={"sync stream": "the framework streams asynchronously only"},
)
