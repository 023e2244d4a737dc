"""What kind of call an exchange is: its size, its needs, whether it may be repeated, the name of its step."""

import marshal
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agentsched.endpoints.exchange import Exchange
from agentsched.intercept.tokens import estimate_tokens

__all__ = ["Description", "describe", "step_name"]

_MESSAGE_TOKENS = 4
_REPLY_TOKENS = 3
_IMAGE_TOKENS = 765
_TOOL_TOKENS_PER_BYTE = 0.254
_STEP_HEAD = 200
_IMAGE_PARTS = ("image_url", "input_image", "image")
_SYSTEM_ROLES = ("system", "developer")
"""Tuples: what stands there in a request may be anything, and is for the server to refuse."""


class Description(NamedTuple):
    """What the body tells without knowing run or pool.

    Attributes:
        needs: see `agentsched.core.endpoint.CAPABILITIES`.
        input_tokens: `estimate_tokens` of every text in it, 4 per message and 3 for the reply (ChatML, as OpenAI's
            cookbook counts), 765 per image (1024 x 1024 at high detail there), 0.254 per byte of marshalled tool
            definition (1,894 definitions against cl100k_base as JSON: .254, standard deviation .016).
        max_tokens: the caller's cap on output tokens.
        prefix: CRC-32 of system messages and tools; 0 where there are none.
        repeatable: whether it leaves nothing behind on the server that a second sending would leave twice.
        continues: the response it continues (``previous_response_id``).
        owned: whether it lives on in a conversation or a background job that the caller's own code looks up at the
            caller's own address.
        last_text: the last text in it.
        kind: what tells calls of one step from those of another, see `step_name`.
    """

    needs: frozenset[str]
    input_tokens: int
    max_tokens: int | None
    prefix: int
    repeatable: bool
    continues: str | None
    owned: bool
    last_text: str
    kind: tuple[str, ...]


@dataclass(slots=True)
class _Contents:
    system: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tokens: int = _REPLY_TOKENS
    images: int = 0
    prompts: int = 1


def describe(exchange: Exchange) -> Description:
    """Look through an exchange once. Wrong types in the body are skipped: judging them is the server's business."""
    body = exchange.body
    contents = _contents(body)
    schema = _schema(body)
    tools = _dicts(body.get("tools")) or _dicts(body.get("functions"))
    blob = marshal.dumps(tools, 0) if tools else b""
    system = "\n".join(contents.system)
    stateful = exchange.api == "responses"
    continues = body.get("previous_response_id") if stateful else None
    owned = stateful and bool(body.get("conversation") or body.get("background"))
    tokens = contents.tokens + _IMAGE_TOKENS * contents.images + _TOOL_TOKENS_PER_BYTE * len(blob)
    return Description(
        needs=_needs(exchange, contents, tools, schema),
        input_tokens=round(tokens) + estimate_tokens("".join(contents.texts)),
        max_tokens=_max_tokens(body),
        prefix=zlib.crc32(blob, zlib.crc32(system.encode("utf-8", "surrogatepass"))),
        repeatable=not stateful or not (owned or continues or body.get("store") is not False or _hosted(tools)),
        continues=continues if isinstance(continues, str) and continues else None,
        owned=owned,
        last_text=contents.texts[-1] if contents.texts else "",
        kind=(system[:_STEP_HEAD], *(_name(tool) for tool in tools), _schema_name(schema)),
    )


def _contents(body: Mapping[str, Any]) -> _Contents:
    found = _Contents()
    instructions = body.get("instructions")
    if isinstance(instructions, str):
        _add_message(found, {"role": "system", "content": instructions})
    for name in ("messages", "input"):
        messages = body.get(name)
        if isinstance(messages, str):
            messages = ({"role": "user", "content": messages},)
        for message in messages if isinstance(messages, (list, tuple)) else ():
            if isinstance(message, dict):
                _add_message(found, message)
    _add_prompt(found, body.get("prompt"))
    return found


def _add_message(found: _Contents, message: Mapping[str, Any]) -> None:
    found.tokens += _MESSAGE_TOKENS
    before = len(found.texts)
    content = message.get("content")
    if isinstance(content, str):
        found.texts.append(content)
    elif isinstance(content, list):
        for part in _dicts(content):
            _add_text(found, part.get("text"))
            found.images += part.get("type") in _IMAGE_PARTS
    if message.get("role") in _SYSTEM_ROLES:
        found.system += found.texts[before:]
        return
    _add_text(found, message.get("arguments"))
    _add_text(found, message.get("output"))
    for call in _dicts(message.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, dict):
            _add_text(found, function.get("arguments"))


def _add_text(found: _Contents, text: object) -> None:
    if isinstance(text, str):
        found.texts.append(text)


def _add_prompt(found: _Contents, prompt: object) -> None:
    """The completions API takes a text, a list of them, a list of tokens, or a list of such lists."""
    if isinstance(prompt, str):
        found.texts.append(prompt)
    elif isinstance(prompt, list) and prompt:
        if isinstance(prompt[0], int):
            found.tokens += len(prompt)
            return
        found.prompts = len(prompt)
        for item in prompt:
            _add_text(found, item)
            found.tokens += len(item) if isinstance(item, list) else 0


def step_name(about: Description) -> str:
    """A name for a call that nobody named.

    Equal for calls with the same first 200 characters of system message (what follows often holds data), the same tool
    names and the same output schema's name.
    """
    text = "\n".join(about.kind).strip()
    return f"call-{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}" if text else "call"


def _needs(
    exchange: Exchange, contents: _Contents, tools: list[dict[str, Any]], schema: Mapping[str, Any] | None
) -> frozenset[str]:
    body = exchange.body
    needs = []
    if exchange.api != "chat/completions":
        needs.append(exchange.api)
    if exchange.stream:
        needs.append("stream")
    if tools:
        needs.append("tools")
    if contents.images:
        needs.append("vision")
    if schema is not None:
        needs.append("json_schema")
    if body.get("logprobs") or body.get("top_logprobs"):
        needs.append("logprobs")
    if contents.prompts > 1 or _several(body.get("n")) or _several(body.get("best_of")):
        needs.append("n")
    return frozenset(needs)


def _several(count: object) -> bool:
    return isinstance(count, int) and count > 1


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The output format, if it is a JSON schema (``response_format`` in chats, ``text.format`` in responses)."""
    form = body.get("response_format")
    if form is None:
        text = body.get("text")
        form = text.get("format") if isinstance(text, dict) else None
    return form if isinstance(form, dict) and form.get("type") == "json_schema" else None


def _max_tokens(body: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_output_tokens", "max_tokens"):
        value = body.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return None


def _schema_name(schema: Mapping[str, Any] | None) -> str:
    if schema is None:
        return ""
    inner = schema.get("json_schema")
    return str((inner if isinstance(inner, dict) else schema).get("name", ""))


def _name(tool: Mapping[str, Any]) -> str:
    """A tool's name: inside ``function`` in chats, beside it in responses; a hosted tool has its type only."""
    inner = tool.get("function")
    name = inner.get("name") if isinstance(inner, dict) else tool.get("name")
    return name if isinstance(name, str) else str(tool.get("type", ""))


def _hosted(tools: list[dict[str, Any]]) -> bool:
    return any(tool.get("type") not in ("function", "custom") for tool in tools)


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
