import numpy as np
import pytest

from agentsched.core.forecast import QUANTILES, QuantileForecast
from agentsched.forecast import calibration as module
from agentsched.forecast.calibration import Calibrator, corrected, offset_of

GROUPS = ("all", "one")


def coverage(
    forecast: QuantileForecast, outcomes: np.ndarray, calibrator: Calibrator[str], skip: int
) -> tuple[float, float, float]:
    """Shares at most the .9 quantile, below the .1 quantile, and the proportion of pinball losses, after ``skip``."""
    offsets: dict[str, np.ndarray] = {}
    hits, lows, ours, raw = [], [], [], []
    for k, outcome in enumerate(outcomes):
        made = corrected(forecast, offset_of(offsets, GROUPS))
        if k >= skip:
            hits.append(outcome <= made.quantile(0.9))
            lows.append(outcome < made.quantile(0.1))
            ours.append(loss(made, outcome))
            raw.append(loss(forecast, outcome))
        calibrator.update(GROUPS, forecast, float(outcome))
        offsets.update(calibrator.take_changes())
    return float(np.mean(hits)), float(np.mean(lows)), float(np.sum(ours) / np.sum(raw))


def loss(forecast: QuantileForecast, outcome: float) -> float:
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    error = outcome - forecast.values
    return float(np.maximum(levels * error, (levels - 1) * error).mean())


@pytest.mark.parametrize(("median", "sigma"), [(100.0, 0.3), (100.0, 1.5), (60.0, 0.6), (250.0, 0.6)])
def test_wrong_forecasts_come_to_hold_what_they_promise(median, sigma):
    outcomes = 100.0 * np.exp(0.6 * np.random.default_rng(1).standard_normal(1600))
    high, low, proportion = coverage(QuantileForecast.lognormal(median, sigma), outcomes, Calibrator(), 200)
    assert 0.88 <= high <= 0.92
    assert 0.06 <= low <= 0.14
    assert proportion < 1.0


def test_right_forecasts_lose_next_to_nothing():
    outcomes = 100.0 * np.exp(0.6 * np.random.default_rng(2).standard_normal(2000))
    high, _, proportion = coverage(QuantileForecast.lognormal(100.0, 0.6), outcomes, Calibrator(), 0)
    assert high == pytest.approx(0.9, abs=0.015)
    assert proportion < 1.005


def test_what_has_fewer_names_is_followed_faster_than_by_one_group():
    """A quantity of one group falls to a quarter: how far the median has followed after twenty outcomes."""
    followed = []
    for parts in (1, 4):
        calibrator: Calibrator[str] = Calibrator(parts)
        for _ in range(20):
            calibrator.update(("all",), QuantileForecast.lognormal(400.0, 0.3), 100.0)
        followed.append(float(calibrator.take_changes()["all"][QUANTILES // 2]))
    assert followed[1] < 1.5 * followed[0] < 0.0


def test_quantities_may_be_nothing():
    """Calls that remain are often 0."""
    outcomes = np.random.default_rng(3).poisson(1.5, 1500).astype(float)
    high, _, _ = coverage(QuantileForecast.constant(0.0), outcomes, Calibrator(), 300)
    assert 0.87 <= high <= 0.93


def test_corrected_levels_stay_in_order_and_are_not_negative():
    offset = np.random.default_rng(4).normal(0.0, 2.0, QUANTILES)
    made = corrected(QuantileForecast.lognormal(3.0, 1.0), offset)
    assert (np.diff(made.values) >= 0).all()
    assert (made.values >= 0).all()
    same = QuantileForecast.constant(1.0)
    assert corrected(same, None) is same


def test_unknown_groups_lean_on_the_wide_ones():
    offsets = {"all": np.ones(QUANTILES)}
    assert offset_of(offsets, GROUPS) is offsets["all"]
    assert offset_of(offsets, ("other",)) is None
    total = offset_of(offsets | {"one": np.full(QUANTILES, 2.0)}, GROUPS)
    assert total is not None
    assert total.tolist() == [3.0] * QUANTILES


def drifts(outcomes: np.ndarray, forecast: QuantileForecast) -> list[int]:
    calibrator: Calibrator[str] = Calibrator()
    return [k for k, outcome in enumerate(outcomes) if calibrator.update(GROUPS, forecast, float(outcome)) is not None]


def test_no_change_is_no_drift():
    for seed in range(5):
        outcomes = 100.0 * np.exp(0.6 * np.random.default_rng(seed).standard_normal(3000))
        assert drifts(outcomes, QuantileForecast.lognormal(100.0, 0.6)) == []


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_drift_is_noticed_once_and_soon(factor):
    outcomes = 100.0 * np.exp(0.4 * np.random.default_rng(6).standard_normal(900))
    outcomes[600:] *= factor
    found = drifts(outcomes, QuantileForecast.lognormal(100.0, 0.4))
    assert found
    assert 600 <= found[0] < 640


def test_the_narrowest_group_is_named_with_its_counts():
    calibrator: Calibrator[str] = Calibrator()
    found = None
    for _ in range(100):
        found = found or calibrator.update(GROUPS, QuantileForecast.lognormal(10.0, 0.1), 1e6)
    assert found is not None
    assert found.group == "one"
    assert str(found) == "40 of the last 40 were more than nine in ten forecasts allow"


def test_widening_moves_the_ends_apart_at_once():
    calibrator: Calibrator[str] = Calibrator()
    forecast = QuantileForecast.lognormal(100.0, 0.5)
    for outcome in 100.0 * np.exp(0.5 * np.random.default_rng(7).standard_normal(100)):
        calibrator.update(GROUPS, forecast, float(outcome))
    before = corrected(forecast, offset_of(calibrator.take_changes(), GROUPS))
    calibrator.widen("one")
    made = calibrator.take_changes()
    assert set(made) == {"one"}
    after = corrected(forecast, made["one"])
    assert after.quantile(0.95) > 1.1 * before.quantile(0.95)
    assert after.quantile(0.05) < 0.9 * before.quantile(0.05)


def test_only_what_changed_is_handed_out_and_it_does_not_change():
    calibrator: Calibrator[str] = Calibrator()
    calibrator.update(GROUPS, QuantileForecast.constant(5.0), 9.0)
    first = calibrator.take_changes()
    assert set(first) == set(GROUPS)
    assert calibrator.take_changes() == {}
    before = first["one"].copy()
    calibrator.update(GROUPS, QuantileForecast.constant(5.0), 9.0)
    assert first["one"].tolist() == before.tolist()
    with pytest.raises(ValueError, match="read-only"):
        first["one"][0] = 1.0


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_MOST_GROUPS", 10)
    calibrator: Calibrator[str] = Calibrator()
    for k in range(100):
        calibrator.update(("all", f"g{k}"), QuantileForecast.constant(5.0), 9.0)
    assert len(calibrator.groups) <= 10
    assert "all" in calibrator.groups
    assert len(calibrator.take_changes()) <= 10
