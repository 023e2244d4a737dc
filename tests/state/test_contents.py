import orjson
import pytest

from agentsched.core.endpoint import Endpoint
from agentsched.core.load import EndpointLoad
from agentsched.core.shared import EndpointKnowledge, combined_knowledge
from agentsched.state.contents import decoded, encoded, endpoint_key

KEYS = {"gpu": "k1", "api": "k2"}
HERE = {"k1": "my gpu", "k2": "my api"}

LOADS = (EndpointLoad("gpu", 3.0, 1200.0, 0.125, 0.25, 80.0), EndpointLoad("api", 1.0))
KNOWLEDGE = (EndpointKnowledge("api", 2.5, 0.0, 41.0, 9000.0, 0.02, 7.0, 0.3, 5.0),)


def test_what_one_tells_another_reads_under_its_own_names() -> None:
    loads, knowledge = decoded(encoded(LOADS, KNOWLEDGE, KEYS), HERE)
    assert set(loads) == {EndpointLoad("my gpu", 3.0, 1200.0, 0.125, 0.25, 80.0), EndpointLoad("my api", 1.0)}
    assert set(knowledge) == {
        EndpointKnowledge("my gpu"),
        EndpointKnowledge("my api", 2.5, 0.0, 41.0, 9000.0, 0.02, 7.0, 0.3, 5.0),
    }


def test_endpoints_that_are_not_known_here_are_left_out() -> None:
    loads, knowledge = decoded(encoded(LOADS, KNOWLEDGE, KEYS), {"k2": "only"})
    assert [one.endpoint for one in (*loads, *knowledge)] == ["only", "only"]


def test_it_is_small() -> None:
    loads = [EndpointLoad(name, 17.0, 3456.7, 0.0123456789, 0.0123456789, 123.456789) for name in KEYS]
    assert len(encoded(loads, [EndpointKnowledge(name, tpot_s=0.0123456789) for name in KEYS], KEYS)) < 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"{}",
        b"[1]",
        b"[1, {}]",
        b"[2, []]",
        b'[2, {"k1": 1}]',
        b'[2, {"k1": [1, 2]}]',
        orjson.dumps([2, {"k1": [-1.0] * 17}]),
        orjson.dumps([2, {"k1": [1e300] * 17}]),
        orjson.dumps([2, {"k1": ["1"] * 17}]),
        orjson.dumps([2, {"k1": [True] * 17}]),
    ],
)
def test_nonsense_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        decoded(content, HERE)


def test_figures_that_are_left_open_mean_the_defaults() -> None:
    assert decoded(orjson.dumps([2, {"k1": [None] * 17}]), HERE) == (
        (EndpointLoad("my gpu", 0.0),),
        (EndpointKnowledge("my gpu"),),
    )


def test_an_endpoint_is_its_server_and_its_model_whatever_its_name_and_key() -> None:
    one = Endpoint("a", "http://h:1/v1", "m", api_key="canary")
    same = Endpoint("b", "http://h:1/v1/", "m", api_key="other", rpm=5)
    others = [Endpoint("a", "http://h:2/v1", "m"), Endpoint("a", "http://h:1/v1", "n")]
    key = endpoint_key(one, "")
    assert key == endpoint_key(same, "")
    assert len({key, endpoint_key(one, "this machine"), *(endpoint_key(other, "") for other in others)}) == 4


def key_of(base_url: str) -> str:
    return endpoint_key(Endpoint("a", base_url, "m"), "")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://localhost:8000/v1", "http://127.0.0.1:8000/v1", True),
        ("http://localhost:8000/v1", "http://[::1]:8000/v1/", True),
        ("http://localhost/v1", "HTTP://LocalHost:80/v1", True),
        ("https://api.test/v1", "https://API.test:443/v1", True),
        ("http://[fe80::1]:8000/v1", "http://[FE80::1]:8000/v1", True),
        ("http://localhost:8000/v1", "http://localhost:8001/v1", False),
        ("http://localhost:8000/v1", "http://127.0.0.2:8000/v1", False),
        ("http://localhost:8000/v1", "http://a.localhost:8000/v1", False),
        ("http://localhost:443/v1", "https://localhost:443/v1", False),
        ("http://h.test:1/a", "http://h.test:1/A", False),
    ],
)
def test_one_address_however_it_is_written(one: str, other: str, same: bool) -> None:
    assert (key_of(one) == key_of(other)) is same


def test_what_several_know_adds_up() -> None:
    one = EndpointKnowledge("a", 1.0, 5.0, 10.0, 100.0, 0.01, 3.0, 0.2, 9.0)
    two = EndpointKnowledge("a", 2.0, 0.0, 20.0, 200.0, 0.02, 8.0, 0.4, 1.0)
    both = EndpointKnowledge("a", 2.0, 5.0, 30.0, 300.0, 0.02, 8.0, 0.2, 9.0)
    assert combined_knowledge([(one,), (two, EndpointKnowledge("b"))]) == (both, EndpointKnowledge("b"))
