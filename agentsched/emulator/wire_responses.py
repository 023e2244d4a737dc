"""Answers as ``/v1/responses`` puts them on the wire, streamed and whole."""

from __future__ import annotations

import json
from typing import Any

from agentsched.emulator.answers import Answer
from agentsched.emulator.calls import Call
from agentsched.emulator.wire import Usage

__all__ = ["ResponsesWire"]


class ResponsesWire:
    """``/v1/responses``: named events with a running number around one output item."""

    def __init__(self, call: Call, answer: Answer, request_id: str, created: int) -> None:
        self._call = call
        self._answer = answer
        self._created = created
        self._id = request_id
        self._number = 0
        self._item_id = ("fc_" if answer.tool_name is not None else "msg_") + request_id.removeprefix("resp_")
        self._place = {"item_id": self._item_id, "output_index": 0}
        if answer.tool_name is None:
            self._place["content_index"] = 0

    def opening(self) -> bytes:
        started = self._response("in_progress", [], None)
        events = self._event("response.created", {"response": started})
        events += self._event("response.in_progress", {"response": started})
        events += self._event("response.output_item.added", {"output_index": 0, "item": self._item("in_progress", "")})
        if self._answer.tool_name is None:
            events += self._event("response.content_part.added", {**self._place, "part": _part("")})
        return events

    def token(self, index: int) -> bytes:
        delta = {**self._place, "delta": self._answer.tokens[index]}
        if self._answer.tool_name is not None:
            return self._event("response.function_call_arguments.delta", delta)
        return self._event("response.output_text.delta", {**delta, "logprobs": []})

    def closing(self, usage: Usage) -> bytes:
        text = self._answer.text
        if self._answer.tool_name is not None:
            named = {**self._place, "name": self._answer.tool_name, "arguments": text}
            events = self._event("response.function_call_arguments.done", named)
        else:
            events = self._event("response.output_text.done", {**self._place, "text": text, "logprobs": []})
            events += self._event("response.content_part.done", {**self._place, "part": _part(text)})
        item = self._item(self._status, text)
        events += self._event("response.output_item.done", {"output_index": 0, "item": item})
        final = self._response(self._status, [item], usage)
        return events + self._event(f"response.{self._status}", {"response": final})

    def whole(self, usage: Usage) -> bytes:
        item = self._item(self._status, self._answer.text)
        return json.dumps(self._response(self._status, [item], usage), separators=(",", ":")).encode()

    @property
    def _status(self) -> str:
        return "incomplete" if self._answer.finish_reason == "length" else "completed"

    def _event(self, kind: str, fields: dict[str, Any]) -> bytes:
        data = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()

    def _item(self, status: str, text: str) -> dict[str, Any]:
        if self._answer.tool_name is not None:
            return {
                "id": self._item_id,
                "type": "function_call",
                "status": status,
                "call_id": self._answer.call_id,
                "name": self._answer.tool_name,
                "arguments": text,
            }
        content = [] if status == "in_progress" else [_part(text)]
        return {"id": self._item_id, "type": "message", "status": status, "role": "assistant", "content": content}

    def _response(self, status: str, output: list[dict[str, Any]], usage: Usage | None) -> dict[str, Any]:
        counts = None
        if usage is not None:
            counts = {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens},
                "output_tokens": usage.output_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.prompt_tokens + usage.output_tokens,
            }
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": None,
            "metadata": {},
            "model": self._call.model,
            "output": output,
            "parallel_tool_calls": True,
            "temperature": None,
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "max_output_tokens": self._call.max_tokens,
            "usage": counts,
        }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
