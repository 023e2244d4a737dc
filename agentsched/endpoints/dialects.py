"""What servers are told of a call beyond what the OpenAI API has words for: its urgency, its run, its expected length.

One table, by the endpoint's ``kind``; who speaks plain ``openai`` is told nothing. Hints are made for each attempt at
the instant it starts: what is left is then what is said, and nothing is said of time once there is none: a server may
take an expired budget for the most urgent one of all. What the caller itself put into a body or a header stays.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from agentsched.core.call import ModelCall
from agentsched.core.endpoint import Endpoint
from agentsched.endpoints.exchange import Exchange
from agentsched.endpoints.request import with_fields

__all__ = ["DIALECTS", "Facts", "Hints", "hinted", "urgency"]

_NEUTRAL_S = 10.0
"""A call of priority 0 with this much time left is as urgent as one that says nothing."""

_DOUBLINGS = 10.0
"""Urgency reaches its ends at this many halvings or doublings of that time."""

_USUAL_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an attempt when it starts.

    Attributes:
        call: the call.
        endpoint: where it goes.
        left_s: seconds until the call must be answered; None: no limit.
    """

    call: ModelCall
    endpoint: Endpoint
    left_s: float | None

    @property
    def output_tokens(self) -> int:
        """How long the answer is expected to be, as far as the caller said."""
        said = self.call.hinted_output_tokens or self.call.max_tokens
        return max(1, said or _USUAL_TOKENS)

    @property
    def left_ms(self) -> int | None:
        """Whole milliseconds left, at least one; None: no limit, or nothing is left."""
        return None if self.left_s is None or self.left_s <= 0.0 else max(1, math.floor(self.left_s * 1e3))


@dataclass(frozen=True, slots=True)
class Hints:
    """What to add to a request: headers, and fields of the body, which are added one level deep."""

    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    body: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def urgency(facts: Facts) -> float:
    """From -1 (can wait) to 1 (at once); 0 with 10 s left and with no limit. Each step of priority halves the time."""
    doublings = float(facts.call.priority)
    if facts.left_s is not None and facts.left_s > 0.0:
        doublings += math.log2(_NEUTRAL_S / facts.left_s)
    return max(-1.0, min(1.0, doublings / _DOUBLINGS))


def _vllm(facts: Facts) -> Hints:
    # Lower first, any integer; 0 is what everybody else has. Without the priority policy it is refused.
    return Hints(body={"priority": round(-100 * urgency(facts))} if facts.endpoint.priority else {})


def _sglang(facts: Facts) -> Hints:
    # Higher first. The gateway keeps a routing key's requests at one worker, where the run's prefixes are cached.
    body = {"priority": round(100 * urgency(facts))} if facts.endpoint.priority else {}
    return Hints({"x-smg-routing-key": facts.call.run_id}, body)


def _tensorrt_llm(facts: Facts) -> Hints:
    # Higher first, from 0 to 1: what is outside is refused with 422.
    return Hints(body={"priority": round((1.0 + urgency(facts)) / 2.0, 3)} if facts.endpoint.priority else {})


def _dynamo(facts: Facts) -> Hints:
    # Higher first. Timing comes back in the answer's ``nvext``, if it is asked for.
    agent = {"priority": round(5.0 * (1.0 + urgency(facts))), "osl": facts.output_tokens}
    return Hints(
        {"x-dynamo-session-id": facts.call.run_id},
        {"nvext": {"agent_hints": agent, "extra_fields": ["timing"]}} if facts.endpoint.priority else {},
    )


def _llm_d(facts: Facts) -> Hints:
    # Positive whole milliseconds, relative, for streams only; the profile says how the time is split between both.
    headers = {"x-llm-d-inference-fairness-id": facts.call.tenant}
    if facts.call.stream and facts.left_ms is not None:
        profile = facts.endpoint.profile
        stretch = facts.left_ms / (profile.ttft_s + (facts.output_tokens - 1) * profile.tpot_s)
        headers["x-llm-d-slo-ttft-ms"] = str(max(1, math.floor(profile.ttft_s * stretch)))
        headers["x-llm-d-slo-tpot-ms"] = str(max(1, math.floor(profile.tpot_s * stretch)))
    return Hints(headers)


def _aibrix(facts: Facts) -> Hints:
    # Not x-session-id: there it is an address in base64.
    return Hints({"x-aibrix-session-key": facts.call.run_id})


def _envoy(facts: Facts) -> Hints:
    # Relative; what arrives later than that is answered with 504.
    return Hints({} if facts.left_ms is None else {"x-envoy-upstream-rq-timeout-ms": str(facts.left_ms)})


DIALECTS: Mapping[str, Callable[[Facts], Hints]] = MappingProxyType(
    {
        "vllm": _vllm,
        "sglang": _sglang,
        "tensorrt_llm": _tensorrt_llm,
        "dynamo": _dynamo,
        "llm-d": _llm_d,
        "aibrix": _aibrix,
        "envoy": _envoy,
    }
)
"""What each kind is told; a kind that is not here is told nothing."""


def hinted(exchange: Exchange, call: ModelCall, endpoint: Endpoint, now: float) -> Exchange:
    """The request with what this endpoint's kind is told at ``now``; itself, if that is nothing."""
    dialect = DIALECTS.get(endpoint.kind)
    if dialect is None:
        return exchange
    hints = dialect(Facts(call, endpoint, None if call.deadline_at is None else call.deadline_at - now))
    given = {name.lower() for name, _ in exchange.headers}
    headers = tuple((name, value) for name, value in hints.headers.items() if name not in given and _sendable(value))
    body = {name: value for name, value in hints.body.items() if name not in exchange.body}
    return replace(with_fields(exchange, body), headers=(*exchange.headers, *headers))


def _sendable(value: str) -> bool:
    """Tenants are free text; what no header may hold is not sent."""
    return value.isascii() and value.isprintable() and bool(value.strip())
