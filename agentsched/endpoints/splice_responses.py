"""One valid stream of the responses API out of several attempts: what a replay may add to what the caller has.

The first attempt's events pass unchanged. A replay is compared with them, event by event and text by text: what is the
same is left out, the rest takes the ids and the numbering of the first one, and whatever contradicts it is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentsched.core.call import Handed
from agentsched.endpoints.request import encoded
from agentsched.endpoints.splice import Diverged

__all__ = ["ResponsesSplice", "ResponsesTranscript"]

_PLACE = ("output_index", "content_index", "summary_index", "annotation_index")
_SAME = ("text", "arguments", "refusal", "name")
"""What a finished part says, beside its ids."""
_ITEM_IDS = ("id", "call_id")
_RESPONSE_HEAD = ("id", "created_at", "model", "service_tier")

Key = tuple[object, ...]


@dataclass(slots=True)
class ResponsesTranscript:
    """What the caller has of a streamed response.

    Attributes:
        head: the response's identity, as it was said first.
        items: output index -> the ids of that item.
        said: (what kind of event and where, its text) in order; neighbouring pieces of one text are one entry.
        number: the last sequence number; -1: none was said.
        output: whether any text or argument is out.
        tokens: output tokens handed over.
    """

    head: dict[str, Any] = field(default_factory=dict)
    items: dict[int, dict[str, Any]] = field(default_factory=dict)
    said: list[tuple[Key, list[str]]] = field(default_factory=list)
    number: int = -1
    output: bool = False
    tokens: int = 0

    @property
    def handed(self) -> Handed:
        """What of it is out, as far as going on with it is concerned."""
        return Handed.OTHER if self.output else Handed.NOTHING

    def copy(self) -> "ResponsesTranscript":
        """A transcript of its own that begins with this one."""
        items = {index: dict(ids) for index, ids in self.items.items()}
        said = [(key, ["".join(pieces)]) for key, pieces in self.said]
        return ResponsesTranscript(dict(self.head), items, said, self.number, self.output, self.tokens)


class ResponsesSplice:
    """What one attempt hands to the caller; the counterpart of `splice.Splice` for the responses API.

    Args:
        before: what the caller has, if the attempt is a replay; None: it begins.
    """

    goes_on = False

    def __init__(self, before: ResponsesTranscript | None = None) -> None:
        self.transcript = ResponsesTranscript() if before is None else before.copy()
        self._replays = before is not None
        self._expected = [(key, "".join(pieces)) for key, pieces in self.transcript.said] if self._replays else []

    def pass_on(self, raw: bytes, event: dict[str, Any] | None) -> bytes:
        """What the caller gets for this event, possibly nothing.

        Args:
            raw: the event's bytes.
            event: its data; None: an end mark, which some servers add.

        Raises:
            Diverged: the replay says something else than the caller has.
        """
        if event is None:
            return raw
        if not self._replays:
            self._note(event)
            return raw
        key, text = _key(event), _delta(event)
        if text is not None:
            text = self._unknown(key, text)
            if not text:
                return b""
        elif self._expected:
            self._expect(key)
            return b""
        fitted = self._fitted(event, text)
        self._note(fitted)
        kind = str(fitted.get("type"))
        return b"event: " + kind.encode() + b"\ndata: " + encoded(fitted) + b"\n\n"

    def keep(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """A whole response is never gone on with: the event as it is."""
        return event

    def count(self, tokens: int) -> int:
        """The attempt has come to this many output tokens, which it answers."""
        self.transcript.tokens = tokens
        return tokens

    # -- what the caller has -----------------------------------------------------------------------------------------

    def _note(self, event: Mapping[str, Any]) -> None:
        held, key, text = self.transcript, _key(event), _delta(event)
        if text is None:
            held.said.append((key, []))
        elif held.said and held.said[-1][0] == key:
            held.said[-1][1].append(text)
        else:
            held.said.append((key, [text]))
        held.output = held.output or bool(text)
        response, number = event.get("response"), event.get("sequence_number")
        if isinstance(response, dict) and not held.head:
            held.head = {name: response[name] for name in _RESPONSE_HEAD if name in response}
        item, index = event.get("item"), event.get("output_index")
        if isinstance(item, dict) and isinstance(index, int):
            held.items.setdefault(index, {name: item[name] for name in _ITEM_IDS if name in item})
        if isinstance(number, int):
            held.number = max(held.number, number)

    # -- a replay ----------------------------------------------------------------------------------------------------

    def _expect(self, key: Key) -> None:
        """The caller has this event, or the replay is another answer."""
        known, text = self._expected[0]
        if known != key or text:
            raise Diverged("another event than the one that was handed over")
        self._expected.pop(0)

    def _unknown(self, key: Key, text: str) -> str:
        """What of this text the caller does not have."""
        if not self._expected or not text:
            return text
        known, have = self._expected[0]
        if known != key or not (have.startswith(text) or text.startswith(have)):
            raise Diverged("another text than the one that was handed over")
        if len(text) < len(have):
            self._expected[0] = (known, have[len(text) :])
            return ""
        self._expected.pop(0)
        return text[len(have) :]

    def _fitted(self, event: dict[str, Any], text: str | None) -> dict[str, Any]:
        """The event with the ids and the number that the caller's stream goes on with."""
        held, fitted = self.transcript, dict(event)
        if text is not None and text != event.get("delta"):
            fitted["delta"] = text
            if fitted.get("logprobs"):
                fitted["logprobs"] = []  # of tokens that are not in this event
        if isinstance(event.get("sequence_number"), int):
            fitted["sequence_number"] = held.number + 1
        ids = held.items.get(_index(event))
        if ids is not None:
            if "item_id" in fitted and "id" in ids:
                fitted["item_id"] = ids["id"]
            if isinstance(fitted.get("item"), dict):
                fitted["item"] = {**fitted["item"], **ids}
        response = fitted.get("response")
        if isinstance(response, dict):
            fitted["response"] = self._response(response)
        return fitted

    def _response(self, response: Mapping[str, Any]) -> dict[str, Any]:
        held = self.transcript
        made = {**response, **{name: value for name, value in held.head.items() if name in response}}
        output = response.get("output")
        if isinstance(output, list):
            made["output"] = [
                {**item, **held.items.get(index, {})} if isinstance(item, dict) else item
                for index, item in enumerate(output)
            ]
        return made


def _index(event: Mapping[str, Any]) -> int:
    index = event.get("output_index")
    return index if isinstance(index, int) else -1


def _delta(event: Mapping[str, Any]) -> str | None:
    """The text that an event adds; None: it adds none."""
    delta = event.get("delta")
    return delta if isinstance(delta, str) and str(event.get("type")).endswith(".delta") else None


def _key(event: Mapping[str, Any]) -> Key:
    """What must be the same in a replay: the kind of event, its place, and what a finished part or item says."""
    said = [event.get("type"), *(event.get(name) for name in _PLACE), *(_plain(event.get(name)) for name in _SAME)]
    item = event.get("item")
    if isinstance(item, dict):
        said += [item.get("type"), *(_plain(item.get(name)) for name in _SAME)]
    return tuple(said)


def _plain(value: object) -> object:
    return value if isinstance(value, str) else None
