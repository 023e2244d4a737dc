"""Going on with an answer elsewhere: which calls allow it, in which ways, and with which request.

No way changes what the caller has: a continuation either goes on from its last character, or it is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentsched.core.call import Handed, Way
from agentsched.endpoints.exchange import Exchange
from agentsched.endpoints.request import encoded
from agentsched.endpoints.token_ids import ASKED, TokenIds, asks_for_ids, holds_text_back, is_ids
from agentsched.endpoints.upgrade import known_fields_only, may_upgrade, tells_logprobs

__all__ = ["Transcript", "cap_of", "continued", "ways_of"]

_CONTENT = ("content", "text")
_COMPLETION_TOKENS = 16
_MARKS: Mapping[str, Mapping[str, Any]] = {
    "continue_final_message": {},
    "assistant": {},
    "prefix": {"prefix": True},
    "partial": {"partial": True},
}
"""What the unfinished message says beside its text, by the dialect of `Endpoint.continuation`."""


def ways_of(exchange: Exchange) -> frozenset[Way]:
    """The ways in which this answer may be gone on with once there is text of it; none: it may only be begun.

    A replay is tried where the answer should come out the same again: temperature 0, or a seed; never of a whole answer
    that is asked for as a stream, of which the caller has nothing. Text is not gone on with where its form is
    prescribed (a grammar would begin anew), nor where a field of the body is unknown.
    """
    body = exchange.body
    if exchange.api == "responses":
        return _ways_of_response(exchange)
    if body.get("n") not in (None, 1) or not (exchange.stream or may_upgrade(exchange)):
        return frozenset()
    ways = set()
    repeats = isinstance(body.get("seed"), int) or body.get("temperature") == 0
    if exchange.stream and repeats and not tells_logprobs(body) and not asks_for_ids(body):
        ways.add(Way.REPLAY)
    if known_fields_only(exchange, ASKED):
        way = _way_of_completion(body) if exchange.api == "completions" else _way_of_chat(body)
        ways |= set() if way is None else {way}
    return frozenset(ways)


def _way_of_completion(body: Mapping[str, Any]) -> Way | None:
    """By ids where the prompt is given by them, or where the caller wants to see them; else text behind a text."""
    text = isinstance(body.get("prompt"), str)
    if is_ids(body.get("prompt")) or (text and asks_for_ids(body)):
        told = body.get(ASKED) is not False and not holds_text_back(body.get("stop"))
        return Way.TOKENS if told else None
    return Way.PROMPT if text else None


def _way_of_chat(body: Mapping[str, Any]) -> Way | None:
    return Way.PREFILL if _may_prefill(body) and ASKED not in body else None


def _ways_of_response(exchange: Exchange) -> frozenset[Way]:
    """A streamed response that leaves nothing on the server is replayed, if it should come out the same again."""
    body = exchange.body
    replays = exchange.stream and body.get("temperature") == 0 and body.get("store") is False
    return (
        frozenset({Way.REPLAY}) if replays and not body.get("include") and known_fields_only(exchange) else frozenset()
    )


def _may_prefill(body: Mapping[str, Any]) -> bool:
    form, messages = body.get("response_format"), body.get("messages")
    plain = form is None or (isinstance(form, dict) and form.get("type") == "text")
    last = messages[-1] if isinstance(messages, list) and messages else None
    return plain and isinstance(last, dict) and last.get("role") != "assistant"


@dataclass(slots=True)
class Transcript:
    """What there is of a streamed answer: what the caller has, or would have of a whole one if it read a stream.

    Attributes:
        head: the fields that every chunk repeats (id, created, model), as they were said first.
        opened: whether the role was said.
        texts: (field, text), in order; neighbours have different fields.
        tools: (name, arguments) of each tool call that was handed over, whole.
        holding: whether there is part of a tool call, which nobody can go on with.
        tokens: output tokens handed over.
        ids: those of the tokens; None: another attempt could not go on by them anyway.
    """

    head: dict[str, Any] = field(default_factory=dict)
    opened: bool = False
    texts: list[tuple[str, list[str]]] = field(default_factory=list)
    tools: list[tuple[str, str]] = field(default_factory=list)
    holding: bool = False
    tokens: int = 0
    ids: TokenIds | None = None

    def add(self, name: str, text: str) -> None:
        """Text of this field was handed over."""
        if not self.texts or self.texts[-1][0] != name:
            self.texts.append((name, []))
        self.texts[-1][1].append(text)

    @property
    def handed(self) -> Handed:
        """What of the answer is out, as far as going on with it is concerned."""
        if not self.texts and not self.tools:
            return Handed.NOTHING
        plain = not self.tools and len(self.texts) == 1 and self.texts[0][0] in _CONTENT
        if not plain or self.holding:
            return Handed.OTHER
        return Handed.TOKENS if self.ids is not None and self.ids.exact else Handed.TEXT

    @property
    def text(self) -> str:
        """The plain text that was handed over."""
        return "".join(piece for name, pieces in self.texts if name in _CONTENT for piece in pieces)

    def copy(self) -> "Transcript":
        """A transcript of its own that begins with this one's text; what was held back is not part of it."""
        texts = [(name, ["".join(pieces)]) for name, pieces in self.texts]
        return Transcript(dict(self.head), self.opened, texts, list(self.tools), tokens=self.tokens)


def cap_of(body: Mapping[str, Any], given: object, way: Way | None, known_tokens: int) -> int | None:
    """The cap on the whole answer; None: there is none, or the server's own, of which nothing is known.

    A text completion whose request does not speak of a cap has one of 16 tokens (OpenAI's API, vLLM), unless it has
    gone beyond that already. One that says null has none (vLLM).

    Args:
        body: the request.
        given: the cap that it names, if it does.
        way: how the answer is gone on with.
        known_tokens: how far it has come.
    """
    if isinstance(given, int):
        return given
    unsaid = way is Way.TOKENS and "max_tokens" not in body
    return _COMPLETION_TOKENS if unsaid and known_tokens <= _COMPLETION_TOKENS else None


def continued(exchange: Exchange, way: Way, dialect: str, handed: Transcript) -> Exchange:
    """The request that goes on where the caller's text ends.

    Where it is text that is sent, whitespace at that end is not: chat templates trim it, and then it would be said
    twice or never. The splice leaves out what of it the server says again.

    Args:
        exchange: the caller's request, or the same as a stream.
        way: how; a replay is the caller's own request.
        dialect: how the endpoint wants to be told of an unfinished message, see `Endpoint.continuation`.
        handed: what there is.
    """
    if way is Way.REPLAY:
        return exchange
    text, known = handed.text.rstrip(), handed.tokens
    body = dict(exchange.body)
    if way is Way.TOKENS:
        assert handed.ids is not None
        known = len(handed.ids.copy().output)
        body["prompt"] = handed.ids.so_far
        cap = cap_of(body, body.get("max_tokens"), way, known)
        body |= {} if cap is None else {"max_tokens": cap}
    elif way is Way.PROMPT:
        body["prompt"] = f"{body['prompt']}{text}"
    elif text:
        body["messages"] = [*body["messages"], {"role": "assistant", "content": text, **_MARKS[dialect]}]
        if dialect == "continue_final_message":
            body |= {"continue_final_message": True, "add_generation_prompt": False}
    for name in ("max_tokens", "max_completion_tokens"):
        limit = body.get(name)
        if isinstance(limit, int):
            body[name] = max(1, limit - known)
    return Exchange(exchange.api, body, encoded(body), exchange.headers, exchange.stream)
