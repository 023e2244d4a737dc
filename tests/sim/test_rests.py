"""What follows a call, as work along the critical path."""

import numpy as np
import pytest

from agentsched.core.forecast import QUANTILES
from agentsched.sim.plan import CallPlan
from agentsched.sim.rests import certain_rest, rests_of, typical_rest


def call(prompt, output, tool_s=0.0, parents=(), *, lineage=0, ideal_s=1.0, rest_s=0.0, wait_s=0.0) -> CallPlan:
    return CallPlan("s", prompt, output, tool_s, parents, lineage, 0.0, 0.0, ideal_s, rest_s, wait_s)


def test_a_chain_adds_up():
    calls = [call(100, 10, 1.0), call(200, 20, 2.0, (0,), lineage=1, wait_s=0.5), call(300, 30, 4.0, (1,), lineage=2)]
    rests = rests_of(calls, tail_s=0.25)
    assert rests.tolist() == [[50, 500, 2, 3.75], [30, 300, 1, 2.25], [0, 0, 0, 0.25]]


def test_a_prompt_that_goes_on_from_the_last_one_is_read_only_from_there():
    calls = [call(100, 10), call(160, 20, parents=(0,))]
    assert rests_of(calls, 0.0)[0].tolist() == [20, 50, 1, 0]


def test_the_slowest_branch_counts():
    calls = [
        call(10, 10),
        call(10, 40, parents=(0,), lineage=1, ideal_s=4.0, rest_s=1.0),
        call(10, 90, parents=(0,), lineage=2, ideal_s=9.0, rest_s=1.0),
        call(10, 5, parents=(1, 2), lineage=3),
    ]
    rests = rests_of(calls, 0.0)
    assert rests[0, 0] == 95
    assert rests[1].tolist() == rests[2].tolist() == [5, 10, 1, 0]


def test_forecasts_of_rests():
    known = certain_rest(np.array([10.0, 20.0, 3.0, 0.5]))
    assert known.output_tokens.tolist() == [10.0] * QUANTILES
    assert known.seconds(tpot_s=0.1, prefill_tokens_per_s=10.0, ttft_s=1.0)[0] == pytest.approx(1 + 2 + 3 + 0.5)
    seen = np.zeros((1000, 4))
    seen[:, 0] = np.arange(1000)
    typical = typical_rest(seen, seen[:, 0])
    assert typical.output_tokens.mean() == pytest.approx(500, rel=0.01)
    assert sorted(typical.output_tokens) != typical.output_tokens.tolist(), "in no particular order"
