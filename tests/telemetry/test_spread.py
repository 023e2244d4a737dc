import pytest

from agentsched.telemetry.spread import spread, wilson_interval


def test_percentiles_are_linear_between_observations():
    one = spread([4.0, None, 1.0, 2.0, 3.0, 5.0])
    assert (one.count, one.mean, one.p50, one.max) == (5, 3.0, 3.0, 5.0)
    assert one.p90 == pytest.approx(4.6)
    assert one.p95 == pytest.approx(4.8)
    assert one.p99 == pytest.approx(4.96)


def test_nothing_known_has_no_spread():
    assert spread([None, None]) is None


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (8, 10, 0.49016, 0.94332),  # Wilson 1927, as tabulated for 8 of 10
        (0, 10, 0.0, 0.27753),
        (10, 10, 0.72247, 1.0),
        (95, 100, 0.88825, 0.97846),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_intervals(hits, count, low, high):
    assert wilson_interval(hits, count) == pytest.approx((low, high), abs=1e-5)
