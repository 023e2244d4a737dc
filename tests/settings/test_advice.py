"""What is valid and yet probably not meant."""

import pytest

from agentsched.core.endpoint import Endpoint, Group, Pool, Tls
from agentsched.settings import Settings
from agentsched.settings.advice import advise, is_loopback

LOCAL = "http://localhost:8000/v1"


def remarks(pool: Pool, **more: object) -> list[str]:
    return [str(advice) for advice in advise(Settings(pool, **more))]  # type: ignore[arg-type]


def test_nothing_to_say_of_a_plain_pool() -> None:
    hosted = Endpoint("b", "https://api.example.com/v1", "m", api_key="k")
    assert remarks(Pool([Endpoint("a", LOCAL, "m"), hosted])) == []
    assert remarks(Pool([Endpoint("a", LOCAL, "m")], {"x": ["a"], "*": ["a"]})) == []


def test_open_lines_and_missing_keys() -> None:
    pool = Pool(
        [
            Endpoint("a", "http://10.0.0.5/v1", "m", kind="vllm"),
            Endpoint("b", "http://10.0.0.5/v1", "m", api_key="canary"),
            Endpoint("c", "https://api.example.com/v1", "m"),
            Endpoint("d", "https://api.example.com/v1", "m", api_key="canary", tls=Tls(verify=False)),
        ]
    )
    assert remarks(pool) == [
        "endpoint a: prompts travel unencrypted to 10.0.0.5 (http)",
        "endpoint b: prompts and the key travel unencrypted to 10.0.0.5 (http)",
        "endpoint c: has no api_key",
        "endpoint d: anybody who answers for api.example.com is believed (tls.verify: false)",
    ]


def test_endpoints_that_no_request_reaches() -> None:
    pool = Pool([Endpoint("a", LOCAL, "m"), Endpoint("b", LOCAL, "m"), Endpoint("c", LOCAL, "n")], {"m": ["a"]})
    assert remarks(pool) == [
        "endpoint b: is in no group, and the group 'm' stands for its model: no request reaches it",
        "endpoint c: is in no group: only requests for the model 'n' reach it",
    ]


def test_qualities_in_groups() -> None:
    pool = Pool(
        [Endpoint("a", LOCAL, "m", quality=0.3), Endpoint("b", LOCAL, "m", quality=0.8)],
        {
            "mixed": ["a", "b"],
            "high": Group(("a", "b"), 0.5),
            "set": Group(("a", "b"), 0.2),
            "none": Group(("a",), 0.9),
        },
    )
    assert remarks(pool) == [
        "group mixed: mixes qualities from 0.3 to 0.8: any of them may answer, unless min_quality is set",
        "group high: a is never used: its quality 0.3 is below min_quality 0.5",
        "group none: none of its endpoints reaches min_quality 0.9: its requests fail",
    ]


def test_warnings_of_the_source_come_first() -> None:
    assert remarks(Pool([Endpoint("a", LOCAL, "m")]), warnings=("line 3: x",)) == ["configuration: line 3: x"]


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("http://localhost:1/v1", True),
        ("http://x.localhost", True),
        ("http://127.8.0.1", True),
        ("http://[::1]:8000/v1", True),
        ("http://10.0.0.1", False),
        ("https://localhost.example.com", False),
    ],
)
def test_loopback(url: str, answer: bool) -> None:
    assert is_loopback(url) is answer
