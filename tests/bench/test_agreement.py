"""``agentsched sim agree``: a few short runs, simulated and in real time."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from agentsched.bench.agreement import Agreement, agree, number_of_runs, prepared, stretch_for
from agentsched.bench.live_runs import prompt_of
from agentsched.cli.main import main
from agentsched.emulator.words import count_tokens
from agentsched.engine.profile import HardwareProfile
from agentsched.errors import ConfigError
from agentsched.sim.averages import averages_of
from agentsched.sim.grid import PolicyChoice
from agentsched.sim.replay.figures import Figures
from agentsched.sim.scenario import Scenario
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.stretching import fastest_tpot_s, stretched
from agentsched.sim.workload import draw_runs

SHORT = {
    "version": 1,
    "name": "short",
    "load": 8.0,
    "duration": 10.0,
    "warm_up": 0.0,
    "endpoints": [
        {"name": "a", "profile": "study-8b-h800"},
        {"name": "b", "profile": {"ttft_median_s": 0.05, "ttft_sigma": 0.1, "tpot_median_s": 0.01, "tpot_sigma": 0.1}},
    ],
    "workflows": [
        {
            "name": "w",
            "share": 1,
            "stages": [
                {
                    "step": "x",
                    "prompt": 200,
                    "output": {"median": 20, "sigma": 0.4},
                    "tool": {"median": 0.05, "sigma": 0},
                },
                {"step": "y", "prompt": 300, "output": {"median": 10, "sigma": 0.4}, "width": {"least": 2, "most": 2}},
            ],
        }
    ],
    "outputs": {"most": 60},
    "deadlines": {"multiples": [{"times": 20, "share": 1}]},
}


@pytest.fixture
def short() -> Scenario:
    return load_scenario(SHORT)


def test_the_same_runs_end_alike_on_both_sides(short: Scenario):
    made = prepared(short, stretch=1.0, runs=8, load=None)
    ended: list[int] = []
    result = agree(made, PolicyChoice("weighted_least_outstanding"), [1], ended=lambda: ended.append(1))
    assert result.runs == len(ended) == number_of_runs(made, [1]) > 2
    assert result.live.attainment == result.simulated.attainment == 1.0
    assert result.same_verdict == 1.0
    assert result.live.outcomes == result.simulated.outcomes
    # Nobody expects the last milliseconds of a busy machine; answers of another length would be far off.
    assert result.live.latency_p50_s == pytest.approx(result.simulated.latency_p50_s, rel=0.5)


def test_faults_and_cut_runs_come_on_both_sides():
    hard = {
        **SHORT,
        "endpoints": SHORT["endpoints"][:1],
        "faults": {"planned": [{"endpoints": ["a"], "at": 0.0, "duration": 30}]},
        "deadlines": {"multiples": [{"times": 1, "share": 1}], "plus": 0.3, "on_late": "raise"},
    }
    made = prepared(load_scenario(hard), stretch=1.0, runs=4, load=None)
    result = agree(made, PolicyChoice("weighted_least_outstanding"), [1])
    assert result.live.attainment == result.simulated.attainment == 0.0
    assert set(result.live.outcomes) <= {"deadline", "error"}


def test_stretching_keeps_everything_in_proportion(short: Scenario):
    slow = stretched(short, 3.0)
    engines = [(one.engine, other.engine) for one, other in zip(short.endpoints, slow.endpoints, strict=True)]
    for profile, slower in engines:
        if isinstance(profile, HardwareProfile):
            assert slower.step_base_s == pytest.approx(3 * profile.step_base_s)
            assert slower.prefill_tokens_per_s == pytest.approx(profile.prefill_tokens_per_s / 3)
        else:
            assert slower.ttft_median_s == pytest.approx(3 * profile.ttft_median_s)
    assert fastest_tpot_s(slow) == pytest.approx(3 * fastest_tpot_s(short))
    assert stretch_for(short) == pytest.approx(0.030 / fastest_tpot_s(short))
    both = [
        draw_runs(one, 1, load=None, duration_s=one.duration, clients=1, mean_ideals_s=averages_of(one).ideal_s)
        for one in (short, slow)
    ]
    assert len(both[0]) == len(both[1]) > 20
    for run, slower_run in zip(*both, strict=True):
        assert slower_run.arrival_s == pytest.approx(3 * run.arrival_s)
        assert [call.output_tokens for call in slower_run.calls] == [call.output_tokens for call in run.calls]
        # The network's milliseconds keep their length.
        assert slower_run.ideal_s == pytest.approx(3 * run.ideal_s, rel=0.2)


def test_what_cannot_be_stretched():
    with pytest.raises(ConfigError, match="cannot be stretched"):
        stretched(load_scenario({**SHORT, "arrivals": {"kind": "recorded", "times": [1.0]}}), 2.0)


def test_prompts_have_the_planned_tokens_and_begin_alike_within_a_lineage(short: Scenario):
    chain = load_scenario("s1")
    runs = draw_runs(chain, 1, load=2, duration_s=20, clients=1, mean_ideals_s=averages_of(chain).ideal_s)
    for run in runs:
        prompts = [prompt_of(run, k) for k in range(len(run.calls))]
        for call, prompt in zip(run.calls, prompts, strict=True):
            assert count_tokens(f"<|user|>{prompt}\n<|assistant|>") == call.input_tokens
        pairs = [(j, k) for j in range(len(prompts)) for k in range(j)]
        for j, k in pairs:
            shorter = min(len(prompts[j]), len(prompts[k]))
            alike = prompts[j][:shorter] == prompts[k][:shorter]
            assert alike == (run.calls[j].lineage == run.calls[k].lineage)
    assert len({prompt_of(run, 0)[:40] for run in runs}) == len(runs)


def figures(attainment: float, p95: float) -> Figures:
    return Figures(10, 10, attainment, 1.0, p95, None, {})


@pytest.mark.parametrize(
    ("attainment", "p95", "within"), [(0.9, 10.0, True), (0.88, 10.9, True), (0.86, 10.0, False), (0.9, 11.2, False)]
)
def test_the_bars(attainment, p95, within):
    one = Agreement("p", (1,), 10, figures(0.9, 10.0), figures(attainment, p95), None, 0.0, 0.0, 0.0)
    assert one.within is within


@pytest.mark.parametrize(("share", "starved"), [(0.0, False), (0.019, False), (0.021, True)])
def test_a_side_without_cores_is_told(share, starved, monkeypatch):
    one = Agreement("p", (1,), 10, figures(0.9, 10.0), figures(0.8, 10.0), None, 0.0, 0.0, share)
    assert (one.starved, one.to_dict()["starved"]) == (starved, starved)
    monkeypatch.setattr("agentsched.cli.sim_agree.agree", lambda *asked, **more: one)
    run = CliRunner().invoke(main, ["sim", "agree", "s1", "--runs", "1"])
    assert run.exit_code == 1
    assert ("kept the live side from its cores" in run.stdout) is starved


def test_the_command(tmp_path: Path):
    path = tmp_path / "short.yaml"
    path.write_text(yaml.safe_dump({**SHORT, "load": 20.0}), encoding="utf-8")
    runner = CliRunner(catch_exceptions=False)
    result = runner.invoke(main, ["sim", "agree", str(path), "--runs", "4", "--stretch", "1", "--json"])
    told = json.loads(result.stdout)
    (policy,) = told["policies"]
    assert (told["scenario"], told["stretch"], policy["policy"]) == ("short", 1.0, "weighted_least_outstanding")
    assert result.exit_code == (0 if policy["within"] else 1)
    assert 0.0 <= policy["starved_share"] < 1.0
