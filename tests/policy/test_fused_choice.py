"""Groups that span models of different quality and price: one choice over concrete endpoints."""

from dataclasses import replace

import pytest

from agentsched.policy.deadline_aware import DeadlineAware
from agentsched.policy.fused import Fused
from agentsched.policy.studies import SWEEPS

GOOD = {"quality": 0.9, "price_output_usd": 6e-6, "tpot_s": 0.03, "tpot_alone_s": 0.03}
FAIR = {"quality": 0.6, "price_output_usd": 2e-6, "tpot_s": 0.015, "tpot_alone_s": 0.015}
POOR = {"quality": 0.3, "price_output_usd": 5e-7, "tpot_s": 0.01, "tpot_alone_s": 0.01}


def due(situation, slack_s):
    return replace(situation, call=replace(situation.call, due_at=situation.now + slack_s))


@pytest.mark.parametrize(
    ("options", "slack_s", "expected"),
    [
        ({"cost": 0.3}, 60.0, 2),
        ({"quality": 3.0, "cost": 0.0}, 60.0, 0),
        ({"quality": 3.0, "cost": 0.0}, 1.2, 2),
        ({"quality": 3.0, "cost": 0.2}, 60.0, 1),
    ],
)
def test_ours_weighs_quality_against_money_and_time(situation, options, slack_s, expected):
    """Good quality is worth its price while there is time; near the deadline only what is fast enough counts."""
    there = due(situation(GOOD, FAIR, POOR, tokens=100), slack_s)
    assert DeadlineAware(**options).choose(there).index == expected


def test_by_default_quality_is_a_tier(situation):
    there = due(situation(GOOD, FAIR, POOR), 60.0)
    plain = due(situation(*({**one, "quality": 0.5} for one in (GOOD, FAIR, POOR))), 60.0)
    assert DeadlineAware().choose(there).scores.tolist() == DeadlineAware().choose(plain).scores.tolist()


@pytest.mark.parametrize("name", sorted(SWEEPS))
def test_a_sweep_goes_from_the_cheapest_to_the_best(situation, name):
    make = {"fused": Fused, "deadline_aware": DeadlineAware}[name]
    chosen = [make(**options).choose(due(situation(GOOD, FAIR, POOR), 60.0)).index for options in SWEEPS[name]]
    assert chosen[0] == 2
    assert chosen[-1] == 0
    assert chosen == sorted(chosen, reverse=True), "every step asks for at least as much quality"
