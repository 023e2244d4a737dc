import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentsched_autogen import install


@pytest.fixture(autouse=True, scope="module")
def _collected() -> Iterator[None]:
    """Clients that the framework leaves unclosed are reported in their own module, where that is ignored."""
    yield
    gc.collect()


@pytest.fixture
def adapter() -> Iterator[None]:
    undo = install()
    yield
    undo()


@pytest.fixture
def make_agent() -> Callable[..., Any]:
    def make(name: str = "writer", *, stream: bool = False, max_tokens: int = 6, **options: Any) -> Any:
        from autogen_agentchat import agents  # the tests are skipped where it is not installed
        from autogen_ext.models import openai as models

        client = models.OpenAIChatCompletionClient(model="gpt-4o-mini", max_tokens=max_tokens)
        return agents.AssistantAgent(name, model_client=client, model_client_stream=stream, **options)

    return make
