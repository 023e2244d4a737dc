"""Composing the answer to a call: which tokens, why it ends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from agentsched.emulator.calls import Call
from agentsched.emulator.config import Lengths
from agentsched.emulator.example import minimal_instance
from agentsched.emulator.words import BYTES_PER_TOKEN, count_tokens, draw_length, words

__all__ = ["Answer", "FinishReason", "compose"]

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What will be said.

    Attributes:
        tokens: the text of each output token; for a tool call, the pieces of its arguments.
        finish_reason: why it ends.
        tool_name: the function called; None for text.
        call_id: the id of the tool call.
    """

    tokens: tuple[str, ...]
    finish_reason: FinishReason
    tool_name: str | None = None
    call_id: str = ""

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.tokens)


def compose(call: Call, lengths: Lengths, *, room_tokens: int) -> Answer:
    """Return the answer to a call.

    Args:
        call: the request.
        lengths: how long answers are when the request does not say.
        room_tokens: output tokens that the context has room for.
    """
    limit = room_tokens if call.max_tokens is None else min(call.max_tokens, room_tokens)
    identity = call.identity
    if call.tool is not None:
        tokens = _pieces(json.dumps(minimal_instance(call.tool.schema)))
        reason: FinishReason = "tool_calls" if len(tokens) <= limit else "length"
        call_id = "call_" + blake2b(identity, digest_size=12).hexdigest()
        return Answer(tuple(tokens[:limit]), reason, call.tool.name, call_id)
    tokens = _json_tokens(call) if call.schema is not None else _text_tokens(call, lengths, identity)
    tokens = _stopped(tokens, call.stop)
    return Answer(tuple(tokens[:limit]), "stop" if len(tokens) <= limit else "length")


def _text_tokens(call: Call, lengths: Lengths, identity: bytes) -> list[str]:
    total = call.wanted_tokens
    if total is None:
        total = draw_length(identity, lengths.median_tokens, lengths.sigma, lengths.min_tokens, lengths.max_tokens)
    tokens = _pieces(call.say)
    if len(tokens) < total:
        tokens += words(identity, total - len(tokens), start=not tokens)
    if not call.partial:
        return tokens
    rest = _rest(tokens, call.partial)
    if rest is not None:
        return rest
    # Somebody else began this answer: go on with words that depend on its beginning, up to the same length.
    left = max(1, total - count_tokens(call.partial))
    return words(blake2b(call.partial.encode(), key=identity).digest(), left, start=False)


def _json_tokens(call: Call) -> list[str]:
    tokens = _pieces(json.dumps(minimal_instance(call.schema or {})))
    rest = _rest(tokens, call.partial) if call.partial else tokens
    return tokens if rest is None else rest


def _rest(tokens: list[str], partial: str) -> list[str] | None:
    """Return the tokens after ``partial``, if it is how the text begins; a token that it cuts is given in part."""
    left = len(partial)
    text = "".join(tokens)
    if not text.startswith(partial):
        return None
    for index, token in enumerate(tokens):
        if left < len(token):
            return [token[left:], *tokens[index + 1 :]]
        left -= len(token)
    return [""]  # complete already: one empty token says so


def _pieces(text: str) -> list[str]:
    return [text[start : start + BYTES_PER_TOKEN] for start in range(0, len(text), BYTES_PER_TOKEN)]


def _stopped(tokens: list[str], stops: tuple[str, ...]) -> list[str]:
    """Cut the text before the first stop text."""
    if not stops:
        return tokens
    text = "".join(tokens)
    found = [at for at in (text.find(stop) for stop in stops if stop) if at >= 0]
    if not found:
        return tokens
    left, kept = min(found), []
    for token in tokens:
        if left <= 0:
            break
        kept.append(token[:left])
        left -= len(token)
    return kept or [""]
