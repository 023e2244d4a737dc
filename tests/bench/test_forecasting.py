"""The bench of forecasts: that it measures what it says, not how fast this machine is."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from agentsched.bench.decide import Spread
from agentsched.bench.forecasting import Options, measure
from agentsched.bench.forecasting_report import forecasting_bars, forecasting_document, forecasting_sheets
from agentsched.cli.main import main


@pytest.fixture(scope="module")
def result():
    return measure(Options(calls=200, endpoints=3, asked=60, lag_s=0.6))


def test_everything_is_measured(result):
    for spread in (result.forecast, result.lesson, result.learning, result.prompt):
        assert 0.0 < spread.p50_s <= spread.p99_s
    assert result.lesson.p50_s < result.learning.p50_s
    nothing, *busy = result.lags
    assert nothing.lessons == 0
    assert all(lag.lessons >= 20 for lag in busy)
    assert all(0.0 <= lag.p50_s <= lag.p99_s <= lag.most_s for lag in result.lags)


def test_it_is_told_in_tables_and_as_json(result):
    costs, lags = forecasting_sheets(result)
    assert all(len(row) == len(costs.columns) for row in costs.rows)
    assert [row[0] for row in lags.rows] == ["nothing", "learning", "learning anew"]
    document = json.loads(json.dumps(forecasting_document(result), allow_nan=False))
    assert len(document["bars"]) == 6


def test_bars_are_met_or_missed_by_the_figures(result):
    quick, slow = Spread(1e-6, 2e-6), Spread(1e-3, 2e-3)
    million = replace(result.options, calls=1_000_000)
    quiet = [replace(lag, p99_s=0.001, relearned=3) for lag in result.lags]
    good = replace(
        result, forecast=quick, lesson=quick, prompt=quick, memory_mb=60.0, options=million, lags=tuple(quiet)
    )
    assert [bar.verdict for bar in forecasting_bars(good)] == ["met"] * 6
    late = (quiet[0], replace(quiet[1], p99_s=0.02), replace(quiet[2], p99_s=0.02))
    bad = replace(good, forecast=slow, lesson=slow, prompt=slow, memory_mb=130.0, lags=late)
    assert [bar.verdict for bar in forecasting_bars(bad)] == ["MISSED"] * 6


def test_fewer_calls_or_nothing_learned_anew_prove_nothing(result):
    quiet = tuple(replace(lag, p99_s=0.001, relearned=0) for lag in result.lags)
    *_, memory, learning, anew = forecasting_bars(replace(result, memory_mb=60.0, lags=quiet))
    assert (memory.verdict, learning.verdict, anew.verdict) == ("not measured", "met", "not measured")


def test_the_command_prints_json():
    made = CliRunner().invoke(main, ["bench", "forecast", "--calls", "100", "--watch", "0.2", "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["bench"] == "forecast"
