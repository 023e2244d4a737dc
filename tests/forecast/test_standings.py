import numpy as np
import pytest

from agentsched.forecast import standings as module
from agentsched.forecast.standings import Standings

SCOPES = (("", "", ""), ("w", "", ""), ("w", "s", ""))


def test_the_first_leads_until_another_is_better():
    standings = Standings(("a", "b"))
    assert standings.best(SCOPES) == "a"
    standings.update(SCOPES, np.array([1.0, 0.99]))
    assert standings.best(SCOPES) == "a", "a lead of 1 % may be chance"
    for _ in range(20):
        standings.update(SCOPES, np.array([1.0, 0.5]))
    assert standings.best(SCOPES) == "b"
    assert standings.chosen() == dict.fromkeys(SCOPES, "b")


def test_groups_find_their_own_leader():
    standings = Standings(("a", "b"))
    for _ in range(60):
        standings.update(SCOPES, np.array([1.0, 0.5]))
        standings.update((*SCOPES[:2], ("w", "other", "")), np.array([0.5, 1.0]))
    assert standings.best(SCOPES) == "b"
    assert standings.best((*SCOPES[:2], ("w", "other", ""))) == "a"


def test_young_groups_lean_on_wide_ones():
    standings = Standings(("a", "b"))
    for _ in range(60):
        standings.update(SCOPES, np.array([1.0, 0.5]))
    young = (*SCOPES[:2], ("w", "young", ""))
    assert standings.best(young) == "b"
    standings.update(young, np.array([0.9, 1.0]))
    assert standings.best(young) == "b"


def test_sizes_of_one_group_do_not_outweigh_another():
    """A step of long answers says which forecaster is better, not how much it matters elsewhere."""
    standings = Standings(("a", "b"))
    for _ in range(50):
        standings.update((("", "", ""), ("long", "", "")), np.array([1000.0, 900.0]))
        standings.update((("", "", ""), ("short", "", "")), np.array([0.1, 0.9]))
    assert standings.best((("", "", ""), ("long", "", ""))) == "b"
    assert standings.best((("", "", ""), ("short", "", ""))) == "a"


def test_what_was_good_once_is_forgotten():
    standings = Standings(("a", "b"))
    for _ in range(500):
        standings.update(SCOPES, np.array([0.5, 1.0]))
    for _ in range(150):
        standings.update(SCOPES, np.array([1.0, 0.5]))
    assert standings.best(SCOPES) == "b"


@pytest.mark.parametrize("losses", [(0.0, 0.0)])
def test_perfect_forecasters_are_equal(losses):
    standings = Standings(("a", "b"))
    standings.update(SCOPES, losses)
    assert standings.best(SCOPES) == "a"


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_MOST_GROUPS", 10)
    standings = Standings(("a", "b"))
    for k in range(100):
        standings.update((("", "", ""), (f"w{k}", "", "")), np.array([1.0, 0.5]))
    assert len(standings.chosen()) == 10
    assert ("", "", "") in standings.chosen()
