from collections.abc import Callable
from typing import Any

import pytest


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
