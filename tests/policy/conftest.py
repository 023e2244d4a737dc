"""Situations made by hand."""

from collections.abc import Callable, Sequence

import pytest

from agentsched import testing
from agentsched.core.call import ModelCall
from agentsched.core.decision import Situation

Make = Callable[..., Situation]


@pytest.fixture
def situation() -> Make:
    """One endpoint per dict: what differs from an idle one; keywords: tokens, input_tokens, cached."""

    def make(
        *endpoints: dict[str, float],
        tokens: float = 100.0,
        input_tokens: int = 0,
        cached: Sequence[float] | None = None,
    ) -> Situation:
        call = ModelCall("c", "r", "w", "s", 0, "m", input_tokens=input_tokens)
        return testing.situation(*endpoints, call=call, output_tokens=tokens, cached_tokens=cached)

    return make
