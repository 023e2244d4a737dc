"""AutoGen's client for OpenAI's API whose calls are scheduled inside a run without anything being patched."""

from typing import Any

from autogen_ext.models.openai import OpenAIChatCompletionClient

from agentsched.intercept.clients import async_http_client, scheduled

__all__ = ["ScheduledChatCompletionClient"]


class ScheduledChatCompletionClient(OpenAIChatCompletionClient):
    """A ``ChatCompletionClient`` that takes what ``OpenAIChatCompletionClient`` takes.

    Inside a workflow its calls are scheduled and bounded in time, whether or not `agentsched.instrument` was called. An
    ``http_client`` of your own gets its ``send`` wrapped.
    """

    component_provider_override = "agentsched_autogen.ScheduledChatCompletionClient"

    def __init__(self, *, http_client: Any = None, **options: Any) -> None:
        client = async_http_client() if http_client is None else scheduled(http_client)
        super().__init__(**options, http_client=client)
