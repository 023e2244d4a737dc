import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentsched_crewai import install


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
    def make(role: str = "Writer", *, stream: bool = False, max_tokens: int = 6, **options: Any) -> Any:
        import crewai  # the tests are skipped where it is not installed

        model = crewai.LLM(model="gpt-4o-mini", stream=stream, max_tokens=max_tokens)
        return crewai.Agent(role=role, goal="g", backstory="b", llm=model, **options)

    return make


@pytest.fixture
def make_task() -> Callable[..., Any]:
    def make(agent: Any, name: str | None = None, **options: Any) -> Any:
        import crewai

        return crewai.Task(description="Do it.", expected_output="text", agent=agent, name=name, **options)

    return make
