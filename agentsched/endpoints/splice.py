"""One valid stream out of several attempts: what each of them may add to what the caller has.

The first attempt's events pass unchanged, but for tool calls, which are held back until they are whole: half a tool
call could never be taken back. The events of an attempt that goes on take the identity of the first one's, lose what
the caller has already, and are refused where they contradict it.
"""

from typing import Any

import orjson

from agentsched.core.call import Way
from agentsched.endpoints.continuation import Transcript
from agentsched.endpoints.request import encoded
from agentsched.endpoints.token_ids import TokenIds

__all__ = ["Diverged", "Splice"]

_IDENTITY = ("id", "created", "model", "system_fingerprint", "service_tier")


class Diverged(ValueError):
    """The answer was not the same when it was made once more."""


class Splice:
    """What one attempt hands to the caller, event by event.

    Args:
        way: how it goes on with the answer; None: it begins it.
        before: what there is; None: nothing.
        limit_tokens: the caller's cap on output tokens; a text that has reached it gets no further.
        ids: to be filled with the ids of an answer that is made from its beginning; None: they are of no use.
    """

    def __init__(
        self,
        way: Way | None = None,
        before: Transcript | None = None,
        *,
        limit_tokens: int | None = None,
        ids: TokenIds | None = None,
    ) -> None:
        self.transcript = Transcript() if before is None else before.copy()
        self.transcript.ids = (
            ids if way is not Way.TOKENS or before is None or before.ids is None else before.ids.copy()
        )
        self._way = way
        self._known_tokens = self._sent_tokens()
        self._known_characters = 0
        self._expected: list[tuple[str, str]] = []
        self._expected_tools: list[tuple[str, str]] = []
        self._full = False
        if way is Way.REPLAY:
            self._expected = [(name, "".join(pieces)) for name, pieces in self.transcript.texts]
            self._expected_tools = list(self.transcript.tools)
        elif way is not None:
            text = self.transcript.text
            space = "" if way is Way.TOKENS else text[len(text.rstrip()) :]
            self._known_characters = len(text) - len(space)
            self._expected = [(self.transcript.texts[-1][0], space)] if space else []
            self._full = limit_tokens is not None and self._known_tokens >= limit_tokens
        self._held: list[tuple[bytes, dict[str, Any]]] = []

    def pass_on(self, raw: bytes, event: dict[str, Any] | None) -> bytes:
        """What the caller gets for this event, possibly nothing.

        Args:
            raw: the event's bytes.
            event: its data; None: the end mark of the stream.

        Raises:
            Diverged: a replay says something else than the caller has.
        """
        if event is None:
            return self._release() + raw
        fitted = self._fitted(event)
        if fitted is None:
            return b""
        return self._handed(raw if fitted is event else _written(fitted), fitted)

    def keep(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """What this event adds to a whole answer, of which nobody has anything yet; None: nothing.

        Nothing is held back, but the transcript tells when a tool call has begun.
        """
        fitted = self._fitted(event)
        choice = None if fitted is None else _only_choice(fitted)
        if choice is not None:
            delta = _delta(choice)
            self.transcript.holding = self.transcript.holding or bool(delta.get("tool_calls"))
            self._note(delta)
        return fitted

    def _sent_tokens(self) -> int:
        """Output tokens that are sent along as the beginning of the answer."""
        if self._way is Way.TOKENS and self.transcript.ids is not None:
            return len(self.transcript.ids.output)
        return self.transcript.tokens if self.goes_on else 0

    @property
    def goes_on(self) -> bool:
        """Whether what comes is not the whole answer, but what follows what there is."""
        return self._way not in (None, Way.REPLAY)

    def count(self, tokens: int) -> int:
        """The attempt has come to this many output tokens, as far as can be seen; answers how many they are."""
        ids = self.transcript.ids
        if ids is not None and ids.output and not ids.lost:
            tokens = len(ids.output) - self._known_tokens
        self.transcript.tokens = self._known_tokens + tokens
        return tokens

    # -- holding back tool calls -------------------------------------------------------------------------------------

    def _handed(self, raw: bytes, event: dict[str, Any]) -> bytes:
        choice = _only_choice(event)
        if choice is None:
            return raw if not self._held else self._release() + raw
        delta = _delta(choice)
        if delta.get("tool_calls"):
            before = b"" if not self._held or _index(delta) == _index(_delta(self._held_choice())) else self._release()
            self._hold(raw, event)
            return before + self._release() if choice.get("finish_reason") else before
        released = self._release() if self._held else b""
        self._note(delta)
        return released + raw

    def _note(self, delta: dict[str, Any]) -> None:
        self.transcript.opened = self.transcript.opened or "role" in delta
        for name, text in _texts(delta):
            self.transcript.add(name, text)

    def _held_choice(self) -> dict[str, Any]:
        return _only_choice(self._held[-1][1]) or {}

    def _hold(self, raw: bytes, event: dict[str, Any]) -> None:
        self._held.append((raw, event))
        self.transcript.holding = True

    def _release(self) -> bytes:
        """The tool call that was held back is whole: it goes out, unless the caller has it from an earlier attempt."""
        if not self._held:
            return b""
        held, self._held = self._held, []
        self.transcript.holding = False
        tool = _tool_of([event for _, event in held])
        self.transcript.opened = True
        if self._expected_tools:
            if tool != self._expected_tools.pop(0):
                raise Diverged("another tool call than the one that was handed over")
            return b""
        self.transcript.tools.append(tool)
        return b"".join(raw for raw, _ in held)

    # -- going on ----------------------------------------------------------------------------------------------------

    def _fitted(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """The event as a part of the stream that the caller reads; None: it says nothing new."""
        if not self.transcript.head:
            self.transcript.head = {name: event[name] for name in _IDENTITY if name in event}
        if self.transcript.ids is not None:
            event = self.transcript.ids.taken(event, told_prompt=self._way is Way.TOKENS)
        if self._way is None:
            return event
        event = {**event, **{name: value for name, value in self.transcript.head.items() if name in event}}
        usage = event.get("usage")
        if isinstance(usage, dict) and self._known_tokens:
            event["usage"] = self._whole_usage(usage)
        choice = _only_choice(event)
        if choice is None:
            return event
        choice = dict(choice)
        event["choices"] = [choice]
        said = self._without_known(choice)
        finish = choice.get("finish_reason")
        if finish and self._expected and self._way is Way.REPLAY:
            raise Diverged("it ended sooner than what was handed over")
        if choice.get("logprobs"):
            choice["logprobs"] = _moved(choice["logprobs"], self._known_characters)
        new = said or (self._way is Way.TOKENS and not self._full)  # by ids nothing is said that was said already
        return event if new or finish or event.get("usage") else None

    def _without_known(self, choice: dict[str, Any]) -> bool:
        """Take out of the choice what the caller has; answers whether anything is left."""
        delta = dict(_delta(choice))
        if self.transcript.opened:
            delta.pop("role", None)
        cut = False
        for name, text in _texts(delta):
            rest = "" if self._full else self._unknown(name, text)
            cut = cut or rest != text
            delta[name] = rest
        if cut and choice.get("logprobs") is not None:
            choice["logprobs"] = None  # of tokens that are not in this event
        if self._expected and self._way is Way.REPLAY and delta.get("tool_calls"):
            raise Diverged("a tool call instead of the rest of the text")
        left = {name: value for name, value in delta.items() if value not in ("", None, [])}
        if "delta" in choice:
            choice["delta"] = left if cut or self.transcript.opened else delta
        else:
            choice["text"] = delta.get("text", "")
        return bool(left)

    def _unknown(self, name: str, text: str) -> str:
        """What of this text the caller does not have."""
        while text and self._expected:
            field, known = self._expected[0]
            common = _common(known, text) if field == name else 0
            if common < min(len(known), len(text)) or field != name:
                if self._way is Way.REPLAY:
                    raise Diverged("another text than the one that was handed over")
                self._expected.clear()  # the server did not repeat all of the whitespace at the seam
                return text[common:]
            text = text[common:]
            if common == len(known):
                self._expected.pop(0)
            else:
                self._expected[0] = (field, known[common:])
        return text

    def _whole_usage(self, usage: dict[str, Any]) -> dict[str, Any]:
        """The usage of the whole answer: what was sent along as its beginning is output, not prompt."""
        known = self._known_tokens
        read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if not isinstance(read, int) or not isinstance(written, int):
            return usage
        read, written = max(0, read - known), known + (0 if self._full else written)
        told = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        return {**usage, **{name: count for name, count in told.items() if name in usage}}


def _written(event: dict[str, Any]) -> bytes:
    """An event as the caller reads it; by orjson, as most streams are written token by token, where it can say it."""
    try:
        return b"data: " + orjson.dumps(event) + b"\n\n"
    except orjson.JSONEncodeError:  # half a surrogate pair, a number of more than 64 bits
        return b"data: " + encoded(event) + b"\n\n"


def _only_choice(event: dict[str, Any]) -> dict[str, Any] | None:
    choices = event.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else None


def _delta(choice: dict[str, Any]) -> dict[str, Any]:
    delta = choice.get("delta")
    return delta if isinstance(delta, dict) else {"text": choice.get("text")}


def _texts(delta: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, text) for name, text in delta.items() if name != "role" and isinstance(text, str) and text]


def _moved(logprobs: object, by: int) -> object:
    """Log probabilities; those of a text completion tell where each token stands, which is so many characters on."""
    offsets = logprobs.get("text_offset") if isinstance(logprobs, dict) else None
    if not by or not isinstance(logprobs, dict) or not isinstance(offsets, list):
        return logprobs
    return {**logprobs, "text_offset": [at + by if isinstance(at, int) else at for at in offsets]}


def _index(delta: dict[str, Any]) -> object:
    """Which tool call a delta is about; the last one where it is about several."""
    calls = delta.get("tool_calls")
    last = calls[-1] if isinstance(calls, list) and calls else None
    return last.get("index") if isinstance(last, dict) else None


def _tool_of(events: list[dict[str, Any]]) -> tuple[str, str]:
    """The function and the arguments that these events tell together; ids differ from one sending to the next."""
    name, arguments = "", []
    for event in events:
        calls = _delta(_only_choice(event) or {}).get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                name = name or str(function.get("name") or "")
                arguments.append(str(function.get("arguments") or ""))
    return name, "".join(arguments)


def _common(known: str, text: str) -> int:
    """How many characters they begin with in common."""
    most = min(len(known), len(text))
    if known[:most] == text[:most]:
        return most
    return next(k for k in range(most) if known[k] != text[k])
