"""From when on a run is short of time."""

from typing import Any

import pytest

from agentsched.core.forecast import QuantileForecast
from agentsched.core.slo import SLO
from agentsched.workflow.scope import Run
from agentsched.workflow.shortage import short_of_time

Clock = Any  # tests/conftest.py: VirtualClock


def run(clock: Clock, forecast_s: float | None = None, **slo: Any) -> Run:
    made = Run("w", SLO(**({"deadline": 20.0} | slo)))
    if forecast_s is not None:
        made.forecaster = lambda _: QuantileForecast.constant(forecast_s)
    return made


@pytest.mark.parametrize(("elapsed_s", "short"), [(0.0, False), (14.9, False), (15.0, True), (25.0, True)])
def test_in_the_last_quarter(clock: Clock, elapsed_s: float, short: bool) -> None:
    made = run(clock)
    clock.advance(elapsed_s)
    assert short_of_time(made, clock()) is short


@pytest.mark.parametrize(
    ("elapsed_s", "forecast_s", "short"),
    [(2.0, 99.0, False), (9.9, 99.0, False), (10.0, 10.1, True), (10.0, 9.9, False), (14.0, 6.1, True)],
)
def test_from_the_middle_on_by_forecast(clock: Clock, elapsed_s: float, forecast_s: float, short: bool) -> None:
    made = run(clock, forecast_s)
    clock.advance(elapsed_s)
    assert short_of_time(made, clock()) is short


def test_the_forecast_counts_at_the_percentile_that_was_asked_for(clock: Clock) -> None:
    spread = QuantileForecast.from_samples([1.0] * 80 + [30.0] * 20)
    for percentile, short in ((0.5, False), (0.95, True)):
        made = run(clock, percentile=percentile)
        made.forecaster = lambda _: spread
        clock.advance(11.0)
        assert short_of_time(made, clock()) is short


@pytest.mark.parametrize("slo", [{"deadline": None}, {"on_late": "ignore"}])
def test_never_where_nothing_cuts(clock: Clock, slo: dict[str, Any]) -> None:
    made = run(clock, 99.0, **slo)
    clock.advance(100.0)
    assert short_of_time(made, clock()) is False
