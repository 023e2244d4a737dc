import operator
from typing import Annotated, TypedDict

import pytest


class State(TypedDict, total=False):
    """What the graphs of these tests pass on; ``seen`` collects (tag, step)."""

    number: int
    rounds: Annotated[int, operator.add]
    seen: Annotated[list[tuple[str, str | None]], operator.add]


@pytest.fixture
def state_type() -> type[State]:
    return State
