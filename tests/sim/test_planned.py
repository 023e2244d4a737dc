"""Faults at given instants, and endpoints that serve some models only."""

import json
from pathlib import Path

import pytest

from agentsched.errors import ConfigError
from agentsched.policy.least_outstanding import SpeedWeightedLeastOutstanding
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.simulation import Setup, simulate
from tests.sim.conftest import SMALL


def write(folder: Path, **over: object) -> Path:
    file = folder / "scenario.yaml"
    file.write_text(json.dumps({**SMALL, **over}), encoding="utf-8")
    return file


def planned(tmp_path: Path, *faults: dict[str, object]) -> Path:
    return write(tmp_path, faults={"planned": list(faults)})


def test_a_group_that_is_down_gets_nothing_done_meanwhile(tmp_path: Path) -> None:
    down = planned(tmp_path, {"endpoints": ["slow"], "at": 0, "duration": "1000s"})
    outcome = simulate(load_scenario(str(down)), SpeedWeightedLeastOutstanding, Setup(seed=3))
    assert {name: load.output_tokens > 0 for name, load in outcome.loads.items()} == {
        "fast": True,
        "slow-1": False,
        "slow-2": False,
    }
    assert {run.outcome for run in outcome.runs} <= {"ok", "late", "error"}


def test_a_slow_endpoint_makes_runs_longer_in_that_interval_only(tmp_path: Path) -> None:
    endpoints = [SMALL["endpoints"][0]]
    plain = simulate(load_scenario(str(write(tmp_path, endpoints=endpoints))), SpeedWeightedLeastOutstanding)
    faults = {"planned": [{"endpoints": ["fast"], "at": "10s", "duration": "1000s", "factor": 4.0}]}
    slowed = simulate(
        load_scenario(str(write(tmp_path, endpoints=endpoints, faults=faults))), SpeedWeightedLeastOutstanding
    )
    before, after = [], []
    for one, other in zip(plain.runs, slowed.runs, strict=True):
        (before if max(one.ended_s, other.ended_s) < 10.0 else after).append(other.latency_s / one.latency_s)
    assert before
    assert before == pytest.approx([1.0] * len(before))
    assert sum(after) / len(after) > 1.5


def test_an_unknown_endpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fastt"):
        load_scenario(str(planned(tmp_path, {"endpoints": ["fastt"], "at": "1s", "duration": "1s"})))


def test_recorded_calls_go_to_the_models_they_ask_for(tmp_path: Path) -> None:
    rows = [
        {"run_id": f"r{k}", "arrival_s": k, "model": model, "input_tokens": 50, "output_tokens": 20}
        for k, model in enumerate(["big", "little", "little", "else"] * 3)
    ]
    (tmp_path / "calls.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    first, second = SMALL["endpoints"]
    scenario = {key: value for key, value in SMALL.items() if key != "workflows"} | {
        "name": "models",
        "workload": {"trace": "calls.jsonl", "arrivals": "calls.jsonl", "in_order": True},
        "endpoints": [{**first, "models": ["big"]}, {**second, "count": 1, "models": ["little", "other"]}],
    }
    file = tmp_path / "models.yaml"
    file.write_text(json.dumps(scenario), encoding="utf-8")
    with pytest.raises(ConfigError, match="else"):
        simulate(load_scenario(str(file)), SpeedWeightedLeastOutstanding)
    scenario["endpoints"].append({**first, "name": "any"})
    file.write_text(json.dumps(scenario), encoding="utf-8")
    outcome = simulate(load_scenario(str(file)), SpeedWeightedLeastOutstanding)
    assert {run.outcome for run in outcome.runs} == {"ok"}
