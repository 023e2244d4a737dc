"""Second thoughts about a silent attempt, case by case."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.policy.rectify import Silence, Verdict, judge_silence, p_dead

SIGN = np.linspace(0.5, 1.5, 32)
"""A healthy first sign comes between 0.5 and 1.5 s."""

VAGUE = np.geomspace(0.6, 60.0, 32)
"""Any length, as far as one knows."""


def judged(waited_s: float, slack_s: float | None = 10.0, *, may_hedge: bool = True, **fields) -> Verdict:
    told = {
        "sign_samples": SIGN,
        "completion_samples": SIGN + 1.0,
        "rival_samples": SIGN + 1.0,
        "error_rate": 0.0,
        "rival_error_rate": 0.0,
        "last_call": False,
    }
    silence = Silence(waited_s=waited_s, slack_s=slack_s, **(told | fields))
    return judge_silence(silence, min_gain=0.15, may_hedge=may_hedge).verdict


@pytest.mark.parametrize(
    ("what", "waited_s", "slack_s", "fields", "expected"),
    [
        ("not yet due", 0.2, 10.0, {}, Verdict.KEEP),
        ("due", 1.0, 10.0, {}, Verdict.KEEP),
        ("as late as a healthy one ever is", 1.5, 10.0, {}, Verdict.HEDGE),
        ("far beyond", 5.0, 10.0, {}, Verdict.RESTART),
        ("far beyond, no deadline", 5.0, None, {}, Verdict.RESTART),
        ("as late as ever, no deadline", 1.5, None, {}, Verdict.HEDGE),
        ("due, no deadline", 1.0, None, {}, Verdict.KEEP),
        ("as late as ever, but the alternative has no time", 1.5, 0.5, {}, Verdict.KEEP),
        ("dead, but the alternative has no time", 5.0, 0.5, {}, Verdict.KEEP),
        ("last call, hardly due", 0.6, 3.0, {"last_call": True}, Verdict.HEDGE),
        (
            "last call, a forecast that knows nothing",
            1.0,
            0.5,
            {"last_call": True, "rival_samples": VAGUE},
            Verdict.HEDGE,
        ),
        ("the endpoint often fails", 1.2, 10.0, {"error_rate": 0.8}, Verdict.HEDGE),
        ("the alternative often fails", 1.5, 10.0, {"rival_error_rate": 1.0}, Verdict.HEDGE),
        ("alive, but too slow for the deadline", 1.0, 1.9, {"completion_samples": SIGN + 5.0}, Verdict.HEDGE),
    ],
)
def test_with_a_hedge_to_spare(what, waited_s, slack_s, fields, expected):
    assert judged(waited_s, slack_s, **fields) is expected, what


@pytest.mark.parametrize(
    ("what", "waited_s", "slack_s", "fields", "expected"),
    [
        ("as late as a healthy one ever is", 1.5, 10.0, {}, Verdict.KEEP),
        ("far beyond", 5.0, 10.0, {}, Verdict.RESTART),
        ("last call, probably alive", 0.6, 3.0, {"last_call": True}, Verdict.KEEP),
        ("last call, probably dead", 1.6, 3.0, {"last_call": True}, Verdict.RESTART),
        ("last call, cannot make it", 1.0, 2.4, {"last_call": True, "completion_samples": SIGN + 9.0}, Verdict.RESTART),
        ("last call, nobody can make it", 1.0, 0.1, {"last_call": True}, Verdict.KEEP),
    ],
)
def test_without_a_hedge(what, waited_s, slack_s, fields, expected):
    assert judged(waited_s, slack_s, may_hedge=False, **fields) is expected, what


def test_the_longer_the_silence_the_deader():
    odds = [p_dead(SIGN, waited, 0.0) for waited in (0.0, 0.6, 1.0, 1.4, 1.6, 2.0, 5.0, 1e6)]
    assert odds == sorted(odds)
    assert odds[0] == pytest.approx(0.02, abs=0.002)
    assert odds[-1] > 0.999


def test_a_bad_record_makes_it_likelier():
    odds = [p_dead(SIGN, 1.2, error_rate) for error_rate in (0.0, 0.3, 0.6, 1.0)]
    assert odds == sorted(odds)
    assert odds[-1] < 1.0


@given(
    st.lists(st.floats(1e-6, 1e5), min_size=32, max_size=32),
    st.floats(0.0, 1e6),
    st.none() | st.floats(-10.0, 1e6),
    st.floats(0.0, 1.0),
    st.booleans(),
    st.booleans(),
)
def test_every_situation_has_a_verdict(samples, waited_s, slack_s, error_rate, last_call, may_hedge):
    sign = np.array(samples)
    verdict = judged(
        waited_s, slack_s, may_hedge=may_hedge, sign_samples=sign, error_rate=error_rate, last_call=last_call
    )
    assert 0.0 < p_dead(sign, waited_s, error_rate) <= 1.0
    assert may_hedge or verdict is not Verdict.HEDGE
