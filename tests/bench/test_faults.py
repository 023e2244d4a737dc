"""The promise under faults, kept by the real thing: SDK, interception, scheduler, HTTP and endpoints that misbehave.

The clock is the subject here: every assertion about time is an upper bound tied to the deadline.
"""

from dataclasses import replace

import pytest

from agentsched.bench.fault_cases import FAULTS, question
from agentsched.bench.faults import OURS, Cell, Options, Result, broken_bars, run_client, run_faults
from agentsched.errors import ConfigError

pytest.importorskip("openai")

DEADLINE_S = 1.0
GRACE_S = 0.5
"""More than the bench grants: whoever runs tests has other things running."""


def results_of(options: Options, at_once: int = 12) -> list[Result]:
    return run_client(replace(options, deadlines_s=(DEADLINE_S,), at_once=at_once), OURS)


def told(results: list[Result], options: Options) -> list[str]:
    """The broken promises. What was broken in the crowd is tried once more, almost alone: a machine may be busy."""
    late = tuple({result.cell.case for result in results if broken_bars(result, grace_s=GRACE_S)})
    again = results_of(replace(options, cases=late), at_once=2) if late else []
    return [
        f"{result.cell}: {text}: {result.detail}" for result in again for text in broken_bars(result, grace_s=GRACE_S)
    ]


def test_every_fault_ends_in_time_and_a_healthy_endpoint_answers() -> None:
    options = Options(warmed=(False,))
    results = results_of(options)
    assert len(results) == len(FAULTS) * 2 * 2 * 2
    assert told(results, options) == []
    alone = [result for result in results if not result.cell.with_second]
    assert {result.outcome for result in alone} == {"error"}, "no fault leaves an endpoint useful on its own"


def test_what_was_learned_from_healthy_calls_does_not_delay_the_way_out() -> None:
    cases = ("silent", "connect refused", "stalled body", "dripping SSE comments", "cut after 0 chunks", "503")
    options = Options(cases=cases, warmed=(True,))
    results = results_of(options)
    assert len(results) == len(cases) * 2 * 2 * 2
    assert told(results, options) == []


CELL = Cell("agentsched", "silent", 2.0, blocking=False, stream=False, with_second=True, warmed=False)
RIGHT = Result(CELL, 1.0, "right", "", "", True, 2, 0, 0.0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"seconds": 2.1}, ["the right answer came late"]),
        ({"seconds": 2.5}, ["ended 0.50 s after the deadline", "the right answer came late"]),
        ({"outcome": "error", "error": "E", "content": False}, ["error E although the second endpoint is healthy"]),
        ({"outcome": "wrong"}, ["the answer is wrong"]),
        ({"outcome": "error", "content": True}, []),
        ({"extra_calls": 2}, ["2 calls more than the user made"]),
    ],
)
def test_a_broken_promise_is_noticed(change: dict[str, object], expected: list[str]) -> None:
    assert broken_bars(replace(RIGHT, **change)) == expected


def test_without_a_second_endpoint_an_error_in_time_is_what_was_promised() -> None:
    alone = replace(RIGHT, cell=replace(CELL, with_second=False), outcome="error", content=False)
    assert broken_bars(alone) == []


def test_questions_have_different_answers() -> None:
    assert len({question(number).answer for number in range(20)}) == 20


def test_unknown_names_are_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match=r"clients.*'nobody'"):
        run_faults(Options(clients=("nobody",)))
    with pytest.raises(ConfigError, match=r"cases.*'plague'"):
        run_faults(Options(cases=("plague",)))
