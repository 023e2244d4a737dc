"""What was learned of an endpoint's speed fades while nothing comes from it."""

import numpy as np
import pytest

from agentsched.core.endpoint import Endpoint, Profile
from agentsched.core.rules import BreakerRules
from agentsched.scheduler.endpoint_table import EndpointTable

HOUR = 3600.0


@pytest.fixture
def table():
    profile = Profile(ttft_s=0.2, tpot_s=0.02, tpot_per_batch_s=0.001, prefill_tokens_per_s=8000.0)
    return EndpointTable(
        [Endpoint(name=name, base_url="http://x/v1", model="m", profile=profile) for name in "ab"], BreakerRules()
    )


def look(table, now):
    return table.states(np.array([0, 1]), np.zeros(2), now)


def slow_hour(table, now, i=0):
    for _ in range(40):
        table.speeds.saw_first_token(i, 2.0, 0.2, 1.0, now)
        table.speeds.saw_pace(i, 50.0, 10.0, now)


def test_an_endpoint_that_was_slow_is_tried_again_some_day(table):
    look(table, 0.0)
    slow_hour(table, 0.0)
    slow = look(table, 1.0)
    assert slow.tpot_alone_s[0] > 0.1
    assert slow.ttft_idle_s[0] > 1.0
    for minute in range(48 * 60):
        look(table, 60.0 * minute)
    later = look(table, 48 * HOUR)
    assert later.tpot_alone_s[0] == pytest.approx(0.02, rel=0.05)
    assert later.ttft_idle_s[0] == pytest.approx(0.2, rel=0.05)
    assert later.tpot_alone_s[1] == 0.02
    table.speeds.saw_pace(0, 50.0, 10.0, 48 * HOUR)
    assert look(table, 48 * HOUR).tpot_alone_s[0] > 0.04, "fresh news count for much again"


def test_it_fades_as_fast_whoever_looks_how_often(table):
    slow_hour(table, 0.0, 0)
    slow_hour(table, 0.0, 1)
    look(table, 0.0)
    for minute in range(1, 361):
        look(table, 60.0 * minute)
    often = look(table, 6 * HOUR).tpot_alone_s[0]
    rarely = EndpointTable(table.endpoints, BreakerRules())
    slow_hour(rarely, 0.0)
    look(rarely, 0.0)
    assert look(rarely, 6 * HOUR).tpot_alone_s[0] == pytest.approx(often, rel=0.02)


def test_what_is_seen_all_the_time_does_not_fade(table):
    look(table, 0.0)
    for minute in range(600):
        slow_hour(table, 60.0 * minute)
        look(table, 60.0 * minute + 30.0)
    assert look(table, 600 * 60.0).tpot_alone_s[0] == pytest.approx(0.2, rel=0.15)


def test_misfits_make_factors(table):
    assert table.speeds.factors(0)[16] == pytest.approx(1.0, abs=0.02)
    for _ in range(60):
        table.speeds.saw_misfit(0, 2.0)
    assert table.speeds.factors(0)[16] == pytest.approx(2.0, rel=0.02)
    assert table.speeds.factors(1)[16] == pytest.approx(1.0, abs=0.02)


def test_how_often_a_stream_is_reported_changes_nothing(table):
    """The profile is corrected by answers: one that is told in forty reports weighs no more than one told in two."""
    for i, reports in enumerate((2, 40)):
        for _ in range(200):
            table.saw_answer(i, 8.0, 160)
        for k in range(reports):
            table.speeds.saw_pace(i, 160.0 / reports, 8.0 / reports, float(k))
    often, seldom = table.speeds.pace_count[1], table.speeds.pace_count[0]
    assert often == pytest.approx(2.0, rel=0.02)
    assert seldom == pytest.approx(2.0, rel=0.02)
    assert table.speeds.pace_scale[1] == pytest.approx(table.speeds.pace_scale[0], rel=0.05)
