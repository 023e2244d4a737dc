"""Forecasts that do not hold: noticed, told, acted upon, and forgiven."""

import numpy as np

from agentsched.core.forecast import QuantileForecast
from agentsched.policy.deadline_aware import DeadlineAware
from agentsched.scheduler.coverage import Coverage
from tests.scheduler.bench import Bench, FixedLengths


def test_a_right_forecast_keeps_its_trust():
    coverage, rng = Coverage(), np.random.default_rng(3)
    assert not any(coverage.saw(float(rng.uniform()), 0.1, 0.9) for _ in range(2000))
    assert not coverage.lost


def test_few_answers_say_nothing():
    coverage = Coverage()
    assert not any(coverage.saw(5.0, 0.1, 0.9) for _ in range(49))
    assert coverage.saw(5.0, 0.1, 0.9)
    assert coverage.lost


def test_far_too_slow_and_far_too_fast_are_both_lost():
    for took in (5.0, 0.01):
        coverage = Coverage()
        assert sum(coverage.saw(took, 0.1, 0.9) for _ in range(200)) == 1
        assert coverage.lost


def test_trust_comes_back_at_another_threshold_than_it_goes():
    coverage = Coverage()
    for _ in range(100):
        coverage.saw(5.0, 0.1, 0.9)
    changes = [k for k in range(100) if coverage.saw(0.5, 0.1, 0.9)]
    assert changes == [59], "60 of the last 100"
    assert repr(coverage) == "Coverage(early=0.00, in_time=1.00, lost=False)"


def test_the_scheduler_falls_back_says_so_and_returns():
    """Answers of 20 tokens are forecast to be 4,000: everything comes far too soon."""
    bench = Bench("a", "b", policy=DeadlineAware(), lengths=FixedLengths(4000))
    for _ in range(60):
        bench.finish(bench.call(300.0), 20)
        bench.advance(0.1)
    assert bench.decisions[0].policy == "deadline_aware"
    assert bench.decisions[-1].policy == "weighted_least_outstanding"
    assert bench.notes == ["its forecasts no longer hold: weighted_least_outstanding takes over"]
    bench.scheduler._lengths = type("Right", (), {"predict": lambda *_: QuantileForecast.lognormal(20.0, 2.0)})()
    for _ in range(120):
        seen = bench.call(300.0)
        bench.advance(0.6)
        bench.finish(seen, 20)
    assert bench.decisions[-1].policy == "deadline_aware"
    assert bench.notes[-1] == "its forecasts hold again"


def test_who_does_not_forecast_does_not_fall_back():
    bench = Bench("a", "b", policy=DeadlineAware(fallback=False), lengths=FixedLengths(4000))
    for _ in range(60):
        bench.finish(bench.call(300.0), 20)
        bench.advance(0.1)
    assert bench.decisions[-1].policy == "deadline_aware"
    assert bench.notes == []
