"""A model server for the few tests of LangChain's suite that want a model which understands what it is asked.

The emulator calls tools with values of its own; this one knows the answers that those tests look for, and nothing else.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.served import Served

MODEL = "gpt-4o-mini"

CALLS: dict[str, dict[str, object]] = {
    "magic_function(3)": {"input": 3},
    "weather in San Francisco": {"location": "San Francisco, CA"},
    "你好啊集团": {"customer_name": "你好啊集团", "description": "a Chinese technology company"},
    "こんにちは株式会社": {"customer_name": "こんにちは株式会社", "description": "a Japanese company"},
}
"""What is asked -> with what the tool on offer is to be called."""

TEXTS = {"a joke about cats": '{"setup": "Why do cats purr?", "punchline": "Nobody has told them not to."}'}
"""What is asked -> what is to be said."""


class Reader(Served):
    """The server."""

    @asynccontextmanager
    async def _up(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", _answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield
        await runner.cleanup()


async def _answer(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    message, reason = _message(body)
    head = {"id": "chatcmpl-1", "created": 1, "model": MODEL}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    for index, call in enumerate(message.get("tool_calls", [])):
        call["index"] = index
    choices: list[list[dict[str, Any]]] = [
        [{"index": 0, "delta": message, "finish_reason": None}],
        [{"index": 0, "delta": {}, "finish_reason": reason}],
    ]
    chunks = [{**head, "object": "chat.completion.chunk", "choices": each} for each in choices]
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    events = [*(json.dumps(chunk) for chunk in chunks), "[DONE]"]
    return web.Response(text="".join(f"data: {event}\n\n" for event in events), content_type="text/event-stream")


def _message(body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The assistant's message, and why it ends."""
    last = body["messages"][-1]
    asked = str(last["content"])
    if last["role"] == "user" and body.get("tools"):
        arguments = next(values for text, values in CALLS.items() if text in asked)
        function = {"name": body["tools"][0]["function"]["name"], "arguments": json.dumps(arguments)}
        call = {"id": "call_1", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    said = next((text for question, text in TEXTS.items() if question in asked), "It is sunny.")
    return {"role": "assistant", "content": said}, "stop"
