import math

import pytest

from agentsched.errors import ConfigError
from agentsched.workflow.hints import NO_HINTS, Hints, merged_hints


def merged(before: Hints = NO_HINTS, calls_so_far: int = 0, **said: object) -> Hints:
    given = {"expected_calls": None, "output_tokens": None, "repeatable": None} | said
    return merged_hints(before, calls_so_far=calls_so_far, **given)  # type: ignore[arg-type]


def test_nothing_said_is_nothing_known() -> None:
    assert merged() == NO_HINTS
    assert NO_HINTS.remaining_calls(3) is None


def test_what_is_not_said_again_stays() -> None:
    hints = merged(merged(output_tokens=300), repeatable=False)
    assert (hints.output_tokens, hints.repeatable) == (300, False)


def test_expected_calls_count_down_from_where_they_were_said() -> None:
    hints = merged(expected_calls=3, calls_so_far=5)
    assert [hints.remaining_calls(index) for index in (5, 6, 7, 8)] == [2.0, 1.0, 0.0, 0.0]


def test_another_run_counts_its_own_calls() -> None:
    hints = merged(expected_calls=3, output_tokens=20, repeatable=False, calls_so_far=5).for_another_run()
    assert hints == Hints(output_tokens=20, repeatable=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expected_calls", -1),
        ("expected_calls", math.nan),
        ("expected_calls", math.inf),
        ("expected_calls", "3"),
        ("expected_calls", True),
        ("output_tokens", 0),
        ("output_tokens", 1.5),
        ("output_tokens", True),
        ("repeatable", 1),
    ],
)
def test_an_unusable_value_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"hint\.{field}: .*allowed:"):
        merged(**{field: value})
