"""What every policy must do, whatever the situation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsched.core.call import ModelCall
from agentsched.core.decision import EndpointStates, Situation
from agentsched.core.forecast import QuantileForecast
from agentsched.forecast.latency import tpot_if_joined, ttft_if_joined
from agentsched.policy.table import POLICIES, make_policy
from agentsched.testing import check_policy
from agentsched.testing.situations import IDLE

VARIANTS = [
    ("peak_ewma", {"sampled": False}),
    ("litellm_latency", {"buffer": 0.5}),
    ("litellm_shuffle", {"weights": "e0=1 gpu-1=2 api=1"}),
    ("prefix_affinity", {"bound": 1.0, "share": 0.0}),
    ("just_enough", {"load_aware": True}),
    ("fused", {"preset": "quality_heavy", "latency": 0.0}),
    ("tail_aware", {"independent": True}),
    ("deadline_aware", {"quality": 2.0}),
]


@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in sorted(POLICIES)), *VARIANTS])
def test_the_public_check(name, options):
    check_policy(lambda: make_policy(name, options), situations=70)


ROW = st.fixed_dictionaries(
    {
        "in_flight": st.integers(0, 200).map(float),
        "prefill_tokens": st.floats(0, 1e6),
        "tpot_s": st.floats(1e-9, 1e3),
        "tpot_in_flight": st.floats(1, 200),
        "seen_age_s": st.floats(0, 1e6) | st.just(np.inf),
        "excess_ttft_s": st.floats(0, 1e4),
        "tpot_alone_s": st.floats(1e-9, 1e3),
        "tpot_per_batch_s": st.floats(0, 10),
        "prefill_tokens_per_s": st.floats(1e-9, 1e9),
        "ttft_idle_s": st.floats(0, 1e3),
        "ready_in_s": st.sampled_from([0.0, 0.0, 1.0, 1e9, np.inf]),
        "price_input_usd": st.floats(0, 1),
        "price_output_usd": st.floats(0, 1),
        "quality": st.floats(0, 1),
        "error_rate": st.floats(0, 1),
        "stake_per_s": st.floats(0, 100),
        "stake_mean_per_s": st.floats(0, 100),
        "stake_tokens": st.floats(0, 1e5),
        "queue_stake_per_s": st.floats(0, 100),
        "slots": st.sampled_from([1.0, 64.0, np.inf]),
        "request_s": st.floats(0, 60),
        "token_s": st.floats(0, 1),
        "in_flight_all": st.floats(0, 1000),
        "prefill_tokens_all": st.floats(0, 1e6),
    }
)
LENGTHS = st.sampled_from([0.0, 1.0, 20.0, 1e6]).map(QuantileForecast.constant) | st.builds(
    QuantileForecast.lognormal, st.floats(1, 1e4), st.floats(0, 2)
)


@st.composite
def situations(draw):
    rows = draw(st.lists(ROW, min_size=1, max_size=6))
    states = EndpointStates(**{name: np.array([row[name] for row in rows]) for name in IDLE})
    for name in IDLE:
        getattr(states, name).flags.writeable = False
    call = ModelCall("c", "r", "w", "s", 0, "m", input_tokens=draw(st.integers(0, 10**6)), deadline_at=101.0)
    cached = np.array([draw(st.floats(0, call.input_tokens)) for _ in rows])
    return Situation(
        call=call,
        names=tuple(f"e{k}" for k in range(len(rows))),
        states=states,
        cached_tokens=cached,
        ttft_s=ttft_if_joined(states, np.maximum(0.0, call.input_tokens - cached)),
        tpot_s=tpot_if_joined(states),
        output_tokens=draw(LENGTHS),
        remainder=None,
        rest_s=None,
        now=100.0,
    )


@pytest.mark.parametrize("name", sorted(POLICIES))
@settings(max_examples=20)
@given(situation=situations())
def test_every_policy(name, situation):
    """It takes a candidate that may ever be ready, has a number for each, changes nothing, and repeats itself."""
    policy = make_policy(name)
    assert policy.name == name
    before = {field: getattr(situation.states, field).copy() for field in IDLE}
    choice = policy.choose(situation)
    assert isinstance(choice.index, int)
    assert choice.scores.shape == (len(situation.names),)
    assert not np.isnan(choice.scores).any()
    assert choice.scores[choice.index] == choice.scores.max()
    ready = situation.states.ready_in_s
    if np.isfinite(ready).any():
        assert np.isfinite(ready[choice.index])
    for field, values in before.items():
        np.testing.assert_array_equal(getattr(situation.states, field), values)
    again = policy.choose(situation)
    assert again.index == choice.index
    np.testing.assert_array_equal(again.scores, choice.scores)
