"""The overhead bench measures what it says, and notices a front that cheats."""

import json
from dataclasses import replace

import pytest

from agentsched.bench import overhead
from agentsched.bench.fronts import FRONTS, Front, Target
from agentsched.bench.overhead import MODES, Cell, Options, Overhead, Ratio, WrongAnswer, measure
from agentsched.bench.overhead_report import overhead_bars, overhead_document, overhead_sheet
from agentsched.bench.packages import Missing
from agentsched.errors import ConfigError

pytest.importorskip("openai")

SMALL = Options(calls=8, rounds=2, prompt_tokens=50, chunks=3, gap_s=0.0, fronts=("openai", "agentsched"))
FEW = tuple(replace(mode, lanes=min(2, mode.lanes)) for mode in (MODES[0], MODES[3], MODES[5]))


def test_modes_are_measured_and_every_answer_checked() -> None:
    said: list[str] = []
    result = measure(replace(SMALL, modes=FEW), said.append)
    assert [(cell.mode, cell.front) for cell in result.cells] == [
        (mode.name, front) for mode in FEW for front in SMALL.fronts
    ]
    assert all(cell.cpu_s > 0 and cell.wall_s > 0 and cell.extra == 0 for cell in result.cells)
    plain = [cell.ratio for cell in result.cells if cell.front == "openai"]
    assert plain == [Ratio(1.0, 1.0, 1.0)] * len(FEW)
    assert any("round 2 of 2" in text for text in said)
    json.dumps(overhead_document(result), allow_nan=False)


def cheat(text: str) -> Front:
    async def ask(messages: object, stream: bool) -> str:
        return text

    return Front(ask, lambda messages, stream: text)


def test_a_front_that_invents_answers_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FRONTS, "cheat", lambda target: cheat("something"))
    with pytest.raises(WrongAnswer, match="is not what the server answered"):
        measure(replace(SMALL, fronts=("cheat",), modes=MODES[:1]))


def test_a_front_that_answers_from_memory_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FRONTS, "cheat", lambda target: cheat("word0 word1 word2 "))
    with pytest.raises(WrongAnswer, match="cheat made 0 requests for 8 calls"):
        measure(replace(SMALL, fronts=("cheat",), modes=MODES[:1]))


def test_a_missing_package_is_told_in_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(target: Target) -> Front:
        raise Missing("litellm is not installed")

    monkeypatch.setitem(FRONTS, "litellm-2", absent)
    result = measure(replace(SMALL, fronts=("openai", "litellm-2"), modes=MODES[:1], rounds=1))
    assert result.missing == {"litellm-2": "litellm is not installed"}
    assert ("async, whole", "litellm-2", "litellm is not installed", "", "", "") in overhead_sheet(result).rows


def test_an_unknown_front_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"fronts.*'magic'"):
        measure(replace(SMALL, fronts=("magic",)))


def measured(*cells: Cell) -> Overhead:
    return Overhead(Options(), cells, {})


WHOLE, STREAM = MODES[0].name, MODES[2].name


def cell(front: str, mode: str, cpu_ms: float, ratio: float) -> Cell:
    return Cell(front, mode, cpu_ms * 1e-3, 0.01, Ratio(ratio, ratio, ratio), 0)


def test_bars() -> None:
    plain = [cell("openai", WHOLE, 1.0, 1.0), cell("openai", STREAM, 9.0, 1.0)]
    ours = [cell("agentsched", WHOLE, 1.05, 1.05), cell("agentsched", STREAM, 12.0, 1.3)]
    litellm = [cell("litellm-2", WHOLE, 4.3, 4.3), cell("litellm-64", WHOLE, 4.0, 4.0)]
    verdicts = [(bar.verdict, bar.measured) for bar in overhead_bars(measured(*plain, *ours, *litellm))]
    assert verdicts == [("met", "1.05"), ("MISSED", "1.30"), ("MISSED", "0.26")]
    assert [bar.verdict for bar in overhead_bars(measured(*plain))] == ["not measured"] * 3


def test_turns_rotate() -> None:
    assert list(overhead._rotated(["a", "b", "c"], 4)) == ["b", "c", "a"]
