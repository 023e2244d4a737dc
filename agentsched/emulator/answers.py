"""Composing the answer to a call: which tokens, why it ends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from agentsched.emulator.calls import Call
from agentsched.emulator.config import Lengths
from agentsched.emulator.example import minimal_instance
from agentsched.emulator.token_ids import ids_of, pieces, texts_of
from agentsched.emulator.words import count_tokens, draw_length, words

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
        ids: those of the tokens, where they are asked for or the prompt was given by ids.
    """

    tokens: tuple[str, ...]
    finish_reason: FinishReason
    tool_name: str | None = None
    call_id: str = ""
    ids: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.tokens)

    @property
    def complete(self) -> bool:
        """Whether nothing was left to be said: the one token there is stands for none."""
        return self.tokens == ("",)


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
    ids: list[int] = []
    if call.tells_ids or call.ids:
        tokens, ids = _tokens_with_ids(call, lengths, identity)
    else:
        tokens = _json_tokens(call) if call.schema is not None else _text_tokens(call, lengths, identity)
    tokens = _stopped(tokens, call.stop)
    reason = "stop" if len(tokens) <= limit else "length"
    return Answer(tuple(tokens[:limit]), reason, ids=tuple(ids[: min(len(tokens), limit)]))


def _text_tokens(call: Call, lengths: Lengths, identity: bytes) -> list[str]:
    total = _length(call, lengths, identity)
    tokens = _pieces(call.say)
    if len(tokens) < total:
        tokens += words(identity, total - len(tokens), start=not tokens)
    if not call.partial:
        return tokens
    rest = _rest(tokens, call.partial)
    return _foreign(call, total - count_tokens(call.partial), identity) if rest is None else rest


def _tokens_with_ids(call: Call, lengths: Lengths, identity: bytes) -> tuple[list[str], list[int]]:
    """The same where tokens go by their ids, which tell exactly where a partial answer ends."""
    total, known = _length(call, lengths, identity), call.partial_tokens
    tokens = pieces(call.say)
    tokens += [word.encode() for word in words(identity, max(0, total - len(tokens)), start=not tokens)]
    ids = ids_of(tokens, said=True)
    if tuple(ids[:known]) != call.ids[len(call.ids) - known :]:
        texts = _foreign(call, total - known, identity)
        return texts, ids_of((text.encode() for text in texts), said=True)
    texts = texts_of(tokens)
    if not _whole(tokens[:known]):  # servers of today then say all of it once more, as soon as the character is whole
        again = next((k for k in range(known, len(texts)) if texts[k]), None)
        if again is not None:
            texts[again] = call.prompt + "".join(texts[: again + 1])
    return texts[known:] or [""], ids[known:]


def _whole(tokens: list[bytes]) -> bool:
    """Whether these tokens end with a whole character."""
    return not tokens or bool(texts_of(tokens)[-1])


def _length(call: Call, lengths: Lengths, identity: bytes) -> int:
    if call.wanted_tokens is not None:
        return call.wanted_tokens
    return draw_length(identity, lengths.median_tokens, lengths.sigma, lengths.min_tokens, lengths.max_tokens)


def _foreign(call: Call, left: int, identity: bytes) -> list[str]:
    """Somebody else began this answer: words that depend on its beginning, up to the same length."""
    return words(blake2b(call.partial.encode(), key=identity).digest(), max(1, left), start=False)


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
        if left < max(1, len(token)):
            return [token[left:], *tokens[index + 1 :]]
        left -= len(token)
    return [""]  # complete already: one empty token says so


def _pieces(text: str) -> list[str]:
    return texts_of(pieces(text))


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
