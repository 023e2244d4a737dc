"""What learning anew gains on recorded agents whose lengths change; ``-s`` prints the table of docs/forecasts.md."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agentsched.evaluation.feeding import Feeder
from agentsched.evaluation.lengths import _ours
from agentsched.evaluation.trace import read_trace

CALLS = Path(__file__).parents[2].parent / "shared" / "data" / "agent_trajectories" / "calls.parquet"
LEVELS = np.array([0.5, 0.9, 0.99])


@pytest.fixture(scope="module")
def agents():
    if not CALLS.exists():
        pytest.skip("needs the recorded agents")
    pytest.importorskip("pyarrow")
    found = {}
    for run in read_trace([CALLS]):
        found.setdefault(run.workflow, []).append(run)
    return found


def losses(feeder, runs, factor, begin):
    made = []
    for number, run in enumerate(runs, begin):
        scaled = replace(
            run,
            calls=tuple(replace(one, output_tokens=max(1, int(one.output_tokens * factor))) for one in run.calls),
        )
        for place, call, history in feeder.play(scaled, number):
            error = scaled.calls[place].output_tokens - np.array(
                [_ours(feeder.known, call, history)[0].quantile(level) for level in LEVELS]
            )
            made.append(float(np.maximum(LEVELS * error, (LEVELS - 1.0) * error).mean()))
    return made


def after_a_change(runs, factor, feeder):
    half = len(runs) // 2
    losses(feeder, runs[:half], 1.0, 0)
    made = losses(feeder, runs[half:], factor, half)
    return float(np.mean(made[100:300])), float(np.mean(made[300:700]))


@pytest.mark.parametrize(("factor", "most"), [(0.5, (0.9, 0.96)), (2.0, (1.03, 0.99))])
def test_learning_anew_loses_less_after_a_change(agents, factor, most):
    runs = next(runs for name, runs in agents.items() if "magentic-one" in name)
    feeder = Feeder()
    without = after_a_change(runs, factor, Feeder(relearn=False))
    with_it = after_a_change(runs, factor, feeder)
    print(f"x {factor}: without {without}, with {with_it}", *feeder.relearned, sep="\n  ")
    assert feeder.drifts > 0
    assert with_it[0] <= most[0] * without[0]
    assert with_it[1] <= most[1] * without[1]
