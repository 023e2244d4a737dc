"""Server-sent events, cut out of a byte stream (WHATWG HTML, section 9.2): whole events, never half ones."""

import re
from dataclasses import dataclass

__all__ = ["MAX_EVENT_BYTES", "Event", "EventTooLong", "SseDecoder"]

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""An event longer than this is a broken or hostile stream."""

_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
"""The end of a line and an empty one after it; each line may end in its own way."""

_LONGEST_BLANK_LINE = 4
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """An event did not end within `MAX_EVENT_BYTES`."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its bytes as they came, blank line included, and its joined ``data`` (empty for a comment)."""

    raw: bytes
    data: bytes


class SseDecoder:
    """Feed it bytes as they come; it gives back the events they complete.

    An event is given back with the first byte that completes it. Where that is the first half of a CRLF, its other
    half becomes the head of the next event, so that no byte is lost and none is waited for.
    """

    __slots__ = ("_begun", "_held", "_returns")

    def __init__(self) -> None:
        self._held = bytearray()
        self._begun = False
        self._returns = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completes, in order.

        Raises:
            EventTooLong: the stream goes on and on without a blank line.
        """
        held = self._held
        searched = max(0, len(held) - _LONGEST_BLANK_LINE + 1)
        held += chunk
        self._returns = self._returns or b"\r" in chunk
        events: list[Event] = []
        start = 0
        while (end := self._event_end(max(start, searched))) > 0:
            events.append(self._event(bytes(held[start:end])))
            start = end
        del held[:start]
        if len(held) > MAX_EVENT_BYTES:
            raise EventTooLong(f"no end of an event within {MAX_EVENT_BYTES} bytes")
        return events

    @property
    def rest(self) -> bytes:
        """Bytes of an event that was never completed."""
        return bytes(self._held)

    def _event_end(self, start: int) -> int:
        """The index after the first blank line from ``start`` on; 0: none yet."""
        if not self._returns:
            at = self._held.find(b"\n\n", start)
            return 0 if at < 0 else at + 2
        found = _BLANK_LINE.search(self._held, start)
        return 0 if found is None else found.end()

    def _event(self, raw: bytes) -> Event:
        told = raw
        if not self._begun:
            self._begun, told = True, raw.removeprefix(_BYTE_ORDER_MARK)
        return Event(raw, _data(told))


def _data(raw: bytes) -> bytes:
    if raw.startswith(b"data: ") and raw.count(b"\n") == 2 and b"\r" not in raw:
        return raw[6:-2]
    values = (_value(line) for line in raw.splitlines())
    return b"\n".join(value for value in values if value is not None)


def _value(line: bytes) -> bytes | None:
    """What a line adds to the event's data; None: nothing, it is another field or a comment."""
    name, _, value = line.partition(b":")
    return value.removeprefix(b" ") if name == b"data" else None
