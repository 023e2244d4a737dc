"""The ids of a text completion's tokens: asking for them, and knowing where an answer stands by them.

Text that is sent back as part of a prompt may be cut into other tokens than those it was written in; ids may not. But
ids run ahead of the text: a server keeps back the bytes of a character that is not whole yet, and everything that may
turn out to be the beginning of a text that ends the answer. And a prompt that ends inside a character makes servers
lose that character, or say the whole prompt once more. So an answer is gone on with only from a token of which it is
known that its text, to the last byte, has been said.

What is asked is vLLM's ``return_token_ids``: each choice then has ``token_ids``, those of its own tokens, and once
``prompt_token_ids``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agentsched.endpoints.exchange import Exchange
from agentsched.endpoints.request import with_fields

__all__ = ["ASKED", "TokenIds", "asking_for_ids", "asks_for_ids", "holds_text_back", "is_ids"]

ASKED = "return_token_ids"
"""The field of a request that asks for ids."""

_MOST_WHOLE = 1 << 18
"""Tokens of one model that are remembered; vocabularies are smaller."""

_OUTPUT, _PROMPT = "token_ids", "prompt_token_ids"


def asks_for_ids(body: Mapping[str, Any]) -> bool:
    """Whether the caller itself wants to see ids."""
    return bool(body.get(ASKED))


def is_ids(prompt: object) -> bool:
    """Whether a prompt is one list of ids, or a list that holds one such list. Only the first id is looked at: prompts
    are long, and whether all of it is one is for the server to judge."""
    ids = prompt[0] if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], list) else prompt
    return isinstance(ids, list) and bool(ids) and type(ids[0]) is int


def holds_text_back(stop: object) -> bool:
    """Whether a server says text only when it is sure not to be the beginning of one of these ends of the answer.

    It keeps back as many characters as the longest of them has, less one.
    """
    texts = [stop] if isinstance(stop, str) else stop
    return bool(texts) and (not isinstance(texts, list) or any(not isinstance(t, str) or len(t) > 1 for t in texts))


def asking_for_ids(exchange: Exchange) -> Exchange:
    """The same request, asking for ids too."""
    return exchange if ASKED in exchange.body else with_fields(exchange, {ASKED: True})


@dataclass(slots=True)
class TokenIds:
    """The ids of one answer, as far as its servers told them.

    Attributes:
        prompt: those of the prompt; None: not told yet.
        shown: whether the caller asked for ids itself, and has those that came.
        output: those of the answer so far.
        said: how many of them make up exactly the text that was said; None: that cannot be told.
        lost: whether text came without ids.
        whole: tokens of this model that are known to end with a whole character; shared by all its answers, and grows.
    """

    prompt: list[int] | None
    shown: bool = False
    output: list[int] = field(default_factory=list)
    said: int | None = 0
    lost: bool = False
    whole: set[int] = field(default_factory=set, repr=False)

    @classmethod
    def of(cls, body: Mapping[str, Any], whole: set[int]) -> "TokenIds":
        """Those of an answer to this request that is yet to come."""
        prompt = body.get("prompt")
        if not isinstance(prompt, list) or not is_ids(prompt):
            return cls(None, asks_for_ids(body), whole=whole)
        return cls(prompt[0] if isinstance(prompt[0], list) else prompt, asks_for_ids(body), whole=whole)

    @property
    def exact(self) -> bool:
        """Whether what is known is enough to go on."""
        if self.lost or self.prompt is None or self.said is None:
            return False
        return not self.shown or self.said == len(self.output)  # what the caller has cannot be said once more

    @property
    def so_far(self) -> list[int]:
        """The prompt and the answer, up to where the text ends."""
        return [*(self.prompt or ()), *self.output[: self.said]]

    def copy(self) -> "TokenIds":
        """Ids of their own that begin with these, up to where the text ends."""
        return replace(self, output=self.output[: self.said])

    def taken(self, event: dict[str, Any], *, told_prompt: bool) -> dict[str, Any]:
        """Keep what an event tells; answers it without what the caller did not ask for.

        Args:
            event: an event of a stream.
            told_prompt: whether the prompt of this attempt is not the caller's.
        """
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return event
        ids, prompt = choice.get(_OUTPUT), choice.get(_PROMPT)
        self._keep(choice.get("text"), ids)
        if prompt and self.prompt is None and isinstance(prompt, list):  # an empty list is no prompt: it was not told
            self.prompt = prompt
        hidden: dict[str, Any] = {}
        if ids is not None and not self.shown:
            hidden[_OUTPUT] = None
        if prompt is not None and (told_prompt or not self.shown):
            hidden[_PROMPT] = None
        return {**event, "choices": [{**choice, **hidden}]} if hidden else event

    def _keep(self, text: object, ids: object) -> None:
        """A single token with which text came has said all of it; of several, the last may have said a part only."""
        told = ids if isinstance(ids, list) and all(type(token) is int for token in ids) else []
        whole = self.said == len(self.output) > 0  # nothing is known of where the prompt ends
        self.output += told
        if not text:
            return
        self.said = None
        if not told:
            self.lost = True
        elif len(told) == 1:
            self.said = len(self.output)
            if whole and len(self.whole) < _MOST_WHOLE:  # the text is its own, from the first byte to the last
                self.whole.add(told[0])
        elif told[-1] in self.whole:
            self.said = len(self.output)
