"""Retry-After and x-ratelimit headers as servers really send them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.endpoints.limits import Limits, limits_of, retry_after_s

NOON = 1_445_428_800.0
"""Wed, 21 Oct 2015 12:00:00 GMT."""


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": " 3 "}, 3.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, 86400.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2015 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Wednesday, 21-Oct-15 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Wed Oct 21 12:01:30 2015"}, 90.0),
        ({"retry-after": "Wed, 21 Oct 2015 14:01:30 +0200"}, 90.0),
        ({"retry-after": "Wed, 21 Oct 2015 12:01:30"}, 90.0),
        ({"retry-after": "Wed, 21 Oct 2015 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2099 11:00:00 GMT"}, 86400.0),
        ({"retry-after": "Wed, 21 Oct 99999999999999 11:00:00 GMT"}, None),
        ({"retry-after": "Wed, 99 Oct 2015 11:00:00 GMT"}, None),
    ],
)
def test_how_long_to_leave_it_in_peace(headers, seconds, monkeypatch):
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert retry_after_s(headers, NOON) == seconds
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading(text):
    for name in ("retry-after", "retry-after-ms"):
        seconds = retry_after_s({name: text}, NOON)
        assert seconds is None or 0.0 <= seconds <= 86400.0


@given(
    st.sampled_from(["Wed, ", "Wednesday, ", ""]),
    st.integers(0, 10**12),
    st.sampled_from(["Oct", "Foo", ""]),
    st.integers(-(10**12), 10**20),
    st.sampled_from(["12:00:00", "99:99:99", "12"]),
    st.sampled_from([" GMT", " +9999999", " -0000", ""]),
)
def test_no_date_breaks_the_reading(day_name, day, month, year, hour, zone):
    seconds = retry_after_s({"retry-after": f"{day_name}{day} {month} {year} {hour}{zone}"}, NOON)
    assert seconds is None or 0.0 <= seconds <= 86400.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1.0),
        ("1.5", 1.5),
        ("20ms", 0.02),
        ("7.66s", 7.66),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("1d1s", None),
        ("1792540800", None),
        ("soon", None),
        ("5 parsecs", None),
        ("", None),
        (None, None),
    ],
)
def test_when_a_limit_is_whole_again(text, seconds):
    headers = {"x-ratelimit-remaining-requests": "0"}
    if text is not None:
        headers["x-ratelimit-reset-requests"] = text
    assert limits_of(headers) == Limits(0.0, seconds, None, None)


def test_limits_of_tokens():
    headers = {
        "x-ratelimit-remaining-requests": "12",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "2s",
    }
    assert limits_of(headers) == Limits(12.0, None, 0.0, 2.0)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-remaining-requests": "1", "x-ratelimit-remaining-tokens": "1"},
        {"x-ratelimit-remaining-requests": "many"},
        {"x-ratelimit-reset-requests": "1s"},
    ],
)
def test_nothing_used_up_is_nothing_to_tell(headers):
    assert limits_of(headers) is None
