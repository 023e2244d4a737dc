import numpy as np
import pytest

from agentsched.core.call import Failure, FailureKind, ModelCall
from agentsched.core.decision import Decision, Situation
from agentsched.core.forecast import QuantileForecast


def decision(**fields) -> Decision:
    told = {
        "call_id": "c",
        "run_id": "r",
        "attempt_id": "c.1",
        "step": "s",
        "at": 1.0,
        "endpoint": "a",
        "why": "first",
        "policy": "p",
        "slack_s": 5.0,
        "p_meet": 0.987,
        "ttft_s": 0.3,
        "e2e_s": 1.234,
        "e2e_p95_s": 2.0,
        "output_tokens": 20.0,
        "score": -1.3,
        "waited_s": 0.0,
        "rivals": (),
    }
    return Decision(**(told | fields))


def test_the_reason_is_a_sentence():
    assert decision().reason == "first: a by p, expects 1.23 s (P(meet) 0.99)"
    made = decision(p_meet=None, rivals=(("b", -1.5), ("c", -9.0)))
    assert made.reason == "first: a by p, expects 1.23 s (no deadline); next best b (-0.2)"


@pytest.mark.parametrize(("deadline_at", "slack_s"), [(12.0, 2.0), (9.0, -1.0), (None, None)])
def test_slack(deadline_at, slack_s):
    call = ModelCall("c", "r", "w", "s", 0, "m", input_tokens=100, deadline_at=deadline_at)
    ones = np.ones(2)
    situation = Situation(
        call, ("a", "b"), None, np.array([30.0, 200.0]), ones, ones, QuantileForecast.constant(1.0), None, None, 10.0
    )
    assert situation.slack_s == slack_s
    assert situation.uncached_tokens.tolist() == [70.0, 0.0]


def test_failures_are_told_in_words():
    assert str(Failure(FailureKind.SERVER, "HTTP 503", 503)) == "server 503: HTTP 503"
    assert str(Failure(FailureKind.RESET)) == "reset"


def test_a_soft_deadline_guides_where_a_hard_one_does_not_cut():
    call = ModelCall("c", "r", "w", "s", 0, "m", deadline_at=50.0, due_at=12.0)
    ones = np.ones(1)
    situation = Situation(call, ("a",), None, ones, ones, ones, QuantileForecast.constant(1.0), None, None, 10.0)
    assert situation.slack_s == 2.0
