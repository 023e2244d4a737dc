"""What the page on policies says runs as it stands there."""

import re
from pathlib import Path

import pytest

from agentsched.policy.table import POLICIES

PAGE = (Path(__file__).parents[2] / "docs" / "policies-baselines.md").read_text(encoding="utf-8")


def test_the_examples_run(capsys: pytest.CaptureFixture[str]):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, "policies-baselines.md", "exec"), names)
    assert 0.0 <= float(capsys.readouterr().out) <= 1.0


def test_every_policy_is_told_of():
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert told | {"deadline_aware"} == set(POLICIES)
