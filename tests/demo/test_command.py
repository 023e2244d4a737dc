"""`agentsched demo` on the command line, with the comparison itself replaced."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import agentsched.cli.demo as cli
from agentsched.cli.main import main
from agentsched.demo.comparison import Watcher, require_packages
from agentsched.demo.plan import ARMS, Plan
from agentsched.demo.results import ArmResult
from agentsched.errors import ConfigError


@pytest.fixture(autouse=True)
def compared(monkeypatch: pytest.MonkeyPatch, arms: list[ArmResult]) -> list[Plan]:
    plans: list[Plan] = []

    def compare(plan: Plan, directory: Path, watcher: Watcher) -> list[ArmResult]:
        plans.append(plan)
        assert directory.is_dir()
        for name, result in zip(ARMS, arms, strict=True):
            watcher.begin(name)
            for ended in result.ended:
                watcher.ended(name, ended)
            watcher.finish(name)
        return arms

    monkeypatch.setattr(cli, "compare", compare)
    monkeypatch.setattr(cli.webbrowser, "open", lambda url: pytest.fail("opened a browser without a terminal"))
    return plans


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["demo", *arguments])


def test_json_is_one_document_on_stdout(tmp_path: Path) -> None:
    result = run("--json", "--html", str(tmp_path / "page.html"))
    assert result.exit_code == 0
    assert [each["figures"]["attained"] for each in json.loads(result.stdout)["arms"]] == [1, 2, 4]
    assert "in time" in result.stderr
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_people_get_a_table(tmp_path: Path) -> None:
    result = run("--out", str(tmp_path / "new" / "place"))
    assert result.exit_code == 0
    assert "SLO attainment" in result.stdout
    assert "agentsched explain worst --log" in result.stdout
    kept = {path.name for path in (tmp_path / "new" / "place").iterdir()}
    assert kept == {"demo.html", "demo.json"}


def test_options_reach_the_plan(compared: list[Plan], tmp_path: Path) -> None:
    options = ("--seed", "9", "--workflows", "12", "--rate", "2.5", "--deadline", "7")
    assert run(*options, "--out", str(tmp_path)).exit_code == 0
    assert (compared[0].seed, compared[0].workflows) == (9, 12)
    assert (compared[0].rate_per_s, compared[0].deadline_s) == (2.5, 7.0)


def test_an_arm_that_was_not_on_time_is_told_and_fails(arm, arms: list[ArmResult], tmp_path: Path) -> None:
    arms[0] = arm("one endpoint", latencies=(1.0,), p95_s=0.005)
    result = run("--out", str(tmp_path))
    assert result.exit_code == 1
    assert "did not keep time" in result.stdout


@pytest.mark.parametrize("wrong", [("--rate", "0"), ("--deadline", "-1"), ("--workflows", "0"), ("--seed", "x")])
def test_values_that_make_no_sense_are_refused(wrong: tuple[str, str], compared: list[Plan]) -> None:
    assert run(*wrong).exit_code == 2
    assert not compared


def test_missing_packages_are_named_with_the_command_that_installs_them() -> None:
    with pytest.raises(ConfigError, match=r"needs langgraph; install it with: pip install 'agentsched\[demo\]'"):
        require_packages(lambda name: None if name == "langgraph" else object())
    require_packages()
