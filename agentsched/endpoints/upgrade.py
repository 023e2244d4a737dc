"""Whole answers that are asked for as streams and put together again, so that silence shows token by token.

A request is upgraded only where the whole answer can be rebuilt from the stream: one choice, no log probabilities, and
no field in its body whose effect on a stream is unknown here.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from agentsched.endpoints.answers import MalformedAnswer
from agentsched.endpoints.exchange import Exchange
from agentsched.endpoints.request import encoded, with_fields
from agentsched.endpoints.token_ids import is_ids

__all__ = ["Assembler", "as_stream", "known_fields_only", "may_upgrade", "tells_logprobs"]

_SAMPLING = frozenset(
    {
        "model",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "max_tokens",
        "stop",
        "seed",
        "n",
        "user",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "logit_bias",
        "priority",
    }
)
_SERVICE = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
        "store",
        "tool_choice",
        "tools",
    }
)
_KNOWN: Mapping[str, frozenset[str]] = {
    "chat/completions": _SAMPLING
    | _SERVICE
    | {
        "chat_template_kwargs",
        "logprobs",
        "max_completion_tokens",
        "messages",
        "reasoning_effort",
        "response_format",
        "stream_options",
        "verbosity",
    },
    "completions": _SAMPLING | {"logprobs", "prompt", "stream_options"},
    "responses": _SAMPLING
    | _SERVICE
    | {"include", "input", "instructions", "max_output_tokens", "reasoning", "text", "truncation"},
}
"""Fields of a body that are known to mean the same for a stream as for a whole answer."""

_PLACE = frozenset({"choices", "usage", "object"})
_WHOLE_OBJECT = {"chat.completion.chunk": "chat.completion"}
_PIECES = frozenset({"arguments", "content", "data", "summary", "text", "transcript"})
"""Texts inside objects that come in pieces; others (ids, types, names) are said once, or again and again."""

_RESPONSE_ENDS = frozenset({"response.completed", "response.incomplete", "response.cancelled"})


def known_fields_only(exchange: Exchange, *others: str) -> bool:
    """Whether every field of the body is one whose meaning is known, or of the others; and it asks for one choice."""
    body = exchange.body
    return body.keys() - _KNOWN[exchange.api] <= set(others) and body.get("n") in (None, 1)


def tells_logprobs(body: Mapping[str, Any]) -> bool:
    """Whether log probabilities are asked for; a number of 0 asks for those of the chosen tokens."""
    asked = body.get("logprobs")
    return asked is not None and asked is not False


def may_upgrade(exchange: Exchange) -> bool:
    """Whether a whole answer to this request can be put together from a stream, equal to the one given directly."""
    body = exchange.body
    if exchange.stream or not known_fields_only(exchange) or tells_logprobs(body):
        return False
    prompt = body.get("prompt")
    several = isinstance(prompt, list) and not is_ids(prompt)  # one choice per prompt
    return not several and not body.get("include") and "stream_options" not in body


def as_stream(exchange: Exchange) -> Exchange:
    """The same request, asking for a stream and for its usage."""
    asked: dict[str, Any] = {"stream": True}
    if exchange.api != "responses":
        asked["stream_options"] = {"include_usage": True}
    return replace(with_fields(exchange, asked), stream=True)


@dataclass(slots=True)
class _Choice:
    """One choice so far: texts by field, tool calls by index, everything else as it was said last."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    tools: dict[int, dict[str, Any]] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)
    finish_reason: str | None = None


class Assembler:
    """Takes the events of one stream and gives the body of the whole answer.

    Args:
        api: one of `agentsched.endpoints.exchange.APIS`.
    """

    def __init__(self, api: str) -> None:
        self._api = api
        self._head: dict[str, Any] = {}
        self._usage: Any = None
        self._choice: _Choice | None = None
        self._response: Any = None

    def copy(self) -> "Assembler":
        """One that begins with what this one has."""
        return deepcopy(self)

    def take(self, event: Mapping[str, Any]) -> None:
        """Add one event's data."""
        if self._api == "responses":
            kind = event.get("type")
            if isinstance(kind, str) and kind in _RESPONSE_ENDS:
                self._response = event.get("response")
            return
        for name, value in event.items():
            if name not in _PLACE and (value is not None or name not in self._head):
                self._head[name] = value
        self._head.setdefault("object", _whole_object(event.get("object")))
        self._usage = event.get("usage") or self._usage
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._add(choice)

    def _add(self, choice: dict[str, Any]) -> None:
        held = self._choice = self._choice or _Choice()
        held.finish_reason = choice.get("finish_reason") or held.finish_reason
        held.beside |= {k: v for k, v in choice.items() if k not in ("delta", "text", "finish_reason")}
        delta = choice.get("delta")
        for name, value in (delta if isinstance(delta, dict) else {"text": choice.get("text")}).items():
            if name == "tool_calls" and isinstance(value, list):
                _add_tools(held.tools, value)
            elif isinstance(value, str) and name != "role":
                held.texts.setdefault(name, []).append(value)
            elif value is not None or name not in held.said:
                held.said[name] = _joined(held.said.get(name), value)

    def body(self) -> bytes:
        """The whole answer as JSON.

        Raises:
            MalformedAnswer: the stream held none.
        """
        if self._api == "responses":
            if not isinstance(self._response, dict):
                raise MalformedAnswer("the stream ended without its response")
            return encoded(self._response)
        if self._choice is None:
            raise MalformedAnswer("the stream held no choice")
        chat = self._api == "chat/completions"
        answer = dict(self._head)
        answer["choices"] = [_chat_choice(self._choice) if chat else _text_choice(self._choice)]
        answer["usage"] = self._usage
        return encoded(answer)


def _whole_object(chunk_object: object) -> object:
    return _WHOLE_OBJECT.get(chunk_object, chunk_object) if isinstance(chunk_object, str) else chunk_object


def _add_tools(tools: dict[int, dict[str, Any]], deltas: list[Any]) -> None:
    """Arguments come in pieces; everything else is said once, by some servers again and again."""
    for delta in deltas:
        if not isinstance(delta, dict):
            continue
        index = delta.get("index")
        call = tools.setdefault(index if isinstance(index, int) else len(tools), {})
        function = delta.get("function")
        for name, value in delta.items():
            if name not in ("index", "function") and value is not None:
                call[name] = value
        if isinstance(function, dict):
            held = call.setdefault("function", {"name": None, "arguments": ""})
            held["name"] = held["name"] or function.get("name")
            said = function.get("arguments")
            if said is not None:  # some servers say them once, as an object
                held["arguments"] = _piece("arguments", held["arguments"], said)


def _joined(held: Any, value: Any) -> Any:
    """What was said of a field, and what is said now: objects and lists (``reasoning_details``, ``annotations``,
    ``audio``) come in pieces too. A list's item belongs to the one before that has its index and type."""
    if isinstance(held, dict) and isinstance(value, dict):
        said = {name: piece for name, piece in value.items() if piece is not None}
        return held | {name: _piece(name, held.get(name), piece) for name, piece in said.items()}
    if not (isinstance(held, list) and isinstance(value, list)):
        return value
    items = list(held)
    for piece in value:
        kind = _kind_of(piece)
        at = next((i for i, item in enumerate(items) if kind is not None and _kind_of(item) == kind), None)
        if at is not None:
            items[at] = _joined(items[at], piece)
        elif piece not in items:
            items.append(piece)
    return items


def _piece(name: str, held: Any, value: Any) -> Any:
    text = name in _PIECES and isinstance(held, str) and isinstance(value, str)
    return held + value if text else _joined(held, value)


def _kind_of(item: object) -> tuple[int, object] | None:
    index = item.get("index") if isinstance(item, dict) else None
    return (index, item.get("type")) if isinstance(item, dict) and isinstance(index, int) else None


def _chat_choice(held: _Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, **held.said}
    message |= {name: "".join(pieces) for name, pieces in held.texts.items()}
    if held.tools:
        message["content"] = message["content"] or None
        calls = (held.tools[index] for index in sorted(held.tools))
        message["tool_calls"] = [{"type": "function", **call} for call in calls]
    return {"index": 0, "logprobs": None, **held.beside, "message": message, "finish_reason": held.finish_reason}


def _text_choice(held: _Choice) -> dict[str, Any]:
    text = "".join(held.texts.get("text", ()))
    return {"index": 0, "logprobs": None, **held.beside, "text": text, "finish_reason": held.finish_reason}
