"""``agentsched replay``: a log of a simulation, made again on the same pool and on others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from agentsched.cli.main import main
from agentsched.policy.least_outstanding import SpeedWeightedLeastOutstanding
from agentsched.scheduler.actions import Action, Record
from agentsched.scheduler.events import Event
from agentsched.sim.averages import averages_of
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.outcome import RunResult
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.simulation import Setup, Simulation
from agentsched.sim.workload import draw_runs
from agentsched.telemetry.encoding import LogEncoder
from tests.sim.conftest import SMALL

POLICY = "weighted_least_outstanding"
HARDWARE = {"quick": "study-8b-h800", "other": "study-8b-v100"}
SCENARIO: dict[str, Any] = {
    **SMALL,
    "endpoints": [{"name": name, "profile": profile} for name, profile in HARDWARE.items()],
    "knowledge": {"profile_error": 0},
    "progress": 0.1,
    "load": 4.0,
}


def logged(path: Path, **keys: Any) -> list[RunResult]:
    """Simulate, and write the decision log that a live process would have written."""
    scenario = load_scenario({**SCENARIO, **keys})
    averages = averages_of(scenario)
    encoder = LogEncoder(wall_offset_s=1e9, prompts=False)
    with path.open("wb") as file:

        def watch(event: Event, now: float, actions: list[Action]) -> None:
            for action in actions:
                line = encoder.line(action.record) if isinstance(action, Record) else None
                file.write(line or b"")

        simulation = Simulation(
            scenario, SpeedWeightedLeastOutstanding, Setup(knowledge=Knowledge.LEARNED), averages, watch
        )
        simulation.run(draw_runs(scenario, 1, load=None, duration_s=20.0, clients=1, mean_ideals_s=averages.ideal_s))
    return simulation.results


def pool(**fields: Any) -> dict[str, Any]:
    """A configuration of the endpoints on named hardware; ``fields`` go to each of them."""
    return {
        "version": 1,
        "endpoints": [
            {
                "name": name,
                "base_url": f"http://{name}.invalid/v1",
                "model": "model",
                "kind": "vllm",
                "profile": profile,
            }
            | fields
            for name, profile in HARDWARE.items()
        ],
        "policy": {"name": POLICY},
        "stream": {"continuation": False},
    }


Replay = Callable[..., Result]


@pytest.fixture
def replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Runs the command in a folder with ``log.jsonl`` and the given pool."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, content: dict[str, Any] | None = None, log: str = "log.jsonl") -> Result:
        Path("other.yaml").write_text(yaml.safe_dump(content or pool()), encoding="utf-8")
        runner = CliRunner(catch_exceptions=False)
        return runner.invoke(main, ["replay", *([log] if log else []), "--pool", "other.yaml", *arguments])

    return invoke


def document(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_same_pool_and_policy_give_what_was_recorded(replay: Replay):
    results = logged(Path("log.jsonl"))
    told = document(replay("--json"))
    recorded, (again,) = told["recorded"], told["replayed"]
    assert recorded["runs"] == again["runs"] == len(results)
    assert recorded["attainment"] == pytest.approx(sum(run.met for run in results) / len(results))
    assert again["attainment"] == pytest.approx(recorded["attainment"], abs=0.03)
    for figure in ("latency_p50_s", "latency_p95_s"):
        # Eighty runs near the knee: one call placed elsewhere moves others, so they are alike and not the same.
        assert again[figure] == pytest.approx(recorded[figure], rel=0.1)
    assert again["by_workflow"].keys() == {"chain", "single"}
    assert {one["basis"] for one in told["endpoints"]} == {f"profile {name}" for name in HARDWARE.values()}
    assert told["replayed"] == document(replay("--json"))["replayed"]


def test_another_pool_policy_load_and_deadline(replay: Replay):
    logged(Path("log.jsonl"))
    slow = pool(profile={"ttft_s": 0.2, "tpot_s": 0.08, "tpot_per_batch_s": 0.001})
    alike = document(replay("--json", "--deadline", "8s"))
    slower = document(replay("--json", "--deadline", "8s", content=slow))
    assert slower["recorded"] == alike["recorded"]
    assert slower["replayed"][0]["attainment"] < alike["replayed"][0]["attainment"] - 0.2
    crowded = document(replay("--json", "--load", "10", "--policy", POLICY, "--policy", "shortest_expected_completion"))
    assert [one["policy"] for one in crowded["replayed"]] == [POLICY, "shortest_expected_completion"]
    assert crowded["replayed"][0]["latency_p95_s"] > 1.05 * alike["replayed"][0]["latency_p95_s"]


def test_optional_steps_are_left_out_as_live(replay: Replay):
    stages = [
        {"step": "plan", "prompt": 400, "output": {"median": 40, "sigma": 0.3}},
        {"step": "critique", "prompt": 400, "output": {"median": 300, "sigma": 0.3}, "optional": True},
        {"step": "final", "prompt": 400, "output": {"median": 40, "sigma": 0.3}},
    ]
    logged(Path("log.jsonl"), workflows=[{"name": "chain", "share": 1.0, "stages": stages}], skip={"min_gain": 1})
    calm, hurried = (document(replay("--json", "--deadline", deadline)) for deadline in ("60s", "3s"))
    assert calm["recorded"]["skipped"] == calm["replayed"][0]["skipped"] == 0
    assert hurried["replayed"][0]["skipped"] > 0
    assert hurried["replayed"][0]["attainment"] > hurried["recorded"]["attainment"]
    assert f"; {hurried['replayed'][0]['skipped']} optional" in " ".join(replay("--deadline", "3s").stdout.split())


def test_late_runs_may_be_cut(replay: Replay):
    logged(Path("log.jsonl"))
    slow = pool(profile={"tpot_s": 0.2})
    outcomes = [
        document(replay("--json", "--on-late", how, content=slow))["replayed"][0]["outcomes"]
        for how in ("raise", "ignore")
    ]
    assert "deadline" in outcomes[0]
    assert "late" in outcomes[1]


def test_hosted_endpoints_take_their_latency_from_the_log_where_it_knows_them(replay: Replay):
    logged(Path("log.jsonl"))
    hosted = pool(kind="openai", profile={"ttft_s": 9.0, "tpot_s": 0.5})
    hosted["endpoints"].append({**hosted["endpoints"][0], "name": "new", "profile": {"ttft_s": 5.0, "tpot_s": 0.5}})
    told = document(replay("--json", content=hosted))
    bases = {one["name"]: one["basis"] for one in told["endpoints"]}
    assert "streamed answers in the log" in bases["quick"]
    assert "configured figures" in bases["new"]
    assert told["replayed"][0]["latency_p50_s"] == pytest.approx(told["recorded"]["latency_p50_s"], rel=0.5)


def test_what_had_to_be_assumed_is_told(replay: Replay):
    logged(Path("log.jsonl"))
    text = Path("log.jsonl").read_text(encoding="utf-8").replace('"model":"model"', '"model":"gpt-old"')
    Path("log.jsonl").write_text(text + "{broken\n", encoding="utf-8")
    result = replay()
    assert "calls of models that the pool does not name (gpt-old): any endpoint may serve them" in " ".join(
        result.stdout.split()
    )
    assert "skipped: log.jsonl:" in result.stderr
    for words in ("recorded", POLICY, "met deadline", "chain", "quick: profile study-8b-h800", "network assumed"):
        assert words in result.stdout


def test_traces_without_times_need_a_rate(replay: Replay):
    rows = "".join(f"r{k},plan,100,40\nr{k},write,200,80\n" for k in range(30))
    Path("t.csv").write_text("run_id,step,prompt_tokens,output_tokens\n" + rows, encoding="utf-8")
    told = document(replay("--json", "--rate", "2", "--deadline", "30s", "--network", "0", log="t.csv"))
    assert (told["replayed"][0]["runs"], told["replayed"][0]["attainment"]) == (30, 1.0)
    assert told["recorded"]["attainment"] is None
    result = replay(log="t.csv")
    assert (result.exit_code, "no run tells when it arrived" in result.stderr) == (2, True)


def test_a_log_that_is_named_twice_is_replayed_once(replay: Replay):
    logged(Path("log.jsonl"))
    assert document(replay("./log.jsonl", "--json")) == document(replay("--json"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--policy", "best"), "unknown policy"),
        (("--load", "0"), "--load: out of range"),
        (("--deadline", "soon"), "--deadline"),
        (("--workflow", "none"), "no run of this workflow"),
        (("--seeds", "x"), "--seeds"),
    ],
)
def test_mistakes_are_told(replay: Replay, arguments, said):
    Path("log.jsonl").write_text(
        json.dumps({"record": "call", "run_id": "r", "input_tokens": 1, "output_tokens": 2, "at_s": 5.0}),
        encoding="utf-8",
    )
    result = replay(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert replay(log="nothing.jsonl").exit_code == 2
