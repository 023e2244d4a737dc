import numpy as np
import pytest

from agentsched.core.forecast import LEVELS, QuantileForecast
from agentsched.forecast.answer_memory import AnswerMemory, shrunk


def remembered(*tokens: int) -> AnswerMemory:
    """Negative ones were cut off."""
    memory = AnswerMemory()
    for one in tokens:
        memory.add(abs(one), cut=one < 0)
    return memory


def test_quantiles_are_those_of_the_answers():
    made = remembered(*range(1, 201)).quantiles()
    np.testing.assert_allclose(made, 200 * LEVELS + 0.5)
    assert set(remembered(7).quantiles()) == {7.0}


def test_absurd_counts_do_no_harm():
    assert remembered(10**15, -(10**15)).quantiles()[0] <= 1e9


def test_the_oldest_answers_make_room():
    memory = remembered(*[5] * 300, *[9] * 256)
    assert set(memory.quantiles()) == {9.0}
    assert memory.count == 256


def test_quantiles_are_made_anew_only_once_enough_is_new():
    memory = remembered(*[10] * 100)
    before = memory.quantiles()
    for _ in range(6):
        memory.add(99, cut=False)
    assert not memory.stale
    assert memory.quantiles() is before
    memory.add(99, cut=False)
    assert memory.stale
    assert memory.quantiles()[-1] == 99


def test_cut_answers_move_their_weight_to_longer_ones():
    """Kaplan and Meier: of 10, 20+, 30, 40 the cut one's quarter goes to 30 and 40 in equal parts."""
    made = remembered(10, -20, 30, 40).quantiles()
    mass = np.array((0.25, 0.375, 0.375))
    np.testing.assert_allclose(made, np.interp(LEVELS, np.cumsum(mass) - mass / 2, (10, 30, 40)))


def test_cut_answers_beyond_all_others_lengthen_the_tail():
    made = remembered(*[50] * 10, *[-100] * 10).quantiles()
    assert made[8] == 50
    assert made[-1] > 200
    assert remembered(*[-100] * 5).quantiles()[0] > 100


@pytest.mark.parametrize("total", [5, 8, 30, 256, 300])
def test_only_the_latest_are_kept(total):
    memory = remembered(*range(1, total + 1))
    memory.keep(20)
    kept = min(20, total)
    assert memory.count == kept
    assert memory.quantiles()[-1] == total
    assert memory.quantiles()[0] == pytest.approx(total - kept + 1, abs=1)
    for _ in range(3):
        memory.add(10_000, cut=False)
    assert memory.quantiles()[-1] == 10_000


def test_what_is_kept_stays_cut():
    memory = remembered(*range(1, 40), -100)
    memory.keep(4)
    assert memory.cut
    assert memory.quantiles()[-1] > 100
    memory = remembered(-100, *range(1, 40))
    memory.keep(4)
    assert not memory.cut


def test_groups_shrink_toward_wider_ones_by_what_those_know_more():
    """10 answers against the prior are 10 / 14; of the wider group's 13 only 3 are others: 3 / 7."""
    wide, narrow = remembered(*[10] * 10, *[90] * 3), remembered(*[10] * 10)
    prior = QuantileForecast.constant(1000.0)
    made = shrunk(prior, [(wide, 4.0), (narrow, 4.0)])
    mixed = prior.mixed(QuantileForecast(wide.quantiles().copy()), 3 / 7)
    mass = np.repeat((4 / 7 * 4 / 14, 3 / 7 * 4 / 14, 10 / 14), 32) / 32
    values = np.concatenate((prior.values, wide.quantiles(), narrow.quantiles()))
    order = values.argsort(kind="stable")
    expected = np.interp(LEVELS, np.cumsum(mass[order]) - mass[order] / 2, values[order])
    np.testing.assert_allclose(made.values, expected)
    assert made.mean < mixed.mean


def test_a_group_without_answers_of_its_own_is_its_wider_one():
    wide = remembered(*[10] * 10)
    prior = QuantileForecast.constant(1000.0)
    np.testing.assert_allclose(
        shrunk(prior, [(wide, 4.0), (AnswerMemory(), 4.0)]).values, shrunk(prior, [(wide, 4.0)]).values
    )
