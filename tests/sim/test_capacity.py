"""How much load a pool carries."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner

from agentsched.cli.main import main
from agentsched.sim.capacity import Capacity
from tests.sim.conftest import SMALL


def reached(load: float, attainment: float) -> SimpleNamespace:
    return SimpleNamespace(load=load, attainment=SimpleNamespace(mean=attainment))


def searched(start: float, knee: float, precision: float = 0.03) -> tuple[Capacity, list[float]]:
    """A pool of which everything below ``knee`` is in time, and half above it."""
    search, tried = Capacity(start, 0.95, precision), []
    while (load := search.next_load) is not None:
        tried.append(load)
        search.tell(reached(load, 1.0 if load <= knee else 0.5))
    return search, tried


@pytest.mark.parametrize("knee", [0.31, 2.0, 2.9, 77.0])
@pytest.mark.parametrize("precision", [0.01, 0.2])
def test_the_knee_is_found(knee: float, precision: float):
    search, tried = searched(2.0, knee, precision)
    assert search.load is not None
    assert search.load <= knee < search.too_much.load <= search.load * (1 + precision) * 1.0001
    assert len(set(tried)) == len(tried) < 25


def test_a_pool_that_carries_nothing_or_everything_ends_the_search():
    nothing, tried = searched(2.0, 0.0)
    assert (nothing.load, nothing.carried, nothing.too_much.load) == (None, None, min(tried))
    everything, tried = searched(2.0, float("inf"))
    assert (everything.load, everything.too_much) == (max(tried), None)
    assert len(tried) < 15


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump({**SMALL, "duration": 3.0}), encoding="utf-8")
    return tmp_path


def invoke(*arguments: str):
    return CliRunner(catch_exceptions=False).invoke(main, ["sim", "capacity", *arguments])


QUICK = ("--seeds", "1-2", "--jobs", "1", "--precision", "0.3", "--attainment", "0.8")


def test_the_command_compares_policies(small: Path):
    arguments = ("small.yaml", *QUICK, "--from", "20", "--policy", "weighted_least_outstanding", "--policy", "random")
    found = invoke(*arguments, "--json")
    assert found.exit_code == 0
    good, bad = json.loads(found.stdout)["results"]
    assert (good["policy"], good["ratio"], bad["policy"]) == ("weighted_least_outstanding", 1.0, "random")
    assert bad["load"] < good["load"]
    assert bad["ratio"] == pytest.approx(bad["load"] / good["load"])
    for one in (good, bad):
        assert one["carried"]["attainment"]["mean"] >= 0.8 > one["too_much"]["attainment"]["mean"]
        assert one["carried"]["seeds"] == [1, 2]
    assert "weighted_least_outstanding" in invoke(*arguments).stdout


def test_a_pool_that_carries_nothing_is_told_so_though_no_run_comes_at_the_lowest_loads(small: Path):
    hopeless = {"multiples": [{"times": 0.001, "share": 1}], "plus": 0}
    Path("small.yaml").write_text(yaml.safe_dump({**SMALL, "duration": 3.0, "deadlines": hopeless}), encoding="utf-8")
    (found,) = json.loads(invoke("small.yaml", *QUICK, "--json").stdout)["results"]
    assert (found["load"], found["carried"]) == (None, None)
    assert found["too_much"]["attainment"]["mean"] == 0.0


def test_recorded_deadlines_will_do(small: Path):
    rows = [{"arrival_s": k, "input_tokens": 50, "output_tokens": 20, "deadline_s": 30} for k in range(5)]
    Path("calls.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    content = {key: value for key, value in SMALL.items() if key not in ("deadlines", "workflows")}
    recorded = {**content, "duration": 3.0, "workload": {"trace": "calls.jsonl"}}
    Path("recorded.yaml").write_text(yaml.safe_dump(recorded), encoding="utf-8")
    (found,) = json.loads(invoke("recorded.yaml", *QUICK, "--precision", "1", "--json").stdout)["results"]
    assert found["carried"]["lateness_p95"]["mean"] < 1.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("small.yaml", "--from", "1,2"), "--from: more than one"),
        (("small.yaml", "--from", "0"), "out of range"),
        (("small.yaml", "small.yaml"), "asked for twice"),
        (("free.yaml",), "has no deadlines that could be met"),
        (("small.yaml", "--attainment", "0"), "--attainment"),
    ],
)
def test_mistakes_are_told(small: Path, arguments: tuple[str, ...], said: str):
    content = {key: value for key, value in SMALL.items() if key != "deadlines"}
    Path("free.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    result = invoke(*arguments)
    assert result.exit_code != 0
    assert said in result.output
