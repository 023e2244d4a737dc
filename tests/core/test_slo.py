import pickle
from datetime import timedelta

import pytest

from agentsched.core.slo import SLO, Budget, Deadline
from agentsched.errors import ConfigError


def test_defaults():
    slo = SLO()
    assert (slo.deadline_s, slo.percentile, slo.max_cost_usd, slo.min_quality) == (None, 0.95, None, 0.0)
    assert (slo.priority, slo.tenant, slo.reserve_s, slo.on_late) == (0, "default", {}, "raise")


def test_durations_are_converted_at_the_door():
    slo = SLO("1m30s", reserve={"final": timedelta(seconds=3), "review": "500ms"})
    assert slo.deadline_s == 90.0
    assert slo.reserve_s == {"final": 3.0, "review": 0.5}


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("deadline", "soon", '"20s"'),
        ("percentile", 0.0, "a number above 0 and below 1"),
        ("percentile", 1.0, "a number above 0 and below 1"),
        ("percentile", float("nan"), "a number above 0 and below 1"),
        ("percentile", "high", "a number above 0 and below 1"),
        ("percentile", True, "a number above 0 and below 1"),
        ("max_cost_usd", 0, "a number above 0"),
        ("max_cost_usd", -1.0, "a number above 0"),
        ("max_cost_usd", float("inf"), "a number above 0"),
        ("min_quality", -0.1, "a number from 0 to 1"),
        ("min_quality", 1.1, "a number from 0 to 1"),
        ("priority", 9, "an integer from -8 to 8"),
        ("priority", 1.0, "an integer from -8 to 8"),
        ("priority", True, "an integer from -8 to 8"),
        ("tenant", "", "a non-empty name"),
        ("tenant", 7, "a non-empty name"),
        ("on_late", "shrug", "raise, degrade, wrap_up, partial, ignore"),
        ("reserve", "3s", "final"),
        ("reserve", ["final"], "final"),
        ("reserve", {5: "3s"}, "a non-empty text"),
        ("reserve", {"": "3s"}, "a non-empty text"),
    ],
)
def test_bad_values_are_refused_by_name(field, value, allowed):
    with pytest.raises(ConfigError) as error:
        SLO(**{field: value})
    assert error.value.field == f"slo.{field}"
    assert error.value.given is value
    assert allowed in str(error.value)
    assert repr(value) in str(error.value)


def test_a_bad_reserve_is_named_by_its_step():
    with pytest.raises(ConfigError) as error:
        SLO("10s", reserve={"final": "-3s"})
    assert error.value.field == "slo.reserve['final']"


def test_reserving_everything_is_refused():
    with pytest.raises(ConfigError, match=r"slo.reserve: reserves the whole deadline"):
        SLO("10s", reserve={"a": 5, "b": "5s"})
    assert SLO(reserve={"a": 5}).reserve_s == {"a": 5.0}


def test_the_edges_of_what_is_allowed():
    for fields in (
        {"min_quality": 0.0},
        {"min_quality": 1.0},
        {"priority": -8},
        {"priority": 8},
        {"percentile": 0.999},
    ):
        SLO(**fields)


def test_it_is_a_value():
    slo = SLO("10s", reserve={"a": 1})
    assert slo == SLO(10, reserve={"a": "1s"})
    assert hash(slo) == hash(SLO(10, reserve={"a": "1s"}))
    assert slo != SLO("11s", reserve={"a": 1})
    assert pickle.loads(pickle.dumps(slo)) == slo
    with pytest.raises(AttributeError):
        slo.deadline_s = 5.0


def test_deadlines_nest_by_the_minimum():
    outer, inner = Deadline.after(10.0, now=100.0), Deadline.after(5.0, now=103.0)
    assert min(outer, inner) is inner
    assert inner.remaining(104.0) == 4.0
    assert not inner.passed(107.9)
    assert inner.passed(108.0)
    assert inner.remaining(109.0) == -1.0


@pytest.mark.parametrize(
    ("budget", "spent"),
    [
        (Budget(), False),
        (Budget(time_s=0.1), False),
        (Budget(time_s=0.0), True),
        (Budget(cost_usd=0.0), True),
        (Budget(1.0, -0.1), True),
    ],
)
def test_budgets(budget, spent):
    assert budget.spent is spent
