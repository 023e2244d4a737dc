"""The matrix counts what the harness tells, and a lost call is seen."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.matrix import NEEDS, Row, table

HERE = Path(__file__).resolve().parent


def cell(name: str, made: int, caught: int | None = None, attributed: int | None = None, **more: Any) -> dict[str, Any]:
    caught = made if caught is None else caught
    counts = {"made": made, "caught": caught, "attributed": caught if attributed is None else attributed}
    return {"cell": name, "error": None, **counts, **more}


ROW = Row(
    "Any 1.0, openai 3.0",
    (
        cell("sync", 3),
        cell("sync, threads", 6),
        cell("sync stream, executor", 6),
        cell("sync, to_thread", 6),
        cell("async, gather", 6),
        cell("its own way", 9),
        {"cell": "sync stream", "missing": "it has none"},
    ),
)


def test_cells_are_summed_by_column() -> None:
    columns = {name: ROW.column(name) for name in ("sync", "sync stream", "threads", "gather", "own", "async")}
    assert columns == {
        "sync": "3/3",
        "sync stream": "-",
        "threads": "18/18",
        "gather": "6/6",
        "own": "9/9",
        "async": "-",
    }
    assert ROW.lost == []


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (cell("sync", 3, 2), "sync: made 3, caught 2, attributed 2"),
        (cell("sync", 3, 3, 1, other_steps=["x"]), "sync: made 3, caught 3, attributed 1, steps x"),
        (cell("sync", 3) | {"error": "it broke"}, "sync: made 3, caught 3, attributed 3; it broke"),
    ],
    ids=["not caught", "elsewhere", "broken"],
)
def test_a_lost_call_is_told(lost: dict[str, Any], told: str) -> None:
    row = Row("Any 1.0", (lost,))
    assert row.lost == [told]
    assert f"- Any 1.0, {told}" in table([row])


def test_the_table_tells_sums_own_ways_and_what_is_missing() -> None:
    text = table([ROW])
    assert "| Any 1.0, openai 3.0 | 3/3 | - | - | - | 18/18 | 6/6 | 9/9 |" in text
    assert "Calls made: 36; attributed to the right run and step: 36." in text
    assert "- Any 1.0, openai 3.0: its own way" in text
    assert "- Any 1.0, openai 3.0: sync stream (it has none)" in text
    assert "Lost" not in text


def test_every_program_has_its_need_and_the_other_way_round() -> None:
    assert {path.stem for path in (HERE / "programs").glob("*.py")} == set(NEEDS)


def test_the_harness_finds_every_call_of_the_sdk() -> None:
    command = [sys.executable, str(HERE / "harness.py"), "sdk"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=55, check=True)
    cells = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cells) == 11
    assert Row("", tuple(cells)).lost == []
