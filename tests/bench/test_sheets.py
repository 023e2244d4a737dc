"""Tables in two forms, and sections of Markdown files that can be written again."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from agentsched.bench.sheets import Bar, Sheet, bar_lines, drawn, markdown_section, write_section
from agentsched.errors import ConfigError

SHEET = Sheet("Costs", ("front", "CPU ms"), 1, (("plain", "1.00"), (), ("ours", "0.98")))
BARS = [Bar("cheap", "0.98", met=True), Bar("right", "", met=None), Bar("fast", "3 s", met=False)]


def test_a_sheet_for_a_terminal() -> None:
    screen = io.StringIO()
    Console(width=60, file=screen).print(drawn(SHEET))
    text = screen.getvalue()
    assert all(word in text for word in ("Costs", "front", "plain", "0.98"))


def test_a_section_says_how_and_where_it_was_measured() -> None:
    lines = markdown_section("agentsched bench overhead", [SHEET], BARS, ["litellm: not installed"]).splitlines()
    assert lines[0].startswith("`agentsched bench overhead`, 2")
    assert "CPython" in lines[0]
    assert "| front | CPU ms |" in lines
    assert "| --- | ---: |" in lines
    assert lines.index("| plain | 1.00 |") + 1 == lines.index("| ours | 0.98 |")
    assert lines[-4:] == ["- not measured: right", "- MISSED: fast (3 s)", "", "- litellm: not installed"]


def test_bar_lines() -> None:
    assert bar_lines(BARS) == ["met: cheap (0.98)", "not measured: right", "MISSED: fast (3 s)"]


def test_a_section_is_replaced_and_the_rest_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    path.write_text("# Benchmarks\n", encoding="utf-8")
    write_section(path, "overhead", "first")
    write_section(path, "faults", "other")
    path.write_text(path.read_text(encoding="utf-8") + "\nThe end.\n", encoding="utf-8")
    write_section(path, "overhead", "second")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Benchmarks\n\n<!-- overhead: generated, do not edit -->\n\nsecond\n\n")
    assert "first" not in text
    assert "\n\nother\n\n<!-- faults: end -->\n\nThe end.\n" in text


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new.md"
    write_section(path, "faults", "text")
    assert path.read_text(encoding="utf-8").splitlines()[2] == "text"


def test_half_a_section_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    path.write_text("<!-- faults: end -->\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not both"):
        write_section(path, "faults", "text")
