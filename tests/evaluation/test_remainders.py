import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from agentsched.cli.forecast_remainder import command
from agentsched.errors import ConfigError
from agentsched.evaluation.remainders import BARE, COLD, OURS, QUANTITIES, TABLE, evaluate_remainders
from agentsched.evaluation.trace import TraceCall, TraceRun, read_trace

DATA = Path(__file__).parents[3] / "shared/data/agent_trajectories/calls.parquet"


def trace(count=60, seed=1):
    """Half of the conversations say so when they are about to end."""
    rng = np.random.default_rng(seed)
    runs = []
    for k in range(count):
        length = int(rng.integers(2, 20))
        calls = [
            TraceCall(100, "agent", "m", 50 * (i + 1), prompt="thanks, bye" if i == length - 1 else "and another thing")
            for i in range(length)
        ]
        runs.append(TraceRun(f"r{k}", "chat", tuple(calls)))
    return runs


def test_what_a_prompt_says_beats_the_place_alone():
    (scored,) = evaluate_remainders(trace(), lambda done, total: None)
    assert scored.runs == 60
    for quantity in QUANTITIES:
        by_name = scored.scores[quantity]
        assert by_name[OURS].mean_pinball < by_name[TABLE].mean_pinball
        assert by_name[OURS].calls == by_name[TABLE].calls == by_name[COLD].calls
        assert 0.75 < by_name[OURS].interval_90 <= 1.0


def test_online_every_run_after_the_first_twenty_is_forecast():
    runs = trace(30)
    (scored,) = evaluate_remainders(runs, lambda done, total: None)
    for quantity in QUANTITIES:
        assert scored.online[quantity][OURS].calls == sum(len(run.calls) for run in runs[20:])
        assert scored.online[quantity][BARE].calls == scored.online[quantity][OURS].calls
    (few,) = evaluate_remainders(runs[:20], lambda done, total: None)
    assert few.online == {}


HOSTILE = {
    "nothing but tokens": lambda call: TraceCall(call.output_tokens),
    "enormous numbers": lambda call: replace(call, output_tokens=10**15, input_tokens=10**18),
    "every step another": lambda call: replace(call, step=f"step-{call.input_tokens}"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_odd_traces_are_forecast_in_finite_numbers(change):
    runs = [replace(run, calls=tuple(change(call) for call in run.calls)) for run in trace(12)]
    (scored,) = evaluate_remainders(runs, lambda done, total: None)
    for quantity in QUANTITIES:
        assert np.isfinite(scored.scores[quantity][OURS].mean_pinball)


def test_conversations_of_one_call_need_nothing_more():
    runs = [replace(run, calls=run.calls[:1]) for run in trace(40)]
    (scored,) = evaluate_remainders(runs, lambda done, total: None)
    for quantity in QUANTITIES:
        assert scored.scores[quantity][OURS].mean_pinball == 0.0
        assert scored.scores[quantity][OURS].interval_90 == 1.0


def test_workflows_of_few_conversations_are_left_out():
    assert evaluate_remainders(trace(9), lambda done, total: None) == []


def write(path, runs):
    rows = ["run_id,workflow,step,call_index,input_tokens,output_tokens,prompt"]
    for run in runs:
        for i, call in enumerate(run.calls):
            rows.append(f'{run.run_id},{run.workflow},agent,{i},{call.input_tokens},100,"{call.prompt}"')
    path.write_text("\n".join(rows), encoding="utf-8")
    return str(path)


def test_the_command(tmp_path):
    file = write(tmp_path / "runs.csv", trace(20))
    told = CliRunner().invoke(command, [file, "--json"])
    assert told.exit_code == 0, told.output
    (one,) = json.loads(told.stdout)
    assert one["runs"] == 20
    assert set(one["scores"]) == set(QUANTITIES)
    shown = CliRunner().invoke(command, [file])
    assert "survival table" in shown.stdout


def test_too_little_data(tmp_path):
    told = CliRunner().invoke(command, [write(tmp_path / "runs.csv", trace(3))])
    assert isinstance(told.exception, ConfigError)
    assert "ten or more" in str(told.exception)


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_on_recorded_agents_it_is_no_worse_than_the_table():
    pytest.importorskip("pyarrow")
    runs = [run for run in read_trace([DATA]) if run.workflow == "tau-bench/airline"]
    (scored,) = evaluate_remainders(runs, lambda done, total: None)
    for quantity in QUANTITIES:
        assert scored.scores[quantity][OURS].mean_pinball < 0.96 * scored.scores[quantity][TABLE].mean_pinball
        assert 0.88 <= scored.scores[quantity][OURS].interval_90 <= 0.95
