"""What each kind of server is told: which way its numbers run, their range, and that no spent budget is ever told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.core.call import ModelCall
from agentsched.core.endpoint import Endpoint, Profile
from agentsched.endpoints.dialects import DIALECTS, hinted
from agentsched.endpoints.exchange import Exchange
from agentsched.endpoints.request import Address
from agentsched.settings.endpoint_format import KINDS

NOW = 1000.0
RAW = b'{"model": "m", "messages": []}'


def endpoint(kind: str, *, priority: bool = True) -> Endpoint:
    return Endpoint("a", "http://h.test/v1", "m", kind=kind, priority=priority, profile=Profile(0.2, 0.01))


def told(
    kind: str, left_s: float | None, *, raw: bytes = RAW, headers: Any = (), takes_priority: bool = True, **fields: Any
) -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and body that an endpoint of this kind gets with so much time left."""
    at = None if left_s is None else NOW + left_s
    call = ModelCall("c", "run-1", "w", "s", 0, "m", **({"deadline_at": at, "stream": True} | fields))
    there = endpoint(kind, priority=takes_priority)
    asked = hinted(Exchange("chat/completions", json.loads(raw), raw, headers, True), call, there, NOW)
    assert json.loads(asked.raw) == asked.body, "bytes and object say the same"
    wire = Address(there).request(asked, "c.1")
    return wire.headers, json.loads(wire.body)


def priority(kind: str, left_s: float | None, **fields: Any) -> float:
    body = told(kind, left_s, **fields)[1]
    value = body["nvext"]["agent_hints"]["priority"] if kind == "dynamo" else body["priority"]
    assert isinstance(value, float if kind == "tensorrt_llm" else int)
    return float(value)


ORDERED = {
    # kind: (+1 if a higher number goes first, least, what says nothing, most)
    "vllm": (-1, -100, 0, 100),
    "sglang": (1, -100, 0, 100),
    "tensorrt_llm": (1, 0.0, 0.5, 1.0),
    "dynamo": (1, 0, 5, 10),
}


@pytest.mark.parametrize(("kind", "sign"), [(kind, row[0]) for kind, row in ORDERED.items()])
def test_the_more_urgent_call_goes_first(kind: str, sign: int) -> None:
    assert sign * (priority(kind, 0.5) - priority(kind, 60.0)) > 0
    assert sign * (priority(kind, 20.0, priority=3) - priority(kind, 20.0)) > 0


@pytest.mark.parametrize(("kind", "neutral"), [(kind, row[2]) for kind, row in ORDERED.items()])
def test_a_usual_call_and_one_without_a_deadline_say_what_silence_says(kind: str, neutral: float) -> None:
    assert priority(kind, 10.0) == neutral
    assert priority(kind, None) == neutral


@given(st.sampled_from(sorted(ORDERED)), st.none() | st.floats(-1e9, 1e12), st.integers(-99, 99))
def test_priorities_stay_in_their_range(kind: str, left_s: float | None, level: int) -> None:
    _, least, _, most = ORDERED[kind]
    assert least <= priority(kind, left_s, priority=level) <= most


@pytest.mark.parametrize("kind", sorted(ORDERED))
def test_a_spent_budget_is_no_urgency(kind: str) -> None:
    assert priority(kind, -0.1) == priority(kind, None)
    assert priority(kind, 0.0) == priority(kind, None)


@pytest.mark.parametrize("kind", sorted(ORDERED))
def test_no_priority_is_told_to_a_server_that_was_not_found_to_take_it(kind: str) -> None:
    assert told(kind, 1.0, takes_priority=False)[1] == json.loads(RAW)


def times(headers: dict[str, str]) -> dict[str, int]:
    return {name: int(value) for name, value in headers.items() if name.endswith("-ms")}


def test_llm_d_is_told_how_slow_each_part_may_be() -> None:
    headers, body = told("llm-d", 2.4, max_tokens=101, tenant="acme")
    both_twice_the_profile = {"x-llm-d-slo-ttft-ms": 400, "x-llm-d-slo-tpot-ms": 20}
    assert times(headers) == pytest.approx(both_twice_the_profile, abs=1)
    assert headers["x-llm-d-inference-fairness-id"] == "acme"
    assert body == json.loads(RAW)
    assert times(told("llm-d", 2.4, stream=False)[0]) == {}, "for streams only"


def test_envoy_is_told_what_is_left() -> None:
    assert times(told("envoy", 1.2349)[0]) == {"x-envoy-upstream-rq-timeout-ms": 1234}


@given(st.sampled_from(["llm-d", "envoy"]), st.floats(1e-9, 1e9))
def test_times_are_positive_and_whole_as_long_as_any_is_left(kind: str, left_s: float) -> None:
    told_ms = times(told(kind, left_s)[0])
    assert told_ms
    assert all(value >= 1 for value in told_ms.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("left_s", [0.0, -1e-9, -5.0, None])
def test_no_time_is_told_where_none_is_left_or_there_is_no_limit(kind: str, left_s: float | None) -> None:
    assert times(told(kind, left_s)[0]) == {}


def test_runs_are_kept_together() -> None:
    assert told("sglang", None)[0]["x-smg-routing-key"] == "run-1"
    assert told("aibrix", None)[0]["x-aibrix-session-key"] == "run-1"
    assert told("dynamo", None)[0]["x-dynamo-session-id"] == "run-1"
    assert not any("session-id" in name for name in told("aibrix", 1.0)[0])


def test_dynamo_is_told_the_length_that_is_expected() -> None:
    assert told("dynamo", 5.0, max_tokens=300)[1]["nvext"]["agent_hints"]["osl"] == 300
    assert told("dynamo", 5.0, max_tokens=300, hinted_output_tokens=40)[1]["nvext"]["agent_hints"]["osl"] == 40


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(DIALECTS)))
def test_other_kinds_are_told_nothing(kind: str) -> None:
    exchange = Exchange("chat/completions", json.loads(RAW), RAW, (), True)
    call = ModelCall("c", "r", "w", "s", 0, "m", deadline_at=NOW + 1.0, priority=3, tenant="acme")
    assert hinted(exchange, call, endpoint(kind), NOW) is exchange


def test_what_the_caller_said_itself_stays() -> None:
    raw = b'{"model": "m", "priority": 7 }\n'
    assert told("vllm", 0.1, raw=raw)[1]["priority"] == 7
    assert told("dynamo", 0.1, raw=b'{"model": "m", "nvext": {"a": 1}}')[1]["nvext"] == {"a": 1}
    headers, _ = told("envoy", 5.0, headers=(("X-Envoy-Upstream-Rq-Timeout-Ms", "9"),))
    assert [value for name, value in headers.items() if name.lower() == "x-envoy-upstream-rq-timeout-ms"] == ["9"]


def test_a_tenant_that_no_header_can_hold_is_not_sent() -> None:
    for tenant in ("a\r\nx-evil: 1", "müller", " "):
        assert "x-llm-d-inference-fairness-id" not in told("llm-d", 1.0, tenant=tenant)[0]


@given(
    st.dictionaries(st.text(max_size=4).filter(lambda key: key != "priority"), st.text() | st.integers(), max_size=3)
)
def test_any_body_takes_another_field(body: dict[str, Any]) -> None:
    raw = json.dumps(body, indent=1).encode() + b" \n"
    body_sent = told("vllm", 1.0, raw=raw)[1]
    assert body_sent == {**body, "priority": body_sent["priority"], "model": "m"}


def test_each_attempt_is_told_what_is_left_then() -> None:
    call = ModelCall("c", "r", "w", "s", 0, "m", deadline_at=NOW + 3.0)
    exchange = Exchange("chat/completions", json.loads(RAW), RAW, (), False)
    first, second = (hinted(exchange, call, endpoint("envoy"), NOW + waited) for waited in (0.0, 2.0))
    assert [dict(one.headers)["x-envoy-upstream-rq-timeout-ms"] for one in (first, second)] == ["3000", "1000"]
