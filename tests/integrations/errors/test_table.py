"""The page's tables are whole: every row and column that the tests know, and no other."""

import re

from tests.integrations.errors.table import CANCELLED, PAGE, ROWS, cells, raised, tries

COLUMNS = {
    "plain HTTP",
    "openai SDK",
    "LangChain",
    "LangChain, async stream",
    "CrewAI",
    "AutoGen agent",
    "AutoGen team",
    "decorated function",
}
FRAMEWORKS = ("openai SDK", "LangGraph", "CrewAI", "AutoGen")


def test_rows_and_columns():
    assert {column for _, column in cells()} == COLUMNS
    assert [row for row, column in cells() if column == "openai SDK"] == [*ROWS, CANCELLED]


def test_every_row_says_how_often_it_is_tried():
    for row in ROWS:
        for framework in FRAMEWORKS:
            sends, requests = tries(row, framework)
            assert sends >= 1
            assert requests <= 3 * sends


def test_the_decorator_translates_deadlines_only():
    assert raised("deadline passed", "decorated function") == {"DeadlineExceeded"}
    assert [row for row in ROWS if raised(row, "decorated function")] == ["deadline passed"]


def test_the_page_has_its_four_parts():
    text = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Context", "Choice", "Consequences", "Status"]
