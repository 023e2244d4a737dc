"""What the promises bench tells of its results."""

import json
from dataclasses import replace

from agentsched.bench.promise_report import missed_lines, promise_bars, promise_document, promise_sheet
from agentsched.bench.promises import Options, Promises, Result

SLOW = Result("openai", "2.54.0", "as it is", 7.281, "error", "APITimeoutError", "late", 3, 0.0)
IN_TIME = Result("openai", "2.54.0", "decorated", 2.01, "error", "DeadlineExceeded", "late", 1, 0.0)
ENDLESS = Result("crewai", "1.15", "as it is", 30.0, "none", "", "", 1, 0.0)
ANSWERED = Result("crewai", "1.15", "decorated", 1.15, "answer", "", "", 2, 0.0)
PROMISES = Promises(
    Options(rows=("openai", "crewai", "autogen")),
    (SLOW, IN_TIME, ENDLESS, ANSWERED),
    {"autogen": "autogen-agentchat is not installed"},
)


def with_decorated(result: Result) -> Promises:
    return replace(PROMISES, results=(SLOW, result))


def test_a_row_says_what_was_set_and_what_happened_either_way() -> None:
    sheet = promise_sheet(PROMISES)
    assert sheet.columns == ("what the user set", "as it is", "decorated", "deadline")
    assert sheet.rows == (
        (
            "openai 2.54.0: `timeout=2, max_retries=2`, silent upstream",
            "7.28 s, APITimeoutError, 3 req",
            "2.01 s, DeadlineExceeded, 1 req",
            "2 s",
        ),
        (
            "crewai 1.15: `max_execution_time=1`, call of 6 s",
            ">30.00 s, neither, 1 req",
            "1.15 s, answer, 2 req",
            "1 s",
        ),
    )


def test_the_bar_counts_decorated_programs_only() -> None:
    [bar] = promise_bars(PROMISES)
    assert (bar.measured, bar.met) == ("2 of 2 rows", True)
    assert missed_lines(PROMISES) == ["autogen: left out, autogen-agentchat is not installed"]


def test_a_late_row_misses_the_bar_and_is_named() -> None:
    late = with_decorated(replace(IN_TIME, seconds=2.31))
    assert [bar.met for bar in promise_bars(late)] == [False]
    assert missed_lines(late)[0] == "openai: ended 0.31 s after its deadline (DeadlineExceeded)"


def test_a_program_that_was_given_up_is_late_however_short_the_patience() -> None:
    assert [bar.met for bar in promise_bars(with_decorated(replace(IN_TIME, seconds=1.0, outcome="none")))] == [False]


def test_a_result_of_a_machine_too_busy_does_not_count() -> None:
    busy = with_decorated(replace(IN_TIME, seconds=2.5, starved_s=0.4))
    assert [bar.met for bar in promise_bars(busy)] == [None]
    assert "openai: does not count, a thread waited 0.40 s for a core" in missed_lines(busy)


def test_the_document_holds_every_result() -> None:
    document = json.loads(json.dumps(promise_document(PROMISES), allow_nan=False))
    assert [(row["row"], row["arm"]) for row in document["rows"]] == [
        ("openai", "as it is"),
        ("openai", "decorated"),
        ("crewai", "as it is"),
        ("crewai", "decorated"),
    ]
    assert [row["allowed_s"] for row in document["rows"]][:2] == [None, 2.3000000000000003]
    assert document["missing"] == {"autogen": "autogen-agentchat is not installed"}
