"""``agentsched bench`` as a user types it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from agentsched.cli.main import main

pytest.importorskip("openai")


def test_faults_as_json_and_markdown(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    arguments = ["bench", "faults", "--quick", "--deadline", "1", "--case", "500", "--markdown", str(page), "--json"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert {(cell["client"], cell["case"], cell["deadline_s"]) for cell in document["cells"]} == {
        ("agentsched", "500", 1.0)
    }
    assert len(document["cells"]) == 8
    assert "| 500 |" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["faults", "--deadline", "soon"], "'soon' is no list of seconds"),
        (["faults", "--deadline", "2,1000"], "outside 0.1 to 600"),
        (["faults", "--clients", "agentsched,curl"], "'curl' is not one of agentsched, openai, litellm"),
        (["faults", "--case", "plague"], "'plague' is not one of"),
        (["overhead", "--fronts", "magic"], "'magic' is not one of openai, agentsched"),
        (["adapters", "--only", "magic"], "'magic' is not one of langgraph, crewai, autogen"),
        (["promises", "--only", "magic"], "'magic' is not one of router, router-silent, openai"),
        (["overhead", "--rounds", "0"], "0 is not in the range"),
    ],
)
def test_mistakes_on_the_command_line(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["bench", *arguments])
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())
