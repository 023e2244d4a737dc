"""The bench of adapters: what it tells of its figures, and that its processes measure what they say."""

import json
from dataclasses import replace

import pytest

from agentsched.bench.adapter_child import AFTER, FIRST
from agentsched.bench.adapters import (
    Adapters,
    CallCost,
    ChildFailed,
    ImportCost,
    Options,
    Range,
    _child,
    _told,
    measure,
)
from agentsched.bench.adapters_report import adapter_bars, adapter_document, adapter_notes, adapter_sheets
from agentsched.errors import ConfigError

IMPORT = ImportCost(0.45, Range(0.004, 0.003, 0.005), 0.0001, Range(1.02, 0.98, 1.06))
CALL = CallCost(480e-6, Range(40e-6, -300e-6, 56e-6))
RESULT = Adapters(
    Options(("langgraph", "crewai"), imports=3),
    import_s=Range(0.02, 0.01, 0.03),
    discovery_s=0.013,
    versions={"langgraph": "1.2"},
    imports={"langgraph": IMPORT},
    calls={"langgraph": CALL},
    missing={"crewai": "crewai is not installed"},
)


def test_a_row_tells_what_is_added_and_how_the_whole_compares() -> None:
    imports, calls = adapter_sheets(RESULT)
    assert imports.rows == (
        ("langgraph 1.2", "langgraph.graph", "450", "4.0 (3.0 to 5.0)", "0.10", "4.1", "1.02 (0.98 to 1.06)"),
    )
    assert calls.rows == (("langgraph 1.2", "node of a subgraph", "480", "40 (-300 to 56)"),)


def verdicts(result: Adapters) -> list[bool | None]:
    return [bar.met for bar in adapter_bars(result)]


def test_each_bar_is_judged_by_its_own_figure_and_what_is_missing_by_none() -> None:
    assert verdicts(RESULT) == [True, True, True, None, None]
    assert verdicts(replace(RESULT, import_s=Range(0.31, 0.1, 0.4)))[0] is False
    slow = {"langgraph": replace(IMPORT, watch_s=0.0061)}  # 4 ms and 6.1 ms
    assert verdicts(replace(RESULT, imports=slow))[1] is False
    assert verdicts(replace(RESULT, calls={"langgraph": CallCost(1e-4, Range(51e-6, 1e-6, 9e-5))}))[2] is False


def test_what_is_left_out_is_said() -> None:
    assert adapter_notes(RESULT) == [
        "finding the adapters by their entry points takes 13 ms of CPU, once per process",
        "crewai: left out, crewai is not installed",
    ]


def test_the_document_holds_every_figure() -> None:
    document = json.loads(json.dumps(adapter_document(RESULT), allow_nan=False))
    assert document["imports"]["langgraph"]["adapter_s"]["median"] == 0.004
    assert document["calls"]["langgraph"]["added_s"]["high"] == 56e-6
    assert [bar["verdict"] for bar in document["bars"]] == ["met", "met", "met", "not measured", "not measured"]


def test_a_process_puts_the_adapter_in_when_it_is_told_to() -> None:
    pytest.importorskip("langgraph")
    told = {order: _child("import", "langgraph", order, "1") for order in (FIRST, AFTER)}
    assert {order: (found["adapter_s"] > 0, found["watch_s"] > 0) for order, found in told.items()} == {
        FIRST: (True, True),
        AFTER: (True, False),
    }
    assert all(found["framework_s"] > 0 for found in told.values())


@pytest.mark.parametrize(
    ("name", "needs"), [("langgraph", "langgraph"), ("crewai", "openai"), ("autogen", "autogen_agentchat")]
)
def test_a_process_calls_with_and_without_the_adapter(name: str, needs: str) -> None:
    pytest.importorskip(needs)
    told = _child("calls", name, "10", "2")
    assert [len(told["without_s"]), len(told["with_s"])] == [2, 2]


def test_a_process_keeps_bytecode_whatever_the_shell_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each import would read the sources, which no installation does."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert _told("-c", "import sys; print('true' if sys.dont_write_bytecode else 'false')") is False


def test_a_process_without_a_result_is_an_error() -> None:
    with pytest.raises(ChildFailed, match="KeyError"):
        _child("import", "magic", FIRST, "0")


def test_unknown_frameworks_are_refused() -> None:
    with pytest.raises(ConfigError, match="magic"):
        measure(Options(("magic",)))
