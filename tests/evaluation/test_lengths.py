from pathlib import Path

import numpy as np
import pytest

from agentsched.evaluation.baselines import Boosted, GlobalQuantiles, StepQuantiles, boosting_package
from agentsched.evaluation.beliefs import beliefs_of, learned_from
from agentsched.evaluation.length_report import LengthReport
from agentsched.evaluation.lengths import OURS, UNCALIBRATED, evaluate_online, evaluate_split
from agentsched.evaluation.reliability import reliability_svg, shares_below
from agentsched.evaluation.scores import LEVELS, scores_of
from agentsched.evaluation.trace import TraceCall, TraceRun, read_trace

TRAJECTORIES = Path(__file__).parents[3] / "shared/data/agent_trajectories/calls.parquet"


def quiet(done: int, total: int) -> None:
    """Progress nobody reads."""


def trace(runs: int = 60, workflow: str = "w", seed: int = 0) -> list[TraceRun]:
    """Runs whose step alternates between plans of about 300 tokens and answers of 5."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(runs):
        plans = (300 * np.exp(0.2 * rng.standard_normal(4))).astype(int)
        calls = tuple(TraceCall(tokens, step="s", model="m") for plan in plans for tokens in (int(plan), 5))
        made.append(TraceRun(f"{workflow}{number}", workflow, calls))
    return made


def test_scores_are_what_they_say():
    outcomes = np.array([10.0, 30.0])
    forecasts = np.array([[5.0, 10.0, 20.0, 25.0, 40.0]] * 2)
    made = scores_of(outcomes, forecasts)
    assert made.pinball == pytest.approx(((0 + 0.5 * 20) / 2, (0.1 * 10 + 0.9 * 10) / 2, (0.01 * 30 + 0.01 * 10) / 2))
    assert made.mean_pinball == pytest.approx(sum(made.pinball) / 3)
    assert made.coverage == (0.5, 0.5, 1.0)
    assert made.interval_90 == 0.5
    assert made.median_error == 10.0


def test_quantile_baselines_are_those_of_numpy():
    runs = trace(5)
    everything, steps = GlobalQuantiles(), StepQuantiles()
    seen = []
    for run in runs:
        for place, call in enumerate(run.calls):
            everything.learn(run, place)
            steps.learn(run, place)
            seen.append(call.output_tokens)
    np.testing.assert_allclose(everything.predict(runs[0], 0), np.quantile(seen, LEVELS))
    np.testing.assert_allclose(steps.predict(runs[0], 0), np.quantile(seen, LEVELS))
    stranger = TraceRun("x", "w", (TraceCall(1, step="other"),))
    np.testing.assert_allclose(steps.predict(stranger, 0), np.quantile(seen, LEVELS))


def test_history_beats_the_step_alone_online_and_held_out():
    runs = trace()
    online, split = evaluate_online(runs, None, quiet), evaluate_split(runs, None, quiet)
    assert split is not None
    assert online.outcomes.size == 60 * 8
    assert 0 < split.outcomes.size < online.outcomes.size
    for scored in (online, split):
        scores = scored.scores()
        assert set(scores) == {OURS, UNCALIBRATED, "global quantiles", "per-step quantiles"}
        assert scores[OURS].mean_pinball < 0.5 * scores["per-step quantiles"].mean_pinball


def test_nothing_is_known_of_a_call_before_it_is_forecast():
    """Were the outcome of a call learned before it is forecast, its one-off length would not come as a surprise."""
    runs = [TraceRun(f"r{k}", "w", (TraceCall(1000 + 77 * k, step=f"s{k}"),)) for k in range(30)]
    made = evaluate_online(runs, None, quiet)
    assert made.scores()[OURS].median_error > 50
    assert (made.forecasts[OURS][0] == made.forecasts[UNCALIBRATED][0]).all()


def test_too_few_conversations_are_not_split():
    assert evaluate_split(trace(1), None, quiet) is None


def test_caps_bound_the_forecasts():
    runs = [TraceRun(f"r{k}", "w", (TraceCall(50, step="s", max_tokens=50),)) for k in range(30)]
    assert evaluate_online(runs, None, quiet).forecasts[OURS].max() <= 50


def test_boosted_trees_see_the_history():
    package = boosting_package()
    if package is None:
        pytest.skip("neither lightgbm nor scikit-learn is installed")
    runs, trees = trace(40), Boosted(package, refit=False)
    for run in runs:
        for place in range(len(run.calls)):
            trees.learn(run, place)
    np.testing.assert_array_equal(trees.predict(runs[0], 1), everything_learned(runs).predict(runs[0], 1))
    trees.fit()
    plan, word = trees.predict(runs[0], 2), trees.predict(runs[0], 1)
    assert word[1] < 50 < 200 < plan[1]
    assert (np.diff(plan) >= 0).all()


def everything_learned(runs: list[TraceRun]) -> GlobalQuantiles:
    made = GlobalQuantiles()
    for run in runs:
        for place in range(len(run.calls)):
            made.learn(run, place)
    return made


def test_the_report_tells_workflows_after_a_switch_apart(tmp_path):
    runs = trace(40, "first") + trace(60, "second", seed=1)
    report = LengthReport(evaluate_online(runs, None, quiet), evaluate_split(runs, None, quiet), None)
    told = {one.workflow: one.calls for one in report.after_switch()}
    assert told == {"first": 40 * 8 - 200, "second": 60 * 8 - 200}
    document = report.document()
    assert document["online"]["below_per_step"] > 0.5
    assert document["split"]["calls"] > 0
    written = report.write_plots(tmp_path / "new" / "plots")
    assert [path.name for path in written] == ["reliability-online.svg", "reliability-split.svg"]
    assert all(path.read_text().startswith("<svg") for path in written)


def test_reliability_is_the_share_below_each_level():
    shares = shares_below(np.linspace(0.0, 1.0, 1001))
    np.testing.assert_allclose(shares, [(k + 0.5) / 20 for k in range(20)], atol=2e-3)
    picture = reliability_svg("a & b", {"<name>": np.array([0.5])})
    assert "a &amp; b" in picture
    assert "&lt;name&gt; (1)" in picture


def test_beliefs_are_told_once_per_step_and_model():
    runs = [*trace(20), TraceRun("n", "w", (TraceCall(7, step="nameless"),))]
    made = beliefs_of(learned_from(runs))
    assert [(one.step, one.model) for one in made] == [("nameless", ""), ("s", "m")]
    assert made[1].p5_tokens < made[1].p50_tokens <= made[1].p95_tokens


@pytest.fixture(scope="module")
def trajectories() -> list[TraceRun]:
    if not TRAJECTORIES.exists():
        pytest.skip("the recorded agent runs are not beside this checkout")
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    return read_trace([TRAJECTORIES])


def test_recorded_agents_are_forecast_better_than_by_step_and_in_bounds(trajectories):
    scored = evaluate_online(trajectories, None, quiet)
    scores = scored.scores()
    ours, raw, steps = scores[OURS], scores[UNCALIBRATED], scores["per-step quantiles"]
    assert ours.mean_pinball < 0.80 * steps.mean_pinball
    assert ours.mean_pinball <= raw.mean_pinball
    assert 0.88 <= ours.coverage[1] <= 0.92
    assert 0.88 <= ours.interval_90 <= 0.92
    for one in LengthReport(scored, None, None).after_switch():
        low, high = min(0.88, one.band_90[0]), max(0.92, one.band_90[1])
        assert low <= one.calibrated.coverage[1] <= high
        assert low <= one.calibrated.interval_90 <= high
        assert one.calibrated.mean_pinball <= 1.005 * one.uncalibrated.mean_pinball
