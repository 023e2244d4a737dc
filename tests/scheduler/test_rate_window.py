"""Requests or tokens per minute: never more than the limit in any 60 seconds, and none of it wasted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.scheduler.rate_window import RateWindow

GAPS = st.lists(st.floats(0.0, 30.0), min_size=1, max_size=60)


@given(GAPS, st.floats(1.0, 100.0), st.integers(0, 10**6))
def test_no_window_of_sixty_seconds_holds_more_than_the_limit(gaps, limit, seed):
    rng = np.random.default_rng(seed)
    window, now, spent = RateWindow(limit), 100.0, []
    for gap in gaps:
        now += gap
        amount = float(rng.uniform(0.1, limit))
        now += window.wait_s(now, amount)
        window.spend(now, amount)
        spent.append((now, amount))
    for start, _ in spent:
        inside = sum(amount for at, amount in spent if start <= at < start + 60.0 - 1e-6)
        assert inside <= limit * (1 + 1e-9) + 1e-6


@given(GAPS, st.integers(1, 10))
def test_the_wait_is_not_longer_than_needed(gaps, limit):
    window, now = RateWindow(limit), 0.0
    for gap in gaps:
        now += gap
        wait_s = window.wait_s(now, 1.0)
        if wait_s > 1e-3:
            assert window.wait_s(now + wait_s - 1e-3, 1.0) > 0
        now += wait_s
        window.spend(now, 1.0)


def test_spending_and_waiting():
    window = RateWindow(10.0)
    window.spend(0.0, 4.0)
    window.spend(20.0, 4.0)
    assert window.wait_s(20.0, 2.0) == 0.0
    assert window.wait_s(20.0, 3.0) == 40.0
    assert window.wait_s(20.0, 9.0) == 60.0
    assert window.used(59.9) == 8.0
    assert window.used(60.0) == 4.0


def test_more_than_the_limit_goes_when_nothing_else_is_there():
    window = RateWindow(10.0)
    assert window.wait_s(0.0, 25.0) == 0.0
    window.spend(0.0, 25.0)
    assert window.wait_s(1.0, 0.5) == 59.0


def test_corrections():
    window = RateWindow(10.0)
    first, second = window.spend(0.0, 6.0), window.spend(1.0, 4.0)
    window.correct(first, 1.0)
    assert window.used(1.0) == 5.0
    window.correct(second, 9.0)
    assert window.used(1.0) == 10.0
    assert window.used(60.5) == 9.0
    window.correct(first, 100.0)
    assert window.used(60.5) == 9.0, "it was over when it was corrected"
    assert window.used(61.0) == pytest.approx(0.0)
    window.correct(second, 100.0)
    assert window.used(61.0) == 0.0


def test_what_others_spent_counts_and_expires_evenly():
    window = RateWindow(10.0)
    window.others_spent(0.0, 6.0)
    assert window.wait_s(0.0, 4.0) == 0.0
    assert window.wait_s(0.0, 5.0) == pytest.approx(10.0), "a sixth of theirs is gone then"
    assert window.wait_s(0.0, 10.0) == pytest.approx(60.0)
    assert window.wait_s(0.0, 99.0) == pytest.approx(60.0), "more than the limit goes when nobody spends any more"
    assert window.wait_s(30.0, 7.0) == pytest.approx(0.0)
    window.others_spent(30.0, 0.0)
    assert window.wait_s(30.0, 10.0) == 0.0
    assert window.used(30.0) == 0.0


def test_own_and_others_spending_end_together():
    window = RateWindow(10.0)
    window.spend(0.0, 4.0)
    window.others_spent(30.0, 6.0)
    assert window.wait_s(30.0, 2.0) == pytest.approx(20.0), "two of theirs"
    assert window.wait_s(30.0, 5.0) == pytest.approx(30.0), "own four, and three of theirs"
    assert window.wait_s(30.0, 8.0) == pytest.approx(40.0), "own four, and four of theirs"


@given(GAPS, st.floats(1.0, 100.0), st.floats(0.0, 200.0), st.integers(0, 10**6))
def test_after_the_wait_it_fits_also_beside_others(gaps, limit, others, seed):
    rng = np.random.default_rng(seed)
    window, now = RateWindow(limit), 0.0
    for gap in gaps:
        now += gap
        if rng.uniform() < 0.3:
            window.others_spent(now - 0.5, others)
        amount = float(rng.uniform(0.1, limit))
        wait_s = window.wait_s(now, amount)
        assert 0.0 <= wait_s <= 60.0 + 1e-6
        assert window.wait_s(now + wait_s + 1e-6, amount) <= 1e-6
        now += wait_s
        window.spend(now, amount)
