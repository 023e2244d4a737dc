"""smolagents: a model, and an agent that calls tools."""

from smolagents import OpenAIModel, ToolCallingAgent, tool
from smolagents.models import ChatMessage, MessageRole

from tests.frameworks.harness import MODEL, Program


def _messages(prompt: str) -> list[ChatMessage]:
    return [ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": prompt}])]


def sync(prompt: str) -> object:
    return OpenAIModel(MODEL).generate(_messages(prompt))


def sync_stream(prompt: str) -> object:
    return list(OpenAIModel(MODEL).generate_stream(_messages(prompt)))


def agent(prompt: str) -> object:
    @tool
    def look() -> str:
        """Look it up."""
        return str(sync(prompt))

    made = ToolCallingAgent(tools=[look], model=OpenAIModel(MODEL), max_steps=2, verbosity_level=0)
    return made.run(f"{prompt} [[tool=look]]")


PROGRAM = Program(
    "smolagents",
    "smolagents",
    sync=sync,
    sync_stream=sync_stream,
    own={"agent with a tool": agent},
    missing={"async": "the framework is synchronous", "async stream": "the framework is synchronous"},
)
