"""Answers as chat completions and text completions put them on the wire, streamed and whole.

A stream's JSON around each token never changes, so it is formatted once per request and the token is spliced in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from agentsched.emulator.answers import Answer
from agentsched.emulator.calls import Call
from agentsched.emulator.token_ids import ids_of, pieces

__all__ = ["ChatWire", "CompletionWire", "Usage", "Wire", "event"]

_MARK = "\x00"  # stands where the token goes; JSON escapes it, so it occurs nowhere else
_MARK_JSON = json.dumps(_MARK)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call."""

    prompt_tokens: int
    cached_tokens: int
    output_tokens: int

    def chat(self) -> dict[str, Any]:
        """Return the usage object of (chat) completions."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.prompt_tokens + self.output_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


class Wire(Protocol):
    """One API's way of saying an answer."""

    def opening(self) -> bytes:
        """Return the events before the first token."""

    def token(self, index: int) -> bytes:
        """Return the event that carries the answer's token with this index."""

    def closing(self, usage: Usage) -> bytes:
        """Return the events after the last token."""

    def whole(self, usage: Usage) -> bytes:
        """Return the body of the answer when it is not streamed."""


def event(data: Any) -> bytes:
    """Return a server-sent event that carries a JSON value."""
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


@lru_cache(maxsize=8192)
def _json_text(token: str) -> bytes:
    return json.dumps(token).encode()


class _Spliced:
    """An event with a hole for the token's text."""

    __slots__ = ("_after", "_before", "_tokens")

    def __init__(self, chunk: dict[str, Any], tokens: tuple[str, ...]) -> None:
        before, _, after = event(chunk).partition(_MARK_JSON.encode())
        self._before = before
        self._after = after
        self._tokens = tokens

    def __call__(self, index: int) -> bytes:
        return self._before + _json_text(self._tokens[index]) + self._after


class ChatWire:
    """``/v1/chat/completions``."""

    def __init__(self, call: Call, answer: Answer, request_id: str, created: int) -> None:
        self._call = call
        self._answer = answer
        self._head = {"id": request_id, "created": created, "model": call.model}
        self._usage_field: dict[str, Any] = {"usage": None} if call.include_usage else {}
        delta: dict[str, Any] = {"content": _MARK}
        if answer.tool_name is not None:
            delta = {"tool_calls": [{"index": 0, "function": {"arguments": _MARK}}]}
        self.token = _Spliced(self._chunk(delta, None), answer.tokens)

    def opening(self) -> bytes:
        delta: dict[str, Any] = {"role": "assistant", "content": ""}
        if self._answer.tool_name is not None:
            function = {"name": self._answer.tool_name, "arguments": ""}
            call = {"index": 0, "id": self._answer.call_id, "type": "function", "function": function}
            delta = {"role": "assistant", "content": None, "tool_calls": [call]}
        return event(self._chunk(delta, None))

    def closing(self, usage: Usage) -> bytes:
        last = event(self._chunk({}, self._answer.finish_reason))
        if self._call.include_usage:
            last += event({**self._object("chat.completion.chunk"), "choices": [], "usage": usage.chat()})
        return last + b"data: [DONE]\n\n"

    def whole(self, usage: Usage) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": self._answer.text, "refusal": None}
        if self._answer.tool_name is not None:
            function = {"name": self._answer.tool_name, "arguments": self._answer.text}
            message["content"] = None
            message["tool_calls"] = [{"id": self._answer.call_id, "type": "function", "function": function}]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._answer.finish_reason}
        return json.dumps(
            {**self._object("chat.completion"), "choices": [choice], "usage": usage.chat()}, separators=(",", ":")
        ).encode()

    def _object(self, kind: str) -> dict[str, Any]:
        return {"id": self._head["id"], "object": kind, "created": self._head["created"], "model": self._head["model"]}

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._object("chat.completion.chunk"), "choices": [choice], **self._usage_field}


class CompletionWire:
    """``/v1/completions``."""

    def __init__(self, call: Call, answer: Answer, request_id: str, created: int) -> None:
        self._call = call
        self._answer = answer
        self._head = {"id": request_id, "object": "text_completion", "created": created, "model": call.model}
        self._spliced = _Spliced(self._chunk(_MARK, None), answer.tokens)

    def opening(self) -> bytes:
        return b""

    def token(self, index: int) -> bytes:
        if not self._call.tells_ids:
            return self._spliced(index)
        chunk = self._chunk(self._answer.tokens[index], None, self._answer.ids[index : index + 1], opens=index == 0)
        return event(chunk)

    def closing(self, usage: Usage) -> bytes:
        last = event(self._chunk("", self._answer.finish_reason))
        if self._call.include_usage:
            last += event({**self._head, "choices": [], "usage": usage.chat()})
        return last + b"data: [DONE]\n\n"

    def whole(self, usage: Usage) -> bytes:
        chunk = self._chunk(self._answer.text, self._answer.finish_reason, self._answer.ids, opens=True)
        return json.dumps({**chunk, "usage": usage.chat()}, separators=(",", ":")).encode()

    def _chunk(
        self, text: str, finish_reason: str | None, ids: tuple[int, ...] = (), *, opens: bool = False
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
        call = self._call
        if call.tells_ids is not None:  # who knows of ids says so in every choice
            choice["prompt_token_ids"] = (call.ids or ids_of(pieces(call.prompt))) if call.tells_ids and opens else None
            choice["token_ids"] = ids if call.tells_ids else None
        return {**self._head, "choices": [choice]}
