"""What an endpoint can do: one small request for each ability, and what its answer must hold."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from agentsched.cli.probe_calls import Caller, Refused
from agentsched.core.endpoint import Endpoint

__all__ = ["ABILITIES", "Ability", "Finding", "find"]

Body = dict[str, Any]

_STRUCTURED_TOKENS = 64
_SCHEMA = {
    "type": "object",
    "properties": {"fine": {"type": "boolean"}},
    "required": ["fine"],
    "additionalProperties": False,
}
_TOOL = {"name": "report", "description": "Report whether all is fine.", "parameters": _SCHEMA}
_ASK = {"role": "user", "content": "Is all fine? Answer yes."}


@dataclass(frozen=True, slots=True)
class Ability:
    """One thing to find out.

    Attributes:
        name: a capability of the configuration, or ``priority``, ``continuation``.
        api: the request path.
        body: the request for this endpoint; None: there is no way known to ask an endpoint of its kind.
        shown: whether the answer shows the ability.
        limit: the body's key for the cap on output tokens; None: the chat one, whatever the endpoint calls it.
        output_tokens: that cap.
    """

    name: str
    api: str
    body: Callable[[Endpoint], Body | None]
    shown: Callable[[Mapping[str, Any]], bool]
    limit: str | None = None
    output_tokens: int = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """``able``: True, False, or None when it could not be told; ``detail`` says why not."""

    able: bool | None
    detail: str = ""


def _chat(**more: object) -> Callable[[Endpoint], Body]:
    return lambda endpoint: {"messages": [_ASK], **more}


def _priority(endpoint: Endpoint) -> Body | None:
    ways: dict[str, Body] = {
        "vllm": {"priority": 1},
        "sglang": {"priority": 1},
        "tensorrt_llm": {"priority": 0.5},
        "dynamo": {"nvext": {"agent_hints": {"priority": 1}}},
    }
    way = ways.get(endpoint.kind)
    return None if way is None else {"messages": [_ASK], **way}


def _continuation(endpoint: Endpoint) -> Body | None:
    start: Body = {"role": "assistant", "content": "Yes, all"}
    host = urlsplit(endpoint.base_url).hostname or ""
    if endpoint.kind in ("vllm", "sglang"):
        return {"messages": [_ASK, start], "continue_final_message": True, "add_generation_prompt": False}
    if endpoint.kind == "llama_cpp":
        return {"messages": [_ASK, start]}
    if host.endswith(("deepseek.com", "mistral.ai")):
        return {"messages": [_ASK, {**start, "prefix": True}]}
    return None


def _token_ids(endpoint: Endpoint) -> Body | None:
    """Of other servers it is not known when they say the text of a token whose last character is not whole."""
    return {"prompt": "One, two,", "return_token_ids": True} if endpoint.kind == "vllm" else None


def _tells_ids(answer: Mapping[str, Any]) -> bool:
    return all(isinstance(_choice(answer).get(name), list) for name in ("prompt_token_ids", "token_ids"))


def _choice(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    return first if isinstance(first, Mapping) else {}


def _message(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    message = _choice(answer).get("message")
    return message if isinstance(message, Mapping) else {}


def _satisfies_schema(answer: Mapping[str, Any]) -> bool:
    try:
        value = json.loads(_message(answer).get("content") or "")
    except (TypeError, ValueError):
        return False
    return isinstance(value, dict) and isinstance(value.get("fine"), bool)


_FORMAT = {"type": "json_schema", "json_schema": {"name": "report", "strict": True, "schema": _SCHEMA}}
_CHOICE = {"type": "function", "function": {"name": "report"}}

ABILITIES: tuple[Ability, ...] = (
    Ability(
        "tools",
        "chat/completions",
        _chat(tools=[{"type": "function", "function": _TOOL}], tool_choice=_CHOICE),
        lambda answer: bool(_message(answer).get("tool_calls")),
        output_tokens=_STRUCTURED_TOKENS,
    ),
    Ability(
        "json_schema",
        "chat/completions",
        _chat(response_format=_FORMAT),
        _satisfies_schema,
        output_tokens=_STRUCTURED_TOKENS,
    ),
    Ability("logprobs", "chat/completions", _chat(logprobs=True), lambda answer: bool(_choice(answer).get("logprobs"))),
    Ability("n", "chat/completions", _chat(n=2), lambda answer: len(answer.get("choices") or ()) == 2),
    Ability(
        "completions",
        "completions",
        lambda endpoint: {"prompt": "One, two,"},
        lambda answer: isinstance(_choice(answer).get("text"), str),
        "max_tokens",
    ),
    Ability(
        "responses",
        "responses",
        lambda endpoint: {"input": "Is all fine? Answer yes.", "store": False},
        lambda answer: isinstance(answer.get("output"), list),
        "max_output_tokens",
    ),
    Ability("token_ids", "completions", _token_ids, _tells_ids, "max_tokens"),
    Ability("priority", "chat/completions", _priority, lambda answer: bool(_message(answer))),
    Ability("continuation", "chat/completions", _continuation, lambda answer: bool(_message(answer).get("content"))),
)
"""In the order in which they are tried. Priority has a key of its own; continuation is told only."""


async def find(caller: Caller, ability: Ability, chat_limit: str) -> Finding:
    """Try one ability.

    Args:
        caller: whom to ask.
        ability: what for.
        chat_limit: what the endpoint calls the cap on output tokens of a chat completion.
    """
    body = ability.body(caller.endpoint)
    if body is None:
        return Finding(None, f"no way known for kind {caller.endpoint.kind}")
    try:
        answer = await caller.call(ability.api, {**body, ability.limit or chat_limit: ability.output_tokens})
    except Refused as refusal:
        transient = refusal.status is None or refusal.status == 429
        return Finding(None if transient else False, str(refusal))
    return Finding(True) if ability.shown(answer) else Finding(False, "accepted, but the answer does not show it")
