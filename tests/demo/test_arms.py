"""One arm for real: a pool and a load generator, each a process of its own."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agentsched.demo.arms import LOG_FILE, POOL_FILE, run_arm
from agentsched.demo.plan import Plan
from agentsched.demo.results import Ended, Outcome
from agentsched.errors import AgentschedError


@pytest.fixture
def small(plan: Plan) -> Plan:
    return replace(plan, workflows=2, rate_per_s=20.0, deadline_s=30.0)


def test_the_decorated_arm_goes_through_the_pool_and_is_logged(small: Plan, tmp_path: Path) -> None:
    told: list[Ended] = []
    result = run_arm(small, "agentsched", tmp_path, told.append, time_scale=10)
    assert [ended.outcome for ended in result.ended] == [Outcome.ANSWERED] * 2
    assert tuple(told) == result.ended
    assert sum(count.requests for count in result.endpoints.values()) >= result.client.calls > 8
    assert 0 < result.client.cpu_s < result.client.wall_s
    assert result.pacing.chunks > 50
    lines = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
    calls = [line for line in lines if line["record"] == "call" and line["workflow"] == "research desk"]
    assert len(calls) == result.client.calls
    assert {call["endpoint"] for call in calls} <= set(result.endpoints)
    runs = [line for line in lines if line["record"] == "run" and line["workflow"] == "research desk"]
    assert [run["outcome"] for run in runs if "outcome" in run] == ["ok", "ok"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOG_FILE, POOL_FILE]


def test_an_agent_that_fails_to_start_is_reported_with_its_last_words(
    small: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['langgraph'] = None\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    with pytest.raises(AgentschedError, match=r"'agentsched' ended early:\n(?s:.)*langgraph"):
        run_arm(small, "agentsched", tmp_path, lambda ended: None)
