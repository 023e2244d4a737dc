import httpx
import pytest

from agentsched.intercept.sdk_retries import backoff_s, would_repeat


def request(count=None):
    return httpx.Request("POST", "http://h", headers={} if count is None else {"x-stainless-retry-count": count})


@pytest.mark.parametrize(
    ("count", "pause_s"), [(None, None), ("x", None), ("0", 0.5), ("1", 1.0), ("3", 4.0), ("9", 8.0), ("5000", 8.0)]
)
def test_pauses(count, pause_s):
    assert backoff_s(request(count)) == pause_s


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.5),
        ({"retry-after": "-1"}, 0.5),
    ],
)
def test_what_the_server_asks_for(headers, pause_s):
    assert backoff_s(request("0"), httpx.Response(429, headers=headers)) == pause_s


@pytest.mark.parametrize(
    ("status", "said", "repeated"),
    [
        (200, None, False),
        (400, None, False),
        (408, None, True),
        (409, None, True),
        (429, None, True),
        (503, None, True),
        (503, "false", False),
        (400, "true", True),
    ],
)
def test_what_is_repeated(status, said, repeated):
    assert would_repeat(httpx.Response(status, headers={} if said is None else {"x-should-retry": said})) == repeated
