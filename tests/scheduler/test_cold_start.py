"""What an endpoint is taken for of which nobody has said and nothing was seen."""

import numpy as np
import pytest

from agentsched.core.endpoint import Endpoint, Profile
from agentsched.core.rules import BreakerRules
from agentsched.core.shared import EndpointKnowledge
from agentsched.scheduler.cold_start import first_profiles, mean_profile
from agentsched.scheduler.endpoint_table import EndpointTable
from agentsched.scheduler.events import OthersKnow
from agentsched.scheduler.knowledge import take_over

FAST = Profile(ttft_s=0.1, tpot_s=0.005, tpot_per_batch_s=0.0001, prefill_tokens_per_s=20_000.0)
SLOW = Profile(ttft_s=0.4, tpot_s=0.08, tpot_per_batch_s=0.0016, prefill_tokens_per_s=1_250.0)


def pool(*rows: tuple[Profile, str]) -> EndpointTable:
    endpoints = [
        Endpoint(name=f"e{i}", base_url="http://x/v1", model=model, profile=profile)
        for i, (profile, model) in enumerate(rows)
    ]
    return EndpointTable(endpoints, BreakerRules())


def answers(table: EndpointTable, i: int, count: int, tpot_s: float, ttft_s: float = 0.3) -> None:
    for k in range(count):
        table.speeds.saw_first_token(i, ttft_s, float(table.rows.ttft_idle_s[i]), 1.0, float(k))
        table.speeds.saw_pace(i, 100.0, 100.0 * tpot_s, float(k))
        table.saw_answer(i, ttft_s + 100.0 * tpot_s, 100)


def test_the_mean_is_geometric():
    mean = mean_profile([FAST, SLOW])
    assert mean.tpot_s == pytest.approx(0.02)
    assert mean.ttft_s == pytest.approx(0.2)
    assert mean.prefill_tokens_per_s == pytest.approx(5_000.0)


def test_it_starts_from_the_mean_of_those_that_were_described():
    table = pool((FAST, "m"), (SLOW, "m"), (Profile(), "m"))
    assert table.rows.tpot_alone_s[2] == table.rows.tpot_s[2] == pytest.approx(0.02)
    assert table.rows.ttft_idle_s[2] == pytest.approx(0.2)
    assert table.rows.prefill_tokens_per_s[2] == pytest.approx(5_000.0)


def test_those_of_the_same_model_go_before_all_others():
    table = pool((FAST, "small"), (SLOW, "large"), (Profile(), "large"), (Profile(), "other"))
    assert table.rows.tpot_alone_s[2] == pytest.approx(SLOW.tpot_s)
    assert table.rows.tpot_alone_s[3] == pytest.approx(0.02)


@pytest.mark.parametrize(
    "rows", [[(FAST, "small"), (SLOW, "large"), (Profile(), "large"), (Profile(), "other")], [(Profile(), "m")]]
)
def test_what_is_shown_of_speeds_is_what_a_pool_begins_with(rows):
    table = pool(*rows)
    shown = first_profiles(table.endpoints)
    assert [one.tpot_s for one in shown] == pytest.approx(table.rows.tpot_s.tolist())
    assert [one.ttft_s for one in shown] == pytest.approx(table.rows.ttft_idle_s.tolist())


def test_where_nothing_is_known_of_any_the_guess_stands_until_one_is_heard_of():
    table = pool((Profile(), "m"), (Profile(), "m"))
    assert table.rows.tpot_alone_s[1] == Profile().tpot_s
    answers(table, 0, 40, 0.004)
    assert table.rows.tpot_alone_s[1] == pytest.approx(float(table.rows.tpot_alone_s[0]), rel=0.05)
    assert table.rows.tpot_alone_s[1] < 0.3 * Profile().tpot_s


def test_what_it_shows_itself_counts_from_then_on():
    table = pool((FAST, "m"), (Profile(), "m"))
    answers(table, 1, 40, 0.05)
    own = float(table.rows.tpot_alone_s[1])
    assert own > 5 * FAST.tpot_s
    answers(table, 0, 40, 0.004)
    assert table.rows.tpot_alone_s[1] == own


def test_a_speed_that_others_tell_goes_before_the_mean():
    table = pool((FAST, "m"), (Profile(), "m"))
    take_over(table, OthersKnow((EndpointKnowledge("e1", tpot_s=0.06, tpot_count=20.0),), 0.0), 0.0)
    answers(table, 0, 3, FAST.tpot_s)
    assert table.rows.tpot_alone_s[1] == pytest.approx(0.06)


def test_unconfirmed_it_fades_toward_the_mean_it_began_with():
    table = pool((SLOW, "m"), (Profile(), "m"))
    table.states(np.array([1]), np.zeros(1), 0.0)
    answers(table, 1, 40, 0.01)
    for minute in range(72 * 60):
        table.states(np.array([1]), np.zeros(1), 60.0 * minute)
    assert table.rows.tpot_alone_s[1] == pytest.approx(SLOW.tpot_s, rel=0.05)


def test_an_endpoint_that_is_described_is_left_as_it_was():
    table = pool((FAST, "m"), (SLOW, "m"))
    answers(table, 0, 40, 0.004)
    assert table.rows.tpot_alone_s[1] == SLOW.tpot_s
