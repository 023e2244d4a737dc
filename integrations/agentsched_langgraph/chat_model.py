"""LangChain's ``ChatOpenAI`` whose calls are scheduled inside a run without anything being patched."""

import functools
from typing import Any, Self

from langchain_openai import ChatOpenAI
from pydantic import model_validator

from agentsched.intercept.clients import async_http_client, http_client, scheduled

__all__ = ["ChatAgentsched"]

_shared = functools.cache(http_client)
_shared_async = functools.cache(async_http_client)
# One for all models, as ChatOpenAI has it: a client of its own would cost each model 50 ms of reading certificates.


class ChatAgentsched(ChatOpenAI):
    """A chat model that takes what ``ChatOpenAI`` takes; inside a workflow its calls are scheduled and bounded in time.

    It does so whether or not `agentsched.instrument` was called. An ``http_client`` or ``http_async_client`` of your
    own gets its ``send`` wrapped. It serialises itself as the ``ChatOpenAI`` that it is: LangChain loads no others.

    Example:
        ``ChatAgentsched(model="qwen3-32b", base_url="http://localhost:8000/v1", api_key="none")``
    """

    @model_validator(mode="after")
    def _schedule(self) -> Self:
        if self.http_client is not None:
            scheduled(self.http_client)
        elif self.root_client is not None:
            self.root_client = self.root_client.with_options(http_client=_shared())
            self.client = self.root_client.chat.completions
        if self.http_async_client is not None:
            scheduled(self.http_async_client)
        elif self.root_async_client is not None:
            self.root_async_client = self.root_async_client.with_options(http_client=_shared_async())
            self.async_client = self.root_async_client.chat.completions
        return self

    @classmethod
    def lc_id(cls) -> list[Any]:
        """What LangChain loads when it is given a serialised one."""
        return ChatOpenAI.lc_id()
