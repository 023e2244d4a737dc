"""Second thoughts about a silent attempt, case by case."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.policy.rectify import (
    SURELY_DEAD,
    Running,
    Silence,
    Verdict,
    judge_lull,
    judge_running,
    judge_silence,
    longest_lull_s,
    p_dead,
)

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


# -- attempts whose tokens flow, or flowed ---------------------------------------------------------------------------

RIVAL = np.linspace(1.0, 2.0, 32)


def running(may_move: bool = True, **fields) -> Verdict:
    given = {
        "lull_s": 0.1,
        "usual_lull_s": 0.25,
        "slowness": 1.0,
        "left_samples": np.linspace(1.0, 3.0, 32),
        "rival_samples": RIVAL,
        "slack_s": 5.0,
        "error_rate": 0.0,
        "rival_error_rate": 0.0,
        "begun": True,
    }
    return judge_running(Running(**(given | fields)), may_move=may_move).verdict


SLOW_ONE = {"slowness": 3.0, "left_samples": np.linspace(4.0, 9.0, 32)}


@pytest.mark.parametrize(
    ("what", "fields", "expected"),
    [
        ("flowing", {}, Verdict.KEEP),
        ("a usual lull", {"lull_s": 0.7}, Verdict.KEEP),
        ("a long lull", {"lull_s": 3.0}, Verdict.MIGRATE),
        ("a long lull of a server whose lulls are long", {"lull_s": 3.0, "usual_lull_s": 1.0}, Verdict.KEEP),
        ("a long lull, nothing handed over", {"lull_s": 3.0, "begun": False}, Verdict.RESTART),
        ("a long lull, a worse alternative", {"lull_s": 3.0, "degrades": True}, Verdict.DEGRADE),
        ("a long lull, no deadline", {"lull_s": 3.0, "slack_s": None}, Verdict.MIGRATE),
        ("a lull in an endpoint that often fails", {"lull_s": 1.8, "error_rate": 0.8}, Verdict.MIGRATE),
        ("too slow for its deadline", SLOW_ONE, Verdict.MIGRATE),
        ("slow, but in time", SLOW_ONE | {"slack_s": 20.0}, Verdict.KEEP),
        ("slow, no deadline", SLOW_ONE | {"slack_s": None}, Verdict.MIGRATE),
        ("late, but not slow: just long", SLOW_ONE | {"slowness": 1.2}, Verdict.KEEP),
        ("slow, and the alternative as late", SLOW_ONE | {"rival_samples": RIVAL + 8.0}, Verdict.KEEP),
        ("slow, what follows leaves no time either way", SLOW_ONE | {"slack_s": np.full(32, -1.0)}, Verdict.KEEP),
    ],
)
def test_a_running_attempt(what, fields, expected):
    assert running(**fields) is expected, what


def test_a_stream_that_flows_is_left_only_within_the_budget():
    assert running(may_move=False, **SLOW_ONE) is Verdict.KEEP
    assert running(may_move=False, lull_s=3.0) is Verdict.MIGRATE


@pytest.mark.parametrize("error_rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("usual_lull_s", [0.25, 2.0])
def test_the_longest_lull_is_where_death_is_sure(usual_lull_s, error_rate):
    lull_s = longest_lull_s(usual_lull_s, error_rate)
    for factor, sure in ((0.99, False), (1.01, True)):
        told = Running(factor * lull_s, usual_lull_s, 1.0, RIVAL, RIVAL, None, error_rate, 0.0, True)
        assert (judge_running(told, may_move=True).p_dead >= SURELY_DEAD) is sure


def test_at_the_last_call_a_lull_is_hedged_or_left_only_for_a_clear_gain():
    def lull(**over):
        facts = {
            "lull_s": 0.4,
            "usual_lull_s": 0.25,
            "slowness": 1.0,
            "left_samples": np.full(32, 0.5),
            "rival_samples": np.full(32, 0.8),
            "slack_s": 1.0,
            "error_rate": 0.0,
            "rival_error_rate": 0.0,
            "begun": False,
        }
        return Running(**(facts | over))

    assert judge_lull(lull(), may_hedge=True).verdict is Verdict.HEDGE
    assert judge_lull(lull(rival_samples=np.full(32, 2.0)), may_hedge=True).verdict is Verdict.KEEP
    assert judge_lull(lull(), may_hedge=False).verdict is Verdict.KEEP
    assert judge_lull(lull(left_samples=np.full(32, 3.0)), may_hedge=False).verdict is Verdict.RESTART
