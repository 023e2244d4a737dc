"""Requests or tokens per minute: a bucket of one minute's worth that refills evenly, and nothing of it is wasted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.scheduler.rate_bucket import RateBucket
from tests.scheduler.bench import Bench, FixedLengths, endpoint

GAPS = st.lists(st.floats(0.0, 30.0), min_size=1, max_size=60)


@given(GAPS, st.floats(1.0, 100.0), st.integers(0, 10**6))
def test_no_interval_holds_more_than_the_bucket_and_what_flowed_into_it(gaps, limit, seed):
    rng = np.random.default_rng(seed)
    bucket, now, spent = RateBucket(limit), 100.0, []
    for gap in gaps:
        now += gap
        amount = float(rng.uniform(0.1, limit))
        now += bucket.wait_s(now, amount)
        bucket.spend(now, amount)
        spent.append((now, amount))
    for k, (start, _) in enumerate(spent):
        total = 0.0
        for at, amount in spent[k:]:
            total += amount
            assert total <= limit * (1.0 + (at - start) / 60.0) * (1 + 1e-9) + 1e-6


@given(GAPS, st.integers(1, 10))
def test_the_wait_is_not_longer_than_needed(gaps, limit):
    bucket, now = RateBucket(limit), 0.0
    for gap in gaps:
        now += gap
        wait_s = bucket.wait_s(now, 1.0)
        if wait_s > 1e-3:
            assert bucket.wait_s(now + wait_s - 1e-3, 1.0) > 0
        now += wait_s
        bucket.spend(now, 1.0)


def test_it_refills_evenly_up_to_the_limit():
    bucket = RateBucket(60.0)
    bucket.spend(0.0, 60.0)
    assert bucket.wait_s(0.0, 1.0) == pytest.approx(1.0)
    assert bucket.wait_s(0.5, 1.0) == pytest.approx(0.5)
    assert bucket.wait_s(10.0, 10.0) == pytest.approx(0.0)
    assert bucket.wait_s(500.0, 60.0) == 0.0
    assert bucket.wait_s(500.0, 61.0) == 0.0, "more than the limit goes when it is full"
    bucket.spend(500.0, 90.0)
    assert bucket.wait_s(500.0, 1.0) == pytest.approx(31.0)


def test_corrections():
    bucket = RateBucket(10.0)
    first = bucket.spend(0.0, 10.0)
    bucket.correct(first, 4.0)
    assert bucket.wait_s(0.0, 6.0) == 0.0
    assert bucket.used(0.0) == 4.0
    bucket.correct(first, 10.0)
    assert bucket.wait_s(0.0, 1.0) == pytest.approx(6.0)
    bucket.correct(first, 0.0)
    assert bucket.wait_s(0.0, 10.0) == 0.0
    assert bucket.used(0.0) == 0.0


def test_a_refusal_and_a_servers_word_count_more_than_the_books():
    bucket = RateBucket(60.0)
    bucket.left(0.0, 5.0)
    assert bucket.wait_s(0.0, 5.0) == 0.0
    assert bucket.wait_s(0.0, 6.0) == pytest.approx(1.0)
    bucket.refused(10.0)
    assert bucket.wait_s(10.0, 1.0) == pytest.approx(1.0)
    bucket.left(10.0, 60.0)
    assert bucket.wait_s(10.0, 1.0) == pytest.approx(1.0), "what others leave is not ours"


def test_a_word_that_was_on_its_way_wastes_nothing():
    """600 a minute, used to the full: every answer says that none was left when it was sent, 80 ms ago."""
    bucket, now, sent = RateBucket(600.0), 0.0, 0
    bucket.spend(now, 600.0)
    while now < 60.0:
        now += max(bucket.wait_s(now, 1.0), 1e-6)
        bucket.spend(now, 1.0)
        bucket.left(now + 0.08, 0.0)
        now += 0.08
        sent += 1
    assert sent > 590


def test_who_is_more_urgent_goes_first():
    """A large call is not starved by small ones that come later."""
    bucket = RateBucket(60.0)
    bucket.spend(0.0, 60.0)
    bucket.enter((5.0, 1), 30.0)
    assert bucket.wait_s(10.0, 1.0, (9.0, 2)) == pytest.approx(21.0)
    assert bucket.wait_s(10.0, 1.0, (4.0, 3)) == pytest.approx(0.0)
    assert bucket.wait_s(10.0, 30.0, (5.0, 1)) == pytest.approx(20.0)
    bucket.leave((5.0, 1))
    assert bucket.wait_s(10.0, 1.0, (9.0, 2)) == pytest.approx(0.0)


def test_what_others_spend_slows_the_refill_until_it_is_old():
    bucket = RateBucket(60.0)
    bucket.others_spent(0.0, 45.0)
    assert bucket.wait_s(0.0, 15.0) == 0.0
    bucket.spend(0.0, 15.0)
    assert bucket.wait_s(0.0, 1.0) == pytest.approx(4.0)
    bucket.others_spent(1.0, 600.0)
    assert bucket.wait_s(1.0, 1.0) < 60.0, "something is always left to try"
    bucket.others_spent(2.0, 0.0)
    assert bucket.wait_s(2.0, 1.0) <= 1.0


def test_what_one_tells_of_oneself_leaves_within_a_minute():
    bucket = RateBucket(10.0)
    bucket.spend(0.0, 6.0)
    assert bucket.used(30.0) == pytest.approx(3.0)
    bucket.spend(30.0, 1.0)
    assert bucket.used(30.0) == pytest.approx(4.0)
    assert bucket.used(95.0) == 0.0


def test_a_large_call_gets_its_tokens_although_small_ones_keep_coming():
    bench = Bench(endpoint("a", tpm=6000), lengths=FixedLengths(100))
    first = bench.call(100.0, input_tokens=5900)
    bench.finish(first, 100)
    big = bench.call(200.0, input_tokens=3900)
    began = None
    small = []
    for second in range(60):
        bench.advance(1.0)
        small.append(bench.call(300.0, input_tokens=0))
        if big.starts and began is None:
            began = second
            assert not any(seen.starts for seen in small)
    assert began is not None
    assert 38 <= began <= 41, "4,000 tokens at 100 a second"
