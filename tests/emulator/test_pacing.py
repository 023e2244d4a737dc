"""The pacing histogram and the order in which steps are begun."""

from __future__ import annotations

import numpy as np
import pytest

from agentsched.emulator.conductor import Cue, plan_starts
from agentsched.emulator.pacing import PacingHistogram


def test_quantiles_are_within_a_tenth() -> None:
    histogram = PacingHistogram()
    values = np.random.default_rng(0).lognormal(-8, 1, 5000)
    for value in values:
        histogram.add(float(value))
    for share in (0.5, 0.95, 0.99):
        assert histogram.quantile_s(share) == pytest.approx(np.quantile(values, share), rel=0.11)
    assert histogram.summary()["worst_s"] == values.max()


def test_early_counts_as_much_as_late() -> None:
    histogram = PacingHistogram()
    histogram.add(-0.001)
    histogram.add(0.001)
    assert histogram.summary()["early_share"] == 0.5
    assert histogram.quantile_s(1.0) == histogram.worst_s == 0.001


def test_histograms_add_up_and_begin_anew() -> None:
    one, other = PacingHistogram(), PacingHistogram()
    one.add(0.001)
    other.add(-0.5)
    one.merge(other)
    assert (one.count, one.early, one.worst_s) == (2, 1, 0.5)
    one.clear()
    assert (one.count, one.quantile_s(0.95)) == (0, 0.0)


def test_a_step_alone_is_centred_on_its_instant() -> None:
    cue = Cue(10.0, 0.0006)
    assert plan_starts([cue]) == pytest.approx(9.9997)


def test_steps_that_coincide_are_centred_together() -> None:
    cues = [Cue(10.0, 0.0006), Cue(10.0002, 0.0006)]
    assert plan_starts(cues) == pytest.approx(10.0001 - 0.0006)
    apart = [Cue(10.0, 0.0006), Cue(10.01, 0.0006)]
    plan_starts(apart)
    assert apart[1].start_s == pytest.approx(10.0097)


def test_nothing_begins_more_than_a_moment_early_and_no_cues_is_no_start() -> None:
    cues = [Cue(10.0, 0.002) for _ in range(8)]
    assert plan_starts(cues) == pytest.approx(10.0 - 0.0015)
    assert plan_starts([]) is None
    assert plan_starts([Cue(3.0, 0.0)]) == 3.0
