"""Asking a model to finish: what ``on_late="wrap_up"`` puts into a call that is made when time is short."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentsched.endpoints.exchange import Exchange
from agentsched.endpoints.request import encoded

__all__ = ["FINISH", "LEAST_TOKENS", "tokens_in", "wrapped_up"]

FINISH = (
    "Time is almost up. Finish now: give your best final answer from what is known already, briefly, without further "
    "tool calls."
)
"""What the model is told, at the end of the last message."""

LEAST_TOKENS = 32
"""An answer is allowed this many tokens, however little time there is: less would be no answer."""

_KEPT = 0.9
"""Share of the time left that an answer may take: the run has to make something of it."""

_CAPS = {
    "chat/completions": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
}
"""The keys that cap an answer; the first is the one that is set where the caller set none."""


def tokens_in(left_s: float, ttft_s: float, tpot_s: float) -> int:
    """How many tokens an answer can have that is to be there in ``left_s`` seconds, at this forecast pace."""
    return max(LEAST_TOKENS, int((_KEPT * left_s - ttft_s) / tpot_s))


def wrapped_up(exchange: Exchange, most_tokens: int) -> Exchange:
    """The same request, but for the last message, which ends with `FINISH`, and the cap on the answer's length.

    A plain text completion is capped only: nothing can be said to a model that goes on with a text. So is a call whose
    messages have a shape that is not known.

    Args:
        exchange: what the caller asks.
        most_tokens: what the time allows.
    """
    changes: dict[str, Any] = _capped(exchange.body, _CAPS[exchange.api], most_tokens)
    name = {"chat/completions": "messages", "responses": "input"}.get(exchange.api)
    if name is not None:
        told = _told(exchange.body.get(name), "input_text" if exchange.api == "responses" else "text")
        if told is not None:
            changes[name] = told
    body = {**exchange.body, **changes}
    return replace(exchange, body=body, raw=encoded(body))


def _told(messages: object, part: str) -> object | None:
    """The messages with `FINISH` at their end; None: their shape is not known."""
    if isinstance(messages, str):
        return f"{messages}\n\n{FINISH}"
    if not isinstance(messages, list) or not messages:
        return None
    last = messages[-1]
    if isinstance(last, dict) and last.get("role") == "user":
        content = last.get("content")
        if isinstance(content, str):
            return [*messages[:-1], {**last, "content": f"{content}\n\n{FINISH}"}]
        if isinstance(content, list):
            return [*messages[:-1], {**last, "content": [*content, {"type": part, "text": FINISH}]}]
    return [*messages, {"role": "user", "content": FINISH}]


def _capped(body: Mapping[str, Any], keys: tuple[str, ...], most: int) -> dict[str, int]:
    said = [key for key in keys if isinstance(body.get(key), int)]
    return {key: min(most, body[key]) for key in said} if said else {keys[0]: most}
