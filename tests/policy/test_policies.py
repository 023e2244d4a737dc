"""Each policy on situations whose answer is plain."""

import pytest

from agentsched.errors import ConfigError
from agentsched.policy.least_outstanding import SpeedWeightedLeastOutstanding
from agentsched.policy.shortest_completion import ShortestExpectedCompletion
from agentsched.policy.table import POLICIES, make_policy

LEAST, SHORTEST = SpeedWeightedLeastOutstanding(), ShortestExpectedCompletion()


# -- speed-weighted least outstanding --------------------------------------------------------------------------------


def test_least_outstanding_takes_the_idle_one(situation):
    assert LEAST.choose(situation({"in_flight": 3.0}, {"in_flight": 1.0}, {"in_flight": 2.0})).index == 1


def test_least_outstanding_gives_a_fast_one_more(situation):
    fast, slow = {"tpot_alone_s": 0.01}, {"tpot_alone_s": 0.03}
    for running, expected in ((0.0, 0), (1.0, 0), (3.0, 1)):
        assert LEAST.choose(situation(fast | {"in_flight": running}, slow)).index == expected


def test_least_outstanding_counts_a_wait_as_calls(situation):
    assert LEAST.choose(situation({"ready_in_s": 30.0}, {"in_flight": 2.0})).index == 1
    assert LEAST.choose(situation({"ready_in_s": 1.0}, {"in_flight": 9.0})).index == 0


# -- shortest expected completion ------------------------------------------------------------------------------------


def test_shortest_takes_the_fastest_pace_for_long_answers_and_the_first_token_for_short_ones(situation):
    quick_start, quick_pace = {"ttft_idle_s": 0.1, "tpot_alone_s": 0.05}, {"ttft_idle_s": 1.0, "tpot_alone_s": 0.01}
    assert SHORTEST.choose(situation(quick_start, quick_pace, tokens=5)).index == 0
    assert SHORTEST.choose(situation(quick_start, quick_pace, tokens=500)).index == 1


def test_shortest_counts_prompts_still_to_be_read(situation):
    assert SHORTEST.choose(situation({"prefill_tokens": 40_000.0}, {}, input_tokens=1000)).index == 1


def test_shortest_goes_where_the_prefix_is_cached(situation):
    assert SHORTEST.choose(situation({}, {}, input_tokens=8000, cached=[0, 7000])).index == 1


def test_shortest_avoids_errors_but_not_for_ever(situation):
    assert SHORTEST.choose(situation({"error_rate": 0.3}, {})).index == 1
    hopeless = situation({"error_rate": 1.0}, {"ttft_idle_s": 100.0})
    assert SHORTEST.choose(hopeless).index == 0, "the penalty has a cap"


def test_shortest_counts_waiting(situation):
    assert SHORTEST.choose(situation({"ready_in_s": 5.0}, {"ttft_idle_s": 2.0})).index == 1
    assert SHORTEST.choose(situation({"ready_in_s": 1.0}, {"ttft_idle_s": 9.0})).index == 0


def test_the_toll_spares_those_who_run_already(situation):
    """A little faster for us, at the price of nine others."""
    crowded = {"in_flight": 9.0, "tpot_alone_s": 0.018, "tpot_per_batch_s": 0.0002}
    assert ShortestExpectedCompletion(toll=0.0).choose(situation(crowded, {})).index == 0
    assert ShortestExpectedCompletion(toll=1.0).choose(situation(crowded, {})).index == 1


def test_the_score_is_the_formula(situation):
    made = situation(
        {"in_flight": 2.0, "error_rate": 0.2, "tpot_per_batch_s": 0.001}, tokens=101, input_tokens=800, cached=[400]
    )
    expected = ((0.3 + 0.05) + 100 * (0.02 + 3 * 0.001)) / 0.8 + 2.0 * (0.001 * 101 + 400 / 8000)
    assert ShortestExpectedCompletion(toll=1.0).choose(made).scores[0] == pytest.approx(-expected)


# -- names in configuration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_policy_is_made_by_its_name(name):
    assert make_policy(name).name == name


def test_options_reach_the_policy(situation):
    made = make_policy("shortest_expected_completion", {"toll": 3})
    crowded = situation({"in_flight": 9.0}, {"tpot_alone_s": 0.03})
    assert made.choose(crowded).scores[0] < make_policy("shortest_expected_completion").choose(crowded).scores[0]


@pytest.mark.parametrize("toll", [-1, float("nan"), float("inf"), "high", True, None])
def test_a_bad_toll_is_refused_when_it_is_set_not_when_it_is_used(toll):
    with pytest.raises(ConfigError) as error:
        make_policy("shortest_expected_completion", {"toll": toll})
    assert error.value.field == "policy.toll"


def test_an_unknown_policy_is_refused():
    with pytest.raises(ConfigError, match=r"policy.name: unknown policy .given: 'fastest'.; allowed: .*shortest_"):
        make_policy("fastest")


def test_an_unknown_option_is_refused():
    with pytest.raises(ConfigError, match=r"policy.tolls: unknown option .given: 2.; allowed: toll"):
        make_policy("shortest_expected_completion", {"tolls": 2})
    with pytest.raises(ConfigError, match=r"allowed: none: weighted_least_outstanding takes no option"):
        make_policy("weighted_least_outstanding", {"toll": 2})


# -- policies of one's own -------------------------------------------------------------------------------------------


def test_a_class_of_one_s_own_is_made_by_its_path():
    made = make_policy("agentsched.policy.shortest_completion.ShortestExpectedCompletion", {"toll": 2.0})
    assert isinstance(made, ShortestExpectedCompletion)
    with pytest.raises(ConfigError, match=r"policy\.tolls: unknown option"):
        make_policy("agentsched.policy.shortest_completion.ShortestExpectedCompletion", {"tolls": 2})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module.Policy", "cannot be imported: No module named 'no_such_module'"),
        ("agentsched.policy.table.Missing", "cannot be imported: .*no attribute 'Missing'"),
        (".Policy", "cannot be imported"),
        ("agentsched.policy.table.POLICIES", "is no class with a method choose"),
        ("agentsched.core.call.ModelCall", "is no class with a method choose"),
    ],
)
def test_what_is_no_policy_is_told(name, said):
    with pytest.raises(ConfigError, match=rf"policy\.name: {said}.*allowed: .*my_module\.MyPolicy"):
        make_policy(name)
