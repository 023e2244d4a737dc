import numpy as np
import pytest

from agentsched.sim.arrivals import arrival_times
from agentsched.sim.workload_format import Arrivals


def drawn(load: float | None, until_s: float, seed: int = 3, **keys) -> np.ndarray:
    return np.array(arrival_times(Arrivals(**keys), load, until_s, np.random.default_rng(seed)))


@pytest.mark.parametrize(("keys", "cv"), [({}, 1.0), ({"kind": "gamma", "cv": 3.0}, 3.0)])
def test_rate_and_burstiness_of_gaps(keys, cv):
    times = drawn(5.0, 8000.0, **keys)
    gaps = np.diff(times)
    assert times.size == pytest.approx(40_000, rel=0.06)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.06)


def test_a_square_wave_has_its_peak_at_its_share():
    times = drawn(5.0, 6000.0, kind="square_wave", period=60.0, high_share=0.25, high=2.0)
    in_peak = np.mod(times, 60.0) <= 15.0
    assert times.size == pytest.approx(30_000, rel=0.03)
    assert in_peak.mean() == pytest.approx(0.5, abs=0.01)


def test_a_square_wave_with_nothing_outside_its_peak():
    times = drawn(5.0, 600.0, kind="square_wave", period=60.0, high_share=0.25, high=4.0)
    assert times.size == pytest.approx(3000, rel=0.06)
    assert np.mod(times, 60.0).max() <= 15.0 + 1e-9


@pytest.mark.parametrize("keys", [{}, {"kind": "gamma", "cv": 2.0}])
def test_another_load_scales_the_same_arrivals(keys):
    slow, fast = drawn(1.0, 100.0, **keys), drawn(2.0, 50.0, **keys)
    assert fast == pytest.approx(slow / 2)


def test_recorded_instants_are_kept_or_scaled_to_the_load():
    recorded = {"kind": "recorded", "times": [4.0, 2.0, 6.0, 100.0]}
    assert drawn(None, 50.0, **recorded).tolist() == [2.0, 4.0, 6.0]
    scaled = drawn(3.0, 50.0, **recorded)
    assert scaled[-1] == pytest.approx(1.0)  # four of them: three gaps, three a second
    assert scaled[0] == 0.0
