import numpy as np
import pytest

from agentsched.core.forecast import LEVELS, QUANTILES, normal_quantiles
from agentsched.forecast.rest_calibration import RestCalibrator, moved

PER_CALL = np.array([100.0, 1000.0, 1.0, 0.5])
Z = normal_quantiles(QUANTILES)
SPREAD = np.exp(0.6 * Z)


class Follower:
    """Runs of calls whose rest is as forecast times ``scale``; half of what makes a run long all its calls share."""

    def __init__(self, seed=1):
        self.rng = np.random.default_rng(seed)
        self.calibrator = RestCalibrator()
        self.drifts = 0

    def forecasts(self, calls):
        left = np.arange(calls, 0, -1.0)
        return left[:, None, None] * PER_CALL[:, None] * SPREAD

    def run(self, calls=12, scale=1.0, shown=None):
        shared = 0.6 * np.sqrt(0.5) * self.rng.standard_normal()
        own = 0.6 * np.sqrt(0.5) * self.rng.standard_normal((calls, 4))
        came = np.arange(calls, 0, -1.0)[:, None] * PER_CALL * np.exp(shared + own) * scale
        forecasts = self.forecasts(calls) if shown is None else shown
        offsets = self.calibrator.offsets()
        inside = []
        for forecast, outcome in zip(forecasts, came, strict=True):
            told = forecast if offsets is None else moved(forecast, offsets, PER_CALL)
            low, high = np.array([np.interp((0.05, 0.95), LEVELS, row) for row in np.sort(told, axis=1)]).T
            inside.append((outcome >= low) & (outcome <= high))
        self.drifts += self.calibrator.learn(forecasts, came, PER_CALL, whole=True)
        return np.array(inside)


@pytest.mark.parametrize("seed", range(2))
def test_forecasts_that_are_right_stay_nearly_as_they_are(seed):
    follower = Follower(seed)
    inside = np.concatenate([follower.run() for _ in range(200)])
    assert (inside.mean(axis=0) > 0.88).all()
    assert (inside.mean(axis=0) < 0.96).all()
    assert follower.drifts == 0


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_coverage_is_back_after_a_hundred_calls(scale):
    kept = []
    for seed in range(4):
        follower = Follower(seed)
        for _ in range(60):
            follower.run()
        after = np.concatenate([follower.run(scale=scale) for _ in range(25)])
        kept.append(after[100:300].mean())
    assert np.mean(kept) > 0.85


def test_certain_forecasts_are_left_alone():
    calibrator = RestCalibrator()
    forecasts = np.ones((5, 4, QUANTILES)) * PER_CALL[:, None]
    for _ in range(100):
        assert not calibrator.learn(forecasts, np.tile(PER_CALL, (5, 1)), PER_CALL, whole=True)
    assert calibrator.offsets() is None


def test_a_change_is_told_once_and_widens():
    calibrator = RestCalibrator()
    forecasts = np.ones((5, 4, QUANTILES)) * PER_CALL[:, None]
    told = [calibrator.learn(forecasts, np.tile(3 * PER_CALL, (5, 1)), PER_CALL, whole=True) for _ in range(8)]
    assert told == [False] * 7 + [True]
    offsets = calibrator.offsets()
    assert (offsets[:, LEVELS > 0.8] > 0).all()
    assert (offsets[:, (LEVELS > 0.2) & (LEVELS < 0.8)] == 0).all()
    assert (offsets[:, LEVELS < 0.2] < 0).all()


def test_a_run_that_was_cut_short_does_not_say_that_forecasts_are_too_long():
    rng = np.random.default_rng(2)
    follower, cut = Follower(2), RestCalibrator()
    forecasts = follower.forecasts(12)
    for _ in range(60):
        came = np.arange(12, 0, -1.0)[:, None] * PER_CALL * np.exp(0.6 * rng.standard_normal((12, 4))) * 0.2
        cut.learn(forecasts, came, PER_CALL, whole=False)
    offsets = cut.offsets()
    assert offsets is None or (offsets[:, LEVELS < 0.2] == 0).all()


def test_moved_futures_keep_their_ranks_and_their_middle():
    rng = np.random.default_rng(3)
    follower = Follower(3)
    for _ in range(10):
        follower.run(scale=4.0)
    offsets = follower.calibrator.offsets()
    futures = rng.permuted(np.tile(PER_CALL[:, None] * SPREAD, 1), axis=1)
    told = moved(futures, offsets, PER_CALL)
    assert (np.diff(np.take_along_axis(told, np.argsort(futures, axis=1), axis=1)) >= 0.0).all()
    before, after = np.sort(futures, axis=1), np.sort(told, axis=1)
    middle = (LEVELS > 0.2) & (LEVELS < 0.8)
    assert after[:, middle] == pytest.approx(before[:, middle])
    assert (after[:, -2] > 1.5 * before[:, -2]).all()
    assert (told >= 0.0).all()
    nothing = moved(np.zeros((4, QUANTILES)), -np.abs(offsets), PER_CALL)
    assert (nothing == 0.0).all()
