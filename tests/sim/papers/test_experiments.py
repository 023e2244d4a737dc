"""Published experiments: that each can be made, and that what is told is what was measured."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from agentsched.cli.main import main
from agentsched.errors import ConfigError
from agentsched.sim.grid import run_task
from agentsched.sim.papers.experiment import Arm, Claim, Lab, measured
from agentsched.sim.papers.table import PAPERS, find_paper, reproduce


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_every_experiment_says_what_it_is_and_what_it_assumes(name: str, tmp_path: Path) -> None:
    paper = PAPERS[name]
    arms = paper.arms(Lab(tmp_path, (1,), 0.1))
    assert paper.source
    assert paper.assumed
    keys = [(*arm.key, label) if label else arm.key for arm in arms for label in _labels(arm)]
    assert len(set(keys)) == len(keys) > 1
    assert {len(key) for key in keys} == {len(paper.columns)}
    ours = any(arm.task.policy.name == "deadline_aware" for arm in arms)
    assert ours or any("no arm of ours" in text for text in paper.assumed)


def _labels(arm: Arm) -> list[str]:
    return [window.label for window in arm.windows] or [""]


def test_one_is_made_again_and_told(tmp_path: Path) -> None:
    done = []
    paper = find_paper("goodserve-motivation")
    lab = Lab(tmp_path, (1, 2), 0.1)
    result = reproduce(paper, lab, processes=1, progress=lambda n, total: done.append((n, total)))
    assert done[-1] == (len(result.found) * 2, len(result.found) * 2)
    ours = result.found[("deadline_aware",)]
    by_hand = []
    for arm in paper.arms(lab):
        if arm.key == ("deadline_aware",):
            outcome = run_task(arm.task)
            by_hand = [run.met for run in outcome.counted]
            one = measured(arm, [outcome])[arm.key]
    assert one.attainment.mean == pytest.approx(sum(by_hand) / len(by_hand))
    assert ours.attainment.count == 2
    assert {claim.published for claim in result.claims} == {None}


def test_a_gap_is_relative_to_what_was_published() -> None:
    assert Claim("a", 200.0, 150.0).gap == pytest.approx(-0.25)
    assert Claim("a", None, 150.0).gap is None


def test_an_unknown_experiment_is_refused() -> None:
    with pytest.raises(ConfigError, match="goodserve-motivation"):
        find_paper("attention")


def test_the_command_lists_and_writes(tmp_path: Path) -> None:
    listed = CliRunner().invoke(main, ["sim", "paper", "--json"], catch_exceptions=False)
    assert [one["name"] for one in json.loads(listed.stdout)["papers"]] == list(PAPERS)
    page = tmp_path / "papers.md"
    arguments = ["sim", "paper", "goodserve-motivation", "--quick", "--jobs", "1", "--json", "--markdown", str(page)]
    made = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert made.exit_code == 0, made.output
    document = json.loads(made.stdout)
    arm = next(one for one in document["arms"] if one["policy"] == "deadline_aware")
    text = page.read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| deadline_aware |"))
    assert f"{100 * arm['attainment']['mean']:.1f} %" in row
    assert re.search(r"assumed: Poisson arrivals", text)
    assert "not public" in text


def test_a_page_that_cannot_be_written_is_told_of_before_the_work(tmp_path: Path) -> None:
    arguments = ["sim", "paper", "drift-recovery-512", "--jobs", "1", "--markdown", str(tmp_path / "none" / "page.md")]
    made = CliRunner().invoke(main, arguments)
    assert made.exit_code == 2
    assert "--markdown: cannot be written: No such file or directory" in made.output
