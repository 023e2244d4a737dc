"""Haystack: a chat generator, a pipeline, an agent with a tool."""

from haystack import Pipeline
from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage, StreamingChunk
from haystack.tools import tool

from tests.frameworks.harness import MODEL, Program


def _messages(prompt: str) -> list[ChatMessage]:
    return [ChatMessage.from_user(prompt)]


def sync(prompt: str) -> object:
    return OpenAIChatGenerator(model=MODEL).run(_messages(prompt))


def sync_stream(prompt: str) -> object:
    chunks: list[StreamingChunk] = []
    OpenAIChatGenerator(model=MODEL, streaming_callback=chunks.append).run(_messages(prompt))
    return chunks


async def aio(prompt: str) -> object:
    return await OpenAIChatGenerator(model=MODEL).run_async(_messages(prompt))


async def aio_stream(prompt: str) -> object:
    chunks: list[StreamingChunk] = []

    async def take(chunk: StreamingChunk) -> None:
        chunks.append(chunk)

    await OpenAIChatGenerator(model=MODEL, streaming_callback=take).run_async(_messages(prompt))
    return chunks


def _pipeline() -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("model", OpenAIChatGenerator(model=MODEL))
    return pipeline


def pipeline(prompt: str) -> object:
    return _pipeline().run({"model": {"messages": _messages(prompt)}})


async def apipeline(prompt: str) -> object:
    return await _pipeline().run_async({"model": {"messages": _messages(prompt)}})


def agent(prompt: str) -> object:
    @tool
    def look() -> str:
        """Look it up."""
        return str(sync(prompt))

    made = Agent(chat_generator=OpenAIChatGenerator(model=MODEL), tools=[look])
    return made.run(messages=_messages(f"{prompt} [[tool=look]]"))


PROGRAM = Program(
    "Haystack",
    "haystack-ai",
    sync=sync,
    sync_stream=sync_stream,
    aio=aio,
    aio_stream=aio_stream,
    own={"pipeline": pipeline, "pipeline, async": apipeline, "agent with a tool": agent},
)
