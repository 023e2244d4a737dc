"""The request of one attempt: its endpoint's address, credentials and model, and the caller's body otherwise."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.core.endpoint import Endpoint
from agentsched.endpoints.exchange import APIS, Exchange
from agentsched.endpoints.request import Address

MESSAGES = [{"role": "user", "content": "hello"}]


def address(**fields: object) -> Address:
    return Address(Endpoint(**({"name": "a", "base_url": "http://h.test/v1", "model": "mine"} | fields)))


def exchange(raw: bytes, *, api: str = "chat/completions", headers=(), stream: bool = False) -> Exchange:
    return Exchange(api, json.loads(raw), raw, headers, stream)


def sent(raw: bytes, **fields: object) -> bytes:
    return address(**fields).request(exchange(raw), "c.1").body


# -- the address -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("base", ["http://h.test/v1", "http://h.test/v1/"])
def test_the_path_follows_the_base_url(api, base):
    assert address(base_url=base).request(exchange(b"{}", api=api), "c.1").url == f"http://h.test/v1/{api}"


@pytest.mark.parametrize(
    ("base", "url"),
    [
        (
            "https://r.azure.test",
            "https://r.azure.test/openai/deployments/mine/chat/completions?api-version=2024-10-21",
        ),
        (
            "https://r.azure.test/openai",
            "https://r.azure.test/openai/deployments/mine/chat/completions?api-version=2024-10-21",
        ),
        (
            "https://r.azure.test/openai/deployments/other",
            "https://r.azure.test/openai/deployments/other/chat/completions?api-version=2024-10-21",
        ),
        ("https://r.azure.test/openai/v1/", "https://r.azure.test/openai/v1/chat/completions?api-version=2024-10-21"),
    ],
)
def test_azure_addresses(base, url):
    made = address(kind="azure", base_url=base, api_version="2024-10-21", api_key="k")
    assert made.request(exchange(b"{}"), "c.1").url == url


def test_a_deployments_name_is_quoted():
    made = address(kind="azure", base_url="https://r.azure.test", model="my model/v2")
    assert made.request(exchange(b"{}"), "c.1").url == (
        "https://r.azure.test/openai/deployments/my%20model%2Fv2/chat/completions"
    )


# -- headers ---------------------------------------------------------------------------------------------------------


def test_each_endpoint_gets_its_own_credentials_only():
    made = address(api_key="sk-mine")
    headers = made.request(exchange(b"{}", headers=(("user-agent", "x"), ("x-request-id", "theirs"))), "c.1").headers
    assert headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "authorization": "Bearer sk-mine",
        "user-agent": "x",
        "x-request-id": "theirs",
    }


def test_azure_has_a_header_of_its_own():
    headers = address(kind="azure", api_key="sk-mine").request(exchange(b"{}"), "c.1").headers
    assert headers["api-key"] == "sk-mine"
    assert "authorization" not in headers


@pytest.mark.parametrize("key", [None, ""])
def test_no_key_no_header(key):
    assert "authorization" not in address(api_key=key).request(exchange(b"{}"), "c.1").headers


def test_one_requests_headers_are_not_anothers():
    made = address()
    made.request(exchange(b"{}", stream=True, headers=(("x-a", "1"),)), "c.1")
    headers = made.request(exchange(b"{}"), "c.2").headers
    assert "x-a" not in headers
    assert headers["accept"] == "application/json"
    assert headers["x-request-id"] == "c.2"


def test_a_stream_is_asked_for():
    assert address().request(exchange(b"{}", stream=True), "c.1").headers["accept"] == "text/event-stream"


def test_the_key_is_in_no_representation():
    made = address(api_key="sk-canary")
    assert "canary" not in repr(made) + repr(made.endpoint)


# -- the body --------------------------------------------------------------------------------------------------------


def test_a_body_that_fits_is_sent_as_it_is():
    raw = b'{ "messages":[], "model" : "mine" }'
    assert sent(raw) is raw


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"theirs","messages":[]}',
        b'{"messages":[{"content":"\\"model\\": \\"x\\""}],"model" : "theirs"}',
        b'{\n  "model"\n:\n"theirs"\n}',
        b'{"model":"the\\"irs","n":1}',
        b'{"model":"the\\u0069rs","n":1}',
    ],
)
def test_the_model_is_replaced_and_nothing_else(raw):
    body = sent(raw)
    assert json.loads(body) == json.loads(raw) | {"model": "mine"}
    assert len(body) <= len(raw) + 2, "the rest keeps its bytes"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"theirs","tools":[{"parameters":{"properties":{"model":{"type":"string"}}}}]}',
        b'{"metadata":{"model":"x"},"model":"theirs"}',
        b'{"metadata":{"model":"x"},"m\\u006fdel":"theirs"}',
        b'{"metadata":{"model":"x"}}',
        b'{"role":"model","m\\u006fdel":"theirs"}',
        b'{"model":null}',
        b'{"model":5}',
        b"{}",
        '{"model":"theirs","x":{"model":"é😀"}}'.encode(),
        b'{"model":"theirs","x":{"model":"\\ud83d alone"}}',
    ],
)
def test_only_the_callers_own_model_is_replaced(raw):
    assert json.loads(sent(raw)) == json.loads(raw) | {"model": "mine"}


@given(
    st.dictionaries(
        st.sampled_from(["model", "messages", "metadata", "tools", "x"]),
        st.recursive(
            st.text(max_size=8) | st.just("model") | st.integers() | st.none(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", "a"]), inner, max_size=2)
            ),
            max_leaves=6,
        ),
        max_size=5,
    ),
    st.booleans(),
    st.sampled_from(["mine", 'my "own"', "é"]),
)
def test_any_body_keeps_everything_but_the_model(body, ascii_only, model):
    raw = json.dumps(body, ensure_ascii=ascii_only).encode()
    assert json.loads(sent(raw, model=model)) == body | {"model": model}
