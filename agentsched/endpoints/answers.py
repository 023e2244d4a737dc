"""What an answer says: tokens, usage, errors; for each of the three APIs, whole or as events of a stream."""

import json
from dataclasses import dataclass, field
from typing import Any

from agentsched.core.call import Usage

__all__ = ["Chunk", "MalformedAnswer", "error_of", "read_answer", "read_chunk", "usage_of"]

_DONE = b"[DONE]"
_MOST_MESSAGE = 300
_RESPONSE_ENDS = frozenset({"response.completed", "response.incomplete", "response.cancelled"})
_RESPONSE_FAILED = "response.failed"


class MalformedAnswer(ValueError):
    """The bytes are no JSON object."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event of a stream.

    Attributes:
        content: whether it carries output (text, a tool call, reasoning, a refusal).
        characters: how many characters of text it carries.
        unsaid: whether it carries a token of which nothing can be said yet, a part of a character (vLLM).
        finish: whether it says that the output is complete.
        done: whether nothing follows it.
        usage: token counts, where it has any.
        error: the message of an in-band error.
        event: the event's data; None: it is the end mark.
    """

    content: bool = False
    characters: int = 0
    unsaid: bool = False
    finish: bool = False
    done: bool = False
    usage: Usage | None = None
    error: str | None = None
    event: dict[str, Any] | None = field(default=None, compare=False)


_NOTHING = Chunk()
_STREAM_DONE = Chunk(finish=True, done=True)


def read_answer(body: bytes) -> dict[str, Any]:
    """The JSON object of a whole answer.

    Raises:
        MalformedAnswer: it is none.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer(f"no JSON: {error}") from error
    if not isinstance(answer, dict):
        raise MalformedAnswer(f"no JSON object but a {type(answer).__name__}")
    return answer


def read_chunk(api: str, data: bytes) -> Chunk:
    """What one event of a stream says.

    Raises:
        MalformedAnswer: its data is no JSON object.
    """
    if not data:
        return _NOTHING
    if data.strip() == _DONE:
        return _STREAM_DONE
    event = read_answer(data)
    error = error_of(event)
    if error is not None:
        return Chunk(error=error)
    return _response_event(event) if api == "responses" else _completion_chunk(event)


def _completion_chunk(event: dict[str, Any]) -> Chunk:
    content, characters, unsaid, finish = False, 0, False, False
    choices = event.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        delta = choice.get("delta")
        parts = delta if isinstance(delta, dict) else {"text": choice.get("text")}
        unsaid = unsaid or (parts.get("content", parts.get("text")) == "" and "role" not in parts)
        for name, value in parts.items():
            if value and name != "role":
                content = True
                characters += len(value) if isinstance(value, str) else 0
        finish = finish or bool(choice.get("finish_reason"))
    usage = usage_of(event) if event.get("usage") else None
    unsaid = unsaid and not (content or finish)
    return Chunk(content, characters, unsaid, finish, False, usage, None, event)


def _response_event(event: dict[str, Any]) -> Chunk:
    kind = event.get("type")
    if not isinstance(kind, str):
        return Chunk(event=event)
    if kind.endswith(".delta"):
        delta = event.get("delta")
        return Chunk(content=True, characters=len(delta) if isinstance(delta, str) else 0, event=event)
    response = event.get("response")
    if kind == _RESPONSE_FAILED:
        reason = response.get("error") if isinstance(response, dict) else None
        return Chunk(error=_message(reason or "the response failed"))
    if kind in _RESPONSE_ENDS:
        usage = usage_of(response) if isinstance(response, dict) and response.get("usage") else None
        return Chunk(finish=True, done=True, usage=usage, event=event)
    return Chunk(event=event)


def error_of(answer: dict[str, Any]) -> str | None:
    """The message of an error object in an answer that came with status 200; None: there is no error.

    A whole failed answer of the responses API (``"object": "response"``) keeps its shape and is an answer; a stream
    that ends with one is an error.
    """
    if answer.get("object") == "response":
        return None
    error = answer.get("error")
    if not error and "error" in (answer.get("type"), answer.get("object")):
        error = answer.get("message") or "an error event"
    if not error:
        return None
    return _message(error)


def _message(error: object) -> str:
    if isinstance(error, dict):
        error = error.get("message") or error.get("type") or error
    return str(error)[:_MOST_MESSAGE]


def usage_of(answer: dict[str, Any]) -> Usage:
    """Token counts in any of the three shapes, and what the server says of its time; None where it did not say."""
    usage = _object(answer.get("usage"))
    details = _object(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    cached = _count(details.get("cached_tokens"))
    timings = _object(answer.get("timings"))
    return Usage(
        _count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        _count(usage.get("completion_tokens", usage.get("output_tokens"))),
        _count(timings.get("cache_n")) if cached is None else cached,
        _decode_s(timings, _object(_object(answer.get("nvext")).get("timing"))),
    )


def _decode_s(llama_cpp: dict[str, Any], dynamo: dict[str, Any]) -> float | None:
    """Seconds from the first token to the last, by llama.cpp's ``timings`` or Dynamo's ``nvext.timing``."""
    decode_ms = _milliseconds(llama_cpp.get("predicted_ms"))
    if decode_ms is None:
        total_ms, first_ms = _milliseconds(dynamo.get("total_time_ms")), _milliseconds(dynamo.get("ttft_ms"))
        if total_ms is not None and first_ms is not None and total_ms >= first_ms:
            decode_ms = total_ms - first_ms
    return None if decode_ms is None else decode_ms / 1000.0


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _milliseconds(value: object) -> float | None:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and 0.0 <= value < 1e9
    return float(value) if usable else None  # type: ignore[arg-type]


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
