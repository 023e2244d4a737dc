"""Scenarios whose runs, or arrivals, were recorded."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from agentsched.errors import ConfigError
from agentsched.policy.shortest_completion import ShortestExpectedCompletion
from agentsched.sim.averages import averages_of
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.plan import RunPlan
from agentsched.sim.scenario import Scenario
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.simulation import Setup, simulate
from agentsched.sim.workload import draw_runs, mean_load, step_outputs
from tests.sim.conftest import SMALL

OWN = {key: value for key, value in SMALL.items() if key not in ("workflows", "deadlines")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a trace of five runs and one of arrivals, and scenarios beside it."""
    records = []
    for k in range(5):
        run = f"r{k}"
        records += [
            {"record": "call", "run_id": run, "workflow": "w", "step": "a", "call_index": 0, "output_tokens": 10 + k},
            {"record": "call", "run_id": run, "workflow": "w", "step": "b", "call_index": 1, "output_tokens": 40 + k},
            {"record": "run", "run_id": run, "workflow": "w", "arrival_s": 50.0 + 2 * k, "deadline_s": 3.0 + k},
        ]
        for call in records[-3:-1]:
            call["input_tokens"] = 100
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    (tmp_path / "times.csv").write_text("arrival_s\n10\n11\n14\n", encoding="utf-8")
    return tmp_path


def scenario(folder: Path, workload: dict, **keys: object) -> Scenario:
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump({**OWN, "workload": workload, **keys}), encoding="utf-8")
    return load_scenario(path)


def drawn(one: Scenario, load: float | None = None, duration_s: float = 20.0, seed: int = 1) -> list[RunPlan]:
    return draw_runs(one, seed, load=load, duration_s=duration_s, clients=1, mean_ideals_s=averages_of(one).ideal_s)


def test_recorded_runs_come_each_once_a_round(folder: Path):
    runs = drawn(scenario(folder, {"trace": "runs.jsonl"}), load=3.0)
    assert len(runs) > 40
    lengths = [run.calls[0].output_tokens for run in runs]
    assert all(sorted(lengths[k : k + 5]) == [10, 11, 12, 13, 14] for k in range(0, len(runs) - 5, 5))
    assert lengths[:5] != lengths[5:10] or lengths[5:10] != lengths[10:15]
    assert [run.deadline_s for run in runs] == [length - 7.0 for length in lengths]
    assert [call.parents for call in runs[0].calls] == [(), (0,)]
    again = drawn(scenario(folder, {"trace": "runs.jsonl"}), load=6.0)
    assert [run.calls for run in again[: len(runs)]] == [run.calls for run in runs]


def test_recorded_arrivals_and_order(folder: Path):
    own = drawn(scenario(folder, {"trace": "runs.jsonl", "arrivals": "runs.jsonl", "in_order": True}))
    assert [run.arrival_s for run in own] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert [run.calls[0].output_tokens for run in own] == [10, 11, 12, 13, 14]
    others = scenario(folder, {"trace": "runs.jsonl", "arrivals": "times.csv"})
    assert [run.arrival_s for run in drawn(others)] == [0.0, 1.0, 4.0]
    assert [run.arrival_s for run in drawn(others, load=1.0)] == [0.0, 0.5, 2.0]


def test_the_load_of_recorded_arrivals_is_what_came(folder: Path):
    as_recorded = scenario(folder, {"trace": "runs.jsonl", "arrivals": "times.csv"})
    given = scenario(folder, {"trace": "runs.jsonl"}, arrivals={"kind": "recorded", "times": [3, 5, 5, 30]})
    drawn_ones = scenario(folder, {"trace": "runs.jsonl"})
    assert [mean_load(one, None, 20.0) for one in (as_recorded, given, drawn_ones)] == [0.15, 0.15, SMALL["load"]]
    assert mean_load(as_recorded, 3.0, 20.0) == 3.0


def test_a_rule_for_deadlines_goes_before_recorded_ones_and_sizes_keep_to_the_bounds(folder: Path):
    rule = {"multiples": [{"times": 2, "share": 1}], "plus": 0}
    one = scenario(
        folder, {"trace": "runs.jsonl"}, deadlines=rule, outputs={"least": 12, "most": 42}, prompts={"most": 60}
    )
    runs = drawn(one)
    assert all(run.deadline_s == pytest.approx(2 * run.ideal_s) for run in runs)
    sizes = Counter((call.input_tokens, call.output_tokens) for run in runs for call in run.calls)
    assert sizes.keys() == {(60, n) for n in (12, 13, 14, 40, 41, 42)}


def test_time_between_calls_that_nobody_recorded_may_be_drawn(folder: Path):
    waits = [run.calls[1].wait_s for run in drawn(scenario(folder, {"trace": "runs.jsonl"}))]
    assert set(waits) == {0.0}
    tool = {"median": 2.0, "sigma": 0.5}
    waits = [run.calls[1].wait_s for run in drawn(scenario(folder, {"trace": "runs.jsonl", "tool": tool}))]
    assert len(set(waits)) == len(waits)
    assert min(waits) > 0.2


@pytest.mark.parametrize("knowledge", list(Knowledge))
def test_they_are_simulated_with_every_knowledge(folder: Path, knowledge):
    one = scenario(folder, {"trace": "runs.jsonl"})
    outcome = simulate(one, ShortestExpectedCompletion, Setup(knowledge=knowledge, load=3.0))
    assert {run.outcome for run in outcome.runs} == {"ok"}
    assert outcome.calls == 2 * len(outcome.runs)
    assert step_outputs(one)["w", "b"].median == pytest.approx(42, rel=0.01)


def test_a_workload_stands_in_the_place_of_the_bases_workflows(folder: Path):
    (folder / "on-base.yaml").write_text("base: s1\nname: mine\nworkload: {trace: runs.jsonl}\n", encoding="utf-8")
    one = load_scenario(folder / "on-base.yaml")
    assert one.workflows == []
    assert one.workload is not None
    (folder / "back.yaml").write_text(
        yaml.safe_dump({"base": "on-base.yaml", "name": "b", "workflows": SMALL["workflows"]}), encoding="utf-8"
    )
    assert load_scenario(folder / "back.yaml").workload is None


@pytest.mark.parametrize(
    ("workload", "said"),
    [
        ({"trace": "none.csv"}, ["none.csv", "no such file"]),
        ({"trace": "bad.csv"}, ["bad.csv:2", "output_tokens"]),
        ({"trace": "times.csv"}, ["times.csv", "prompt's and its answer's tokens"]),
        ({"trace": "runs.jsonl", "arrivals": "bad.csv"}, ["bad.csv:2"]),
        ({"trace": "runs.jsonl", "speed": 2}, ["s.yaml:", "workload.speed", "unknown key"]),
        ({}, ["s.yaml", "workload.trace", "missing"]),
    ],
)
def test_what_is_wrong_is_told_when_the_scenario_is_read(folder: Path, workload, said):
    (folder / "bad.csv").write_text("prompt_tokens,output_tokens\n1,x\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        scenario(folder, workload)
    for words in said:
        assert words in str(caught.value)


def test_either_workflows_or_a_workload(folder: Path):
    with pytest.raises(ConfigError, match="both are there"):
        scenario(folder, {"trace": "runs.jsonl"}, workflows=SMALL["workflows"])
    with pytest.raises(ConfigError, match="nothing says what is run"):
        load_scenario(dict(OWN))


def test_recorded_agent_runs_at_recorded_arrivals():
    pytest.importorskip("pyarrow")
    data = Path("../shared/data").resolve()
    if not data.exists():
        pytest.skip("needs ../shared/data")
    workload = {
        "trace": str(data / "agent_trajectories/calls.parquet"),
        "arrivals": str(data / "traces/azure_llm_2023_code.parquet"),
        "tool": {"median": 1.0, "sigma": 0.8},
    }
    one = load_scenario({"base": "s1", "name": "recorded", "workload": workload, "duration": 40})
    outcome = simulate(one, ShortestExpectedCompletion, Setup(load=0.3))
    assert len(outcome.runs) > 5
    assert any(run.workflow.startswith("tau-bench") for run in outcome.runs)
