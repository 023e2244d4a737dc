import json

import httpx
import httpx2
import pytest

from agentsched.intercept.family import loaded_families
from agentsched.intercept.reading import api_of, model_of, patience_s, read_exchange
from tests.intercept.fakes import CANARY

FAMILY = loaded_families()[0]
CHAT = {"model": "m", "messages": []}


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/chat/completions", "chat/completions"),
        ("/v1/chat/completions/", "chat/completions"),
        ("/chat/completions?api-version=1", "chat/completions"),
        ("/openai/deployments/d/chat/completions", "chat/completions"),
        ("/v1/completions", "completions"),
        ("/v1/responses", "responses"),
        ("/v1/responses/resp_1/cancel", None),
        ("/v1/chat/completions/c1", None),
        ("/v1/embeddings", None),
        ("/v1/images/generations", None),
        ("/", None),
    ],
)
def test_paths(path, api):
    assert api_of(httpx.Request("POST", f"http://h{path}")) == api
    assert api_of(httpx.Request("GET", f"http://h{path}")) is None


def test_an_exchange():
    request = httpx.Request("POST", "http://h/v1/chat/completions", json={**CHAT, "stream": True})
    exchange = read_exchange(request, "chat/completions", FAMILY)
    assert exchange.body == {**CHAT, "stream": True}
    assert exchange.raw == request.content
    assert exchange.stream is True
    assert exchange.headers == (("content-type", "application/json"),)


def test_no_credential_is_passed_on():
    secret = {
        name: CANARY
        for name in (
            "Authorization",
            "api-key",
            "x-api-key",
            "Cookie",
            "OpenAI-Organization",
            "OpenAI-Project",
            "X-Custom-Token",
            "Proxy-Authorization",
            "Ocp-Apim-Subscription-Key",
        )
    }
    passed = {
        "User-Agent": "u",
        "X-Request-Id": "r",
        "Idempotency-Key": "i",
        "OpenAI-Beta": "b",
        "traceparent": "t",
        "Accept": "a",
        "X-Stainless-Lang": "python",
    }
    request = httpx.Request("POST", "http://h/v1/responses", json={"input": "x"}, headers={**secret, **passed})
    exchange = read_exchange(request, "responses", FAMILY)
    assert CANARY not in repr(exchange)
    names = {name for name, _ in exchange.headers}
    assert names == {name.lower() for name in passed} - {"x-stainless-lang"} | {"content-type"}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe{}", b"[]", b'"text"', b"{}", json.dumps({"model": "m"}).encode(), b"[" * 100_000],
)
def test_what_is_left_alone(content):
    request = httpx.Request("POST", "http://h/v1/chat/completions", content=content)
    assert read_exchange(request, "chat/completions", FAMILY) is None


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_an_upload_is_not_consumed(module):
    family = next(found for found in loaded_families() if found.name == module.__name__)
    request = module.Request("POST", "http://h/v1/chat/completions", content=iter([b"{}"]))
    assert read_exchange(request, "chat/completions", family) is None
    assert b"".join(request.stream) == b"{}"


@pytest.mark.parametrize(
    ("api", "name"),
    [("completions", "prompt"), ("responses", "input"), ("responses", "prompt"), ("responses", "conversation")],
)
def test_what_makes_it_a_model_call(api, name):
    request = httpx.Request("POST", f"http://h/v1/{api}", json={name: "x"})
    assert read_exchange(request, api, FAMILY) is not None


def test_the_model():
    azure = httpx.Request("POST", "http://h/openai/deployments/gpt-x/chat/completions")
    plain = httpx.Request("POST", "http://h/v1/chat/completions")
    assert model_of(plain, {"model": "m"}) == "m"
    assert model_of(azure, {"model": "m"}) == "m"
    assert model_of(azure, {}) == "gpt-x"
    assert model_of(plain, {}) is None
    assert model_of(plain, {"model": 7}) is None


@pytest.mark.parametrize(
    ("timeout", "patience"),
    [(3.0, 3.0), (httpx.Timeout(9, read=4), 4.0), (None, None), (httpx.Timeout(2, read=None), None)],
)
def test_patience(timeout, patience):
    with httpx.Client(timeout=timeout) as client:
        assert patience_s(client.build_request("POST", "http://h"), client) == patience
        assert patience_s(httpx.Request("POST", "http://h"), client) == patience
