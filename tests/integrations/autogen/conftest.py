from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def make_agent() -> Callable[..., Any]:
    def make(name: str = "writer", *, stream: bool = False, max_tokens: int = 6, **options: Any) -> Any:
        from autogen_agentchat import agents  # the tests are skipped where it is not installed
        from autogen_ext.models import openai as models

        client = models.OpenAIChatCompletionClient(model="gpt-4o-mini", max_tokens=max_tokens)
        return agents.AssistantAgent(name, model_client=client, model_client_stream=stream, **options)

    return make
