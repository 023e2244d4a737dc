"""Where a request with credentials may be led."""

import pytest

from agentsched.dispatch.redirects import redirected

ASKED = "http://api.test/v1/chat/completions?a=1"


@pytest.mark.parametrize(
    ("location", "to"),
    [
        ("/v2/chat/completions", "http://api.test/v2/chat/completions"),
        ("completions/", "http://api.test/v1/chat/completions/"),
        ("http://API.test:80/x", "http://API.test:80/x"),
        ("https://api.test/v1/chat/completions", "https://api.test/v1/chat/completions"),
        ("https://api.test:8443/v1", None),
        ("http://api.test:8080/v1", None),
        ("http://other.test/v1", None),
        ("//other.test/v1", None),
        ("http://api.test@other.test/v1", None),
        ("http://api.test:port/v1", None),
        ("http://[::1/v1", None),
        ("file:///etc/hosts", None),
        ("", None),
        (None, None),
    ],
)
def test_only_the_same_host_is_followed(location, to):
    assert redirected(307, ASKED, location) == redirected(308, ASKED, location) == to


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304])
def test_what_turns_a_question_into_a_look_is_not_followed(status):
    assert redirected(status, ASKED, "/v2/chat/completions") is None


def test_nobody_is_led_out_of_tls():
    assert redirected(307, "https://api.test/v1", "http://api.test/v1") is None
