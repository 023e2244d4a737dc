from contextlib import suppress
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.core.duration import parse_duration
from agentsched.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (20, 20.0),
        (0.25, 0.25),
        ("20", 20.0),
        ("20s", 20.0),
        (" 20 S ", 20.0),
        ("1.5m", 90.0),
        ("1m30s", 90.0),
        ("1m 30s", 90.0),
        ("250ms", 0.25),
        (".5h", 1800.0),
        ("1h1m1s1ms", 3661.001),
        ("1e3", 1000.0),
        (timedelta(minutes=2), 120.0),
        (np.float64(3.5), 3.5),
    ],
)
def test_durations_as_people_write_them(value, seconds):
    assert parse_duration(value, field="f") == pytest.approx(seconds)


@pytest.mark.parametrize("value", [0, 0.0, "0", "0s", " 0ms ", "0m0s", timedelta()])
def test_no_time_at_all_is_a_duration_where_that_makes_sense(value):
    assert parse_duration(value, field="f", zero=True) == 0.0
    with pytest.raises(ConfigError, match="a positive number of seconds"):
        parse_duration(value, field="f")


@pytest.mark.parametrize("value", [-1, "-0.1s", "", float("nan"), True])
def test_less_than_none_is_not(value):
    with pytest.raises(ConfigError, match="a non-negative number of seconds"):
        parse_duration(value, field="f", zero=True)


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        "0s",
        "-5s",
        "",
        "  ",
        "soon",
        "5 parsecs",
        "5mins",
        "1s,5s",
        "1.5.2s",
        "s",
        "nan",
        "inf",
        "1e999",
        float("nan"),
        float("inf"),
        10**400,
        True,
        None,
        [5],
        b"5s",
        timedelta(0),
        timedelta(seconds=-1),
    ],
)
def test_what_is_no_duration_is_refused_by_name(value):
    with pytest.raises(ConfigError) as error:
        parse_duration(value, field="slo.deadline")
    assert error.value.field == "slo.deadline"
    assert error.value.given is value
    assert '"1m30s"' in str(error.value)


@given(st.text(max_size=20))
def test_no_text_breaks_the_parser(text):
    with suppress(ConfigError):
        assert parse_duration(text, field="f") > 0


@given(st.floats(1e-3, 1e6))
def test_what_it_means_is_the_same_in_every_unit(seconds):
    for factor, unit in ((1000, "ms"), (1, "s"), (1 / 60, "m"), (1 / 3600, "h")):
        text = f"{seconds * factor:.12f}{unit}"
        assert parse_duration(text, field="f") == pytest.approx(seconds, rel=1e-6)
