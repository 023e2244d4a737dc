import pytest

from agentsched.sim.intervals import estimate, student_quantile


@pytest.mark.parametrize(
    ("degrees", "tabled"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (29, 2.045), (1000, 1.962)]
)
def test_students_quantile(degrees: int, tabled: float):
    assert student_quantile(degrees) == pytest.approx(tabled, rel=2e-3)


def test_an_interval():
    one = estimate([0.8, 0.9, 1.0])
    assert (one.mean, one.half) == (pytest.approx(0.9), pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3))
    alone = estimate([0.8])
    assert (alone.mean, alone.low, alone.half) == (0.8, None, None)
    with pytest.raises(ValueError, match="no value"):
        estimate([])
