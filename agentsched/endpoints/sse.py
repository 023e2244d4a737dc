"""Server-sent events, cut out of a byte stream (WHATWG HTML, section 9.2): whole events, never half ones."""

from dataclasses import dataclass

__all__ = ["MAX_EVENT_BYTES", "Event", "EventTooLong", "SseDecoder"]

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""An event longer than this is a broken or hostile stream."""


class EventTooLong(ValueError):
    """An event did not end within `MAX_EVENT_BYTES`."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its bytes as they came, blank line included, and its joined ``data`` (empty for a comment)."""

    raw: bytes
    data: bytes


class SseDecoder:
    """Feed it bytes as they come; it gives back the events they complete."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completes, in order.

        Raises:
            EventTooLong: the stream goes on and on without a blank line.
        """
        held = self._held + chunk if self._held else chunk
        events: list[Event] = []
        start = 0
        while True:
            end = _event_end(held, start)
            if end < 0:
                break
            raw = held[start:end]
            events.append(Event(raw, _data(raw)))
            start = end
        self._held = held[start:]
        if len(self._held) > MAX_EVENT_BYTES:
            raise EventTooLong(f"no end of an event within {MAX_EVENT_BYTES} bytes")
        return events

    @property
    def rest(self) -> bytes:
        """Bytes of an event that was never completed."""
        return self._held


def _event_end(held: bytes, start: int) -> int:
    """The index after the first blank line from ``start`` on, whatever its line ends; -1: none yet."""
    best = -1
    for blank in (b"\n\n", b"\r\n\r\n", b"\r\r"):
        at = held.find(blank, start)
        if at >= 0 and (best < 0 or at + len(blank) < best):
            best = at + len(blank)
    return best


def _data(raw: bytes) -> bytes:
    if raw.startswith(b"data: ") and raw.count(b"\n") == 2 and b"\r" not in raw:
        return raw[6:-2]
    lines = [line[5:].removeprefix(b" ") for line in raw.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines)
