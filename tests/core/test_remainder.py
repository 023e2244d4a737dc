import numpy as np
import pytest

from agentsched.core.forecast import QUANTILES, QuantileForecast
from agentsched.core.remainder import RemainderForecast, RunHistory
from agentsched.errors import ConfigError


def test_seconds_are_the_sum_of_the_work_at_its_pace():
    work = [np.full(QUANTILES, value) for value in (100.0, 2000.0, 3.0, 1.5)]
    made = RemainderForecast(*work).seconds(tpot_s=0.02, prefill_tokens_per_s=4000.0, ttft_s=0.1)
    assert made == pytest.approx(np.full(QUANTILES, 2.0 + 0.5 + 0.3 + 1.5))


def test_known_seconds_stay_what_they_are_and_are_not_in_order():
    made = RemainderForecast.of_seconds(QuantileForecast.lognormal(3.0, 0.5))
    assert sorted(made.tool_s) == QuantileForecast.lognormal(3.0, 0.5).values.tolist()
    assert made.tool_s.tolist() != sorted(made.tool_s)
    assert abs(np.corrcoef(made.tool_s, np.arange(QUANTILES))[0, 1]) < 0.3
    assert not made.output_tokens.any()
    assert not made.calls.any()


def test_samples_of_another_number_are_refused():
    with pytest.raises(ConfigError, match=r"remainder\.calls"):
        RemainderForecast(*(np.zeros(n) for n in (QUANTILES, QUANTILES, 16, QUANTILES)))


def test_a_history_counts_steps_and_tokens():
    history = RunHistory()
    for step in ("plan", "search", "search"):
        history.arrived(step, 0.5)
    history.answered("plan", 100, 20)
    assert history.steps == ["plan", "search", "search"]
    assert history.counts == {"plan": 1, "search": 2}
    assert (history.input_tokens, history.output_tokens, history.tool_s) == (100, 20, 1.5)
