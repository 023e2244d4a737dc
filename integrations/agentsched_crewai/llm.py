"""CrewAI's client for OpenAI's API whose calls are scheduled inside a run without anything being patched."""

from typing import Any

from crewai.llms.providers.openai.completion import OpenAICompletion

from agentsched.intercept.clients import async_http_client, http_client

__all__ = ["ScheduledLLM"]


class ScheduledLLM(OpenAICompletion):
    """A ``BaseLLM`` that takes what CrewAI's ``LLM`` takes for OpenAI-compatible servers.

    Inside a workflow its calls are scheduled and bounded in time, whether or not `agentsched.instrument` was called.

    Example:
        ``ScheduledLLM(model="qwen3-32b", base_url="http://localhost:8000/v1", api_key="none")``
    """

    # CrewAI 1.15 has no public place for both HTTP clients: ``client_params`` goes to the two of them alike.

    def _build_sync_client(self) -> Any:
        return super()._build_sync_client().with_options(http_client=http_client())

    def _build_async_client(self) -> Any:
        return super()._build_async_client().with_options(http_client=async_http_client())
