"""What the fault bench tells of its results."""

import json
from dataclasses import replace

from agentsched.bench.fault_report import broken_lines, fault_bars, fault_document, fault_sheets
from agentsched.bench.faults import Cell, Faults, Options, Result


def result(client: str, *, second: bool, seconds: float, outcome: str, stream: bool = False) -> Result:
    cell = Cell(client, "silent", 2.0, blocking=False, stream=stream, with_second=second, warmed=False)
    return Result(cell, seconds, outcome, "E" if outcome == "error" else "", "why", outcome == "right", 2, 0, 0.0)


FAULTS = Faults(
    Options(cases=("silent",)),
    (
        result("agentsched", second=False, seconds=2.0, outcome="error"),
        result("agentsched", second=True, seconds=1.0, outcome="right"),
        result("agentsched", second=True, seconds=2.4, outcome="error", stream=True),
        result("openai", second=False, seconds=25.0, outcome="none"),
    ),
    {"litellm": "litellm is not installed"},
)


def test_a_row_per_case_and_a_column_per_setup_that_was_tried() -> None:
    [sheet] = fault_sheets(FAULTS)
    assert sheet.columns == ("case", "agentsched, alone", "agentsched, with a second", "openai, alone")
    assert sheet.rows == (("silent", "2.0 s, 0/1, 2 req", "2.4 s, 1/2, 2 req", ">25.0 s, 0/1, 2 req"),)


def test_bars_count_only_ours() -> None:
    assert [(bar.measured, bar.met) for bar in fault_bars(FAULTS)] == [
        ("2 of 3 calls", False),
        ("1 of 2 calls", False),
        ("3 of 3 calls", True),
        ("3 of 3 calls", True),
    ]
    theirs = Faults(FAULTS.options, FAULTS.results[3:], {})
    assert [bar.met for bar in fault_bars(theirs)] == [None] * 4


def test_each_broken_promise_has_a_line_that_says_where() -> None:
    where = "2 s, silent, async, stream, with a second, fresh: "
    assert broken_lines(FAULTS) == [
        where + "ended 0.40 s after the deadline (why)",
        where + "error E although the second endpoint is healthy (why)",
    ]


def test_a_result_of_a_machine_too_busy_does_not_count() -> None:
    busy = Faults(FAULTS.options, (*FAULTS.results[:2], replace(FAULTS.results[2], starved_s=0.4)), {})
    assert [bar.met for bar in fault_bars(busy)] == [True] * 4
    *broken, note = broken_lines(busy)
    assert all("fresh (waited 0.40 s for a core): " in line for line in broken)
    assert note.startswith("1 results do not count")


def test_the_document_holds_every_cell() -> None:
    document = json.loads(json.dumps(fault_document(FAULTS), allow_nan=False))
    assert [cell["client"] for cell in document["cells"]] == ["agentsched"] * 3 + ["openai"]
    assert document["cells"][0]["attempts"] == 2
    assert document["missing"] == {"litellm": "litellm is not installed"}
