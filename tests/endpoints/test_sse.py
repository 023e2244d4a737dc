"""Server-sent events: the same events however the stream is split, whatever its line ends."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.endpoints import sse
from agentsched.endpoints.sse import EventTooLong, SseDecoder

ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12).map(str.encode)
LINE = st.one_of(
    TEXT.map(lambda value: b"data: " + value),
    TEXT.map(lambda value: b"data:" + value),
    TEXT.map(lambda value: b": " + value),
    TEXT.map(lambda value: b"event: " + value),
    st.just(b"data"),
    st.just(b"dataset: no"),
    st.just(b"retry: 100"),
)


@st.composite
def streams(draw):
    """A valid stream with every line ending in its own way."""
    made = b"\xef\xbb\xbf" if draw(st.booleans()) else b""
    for _ in range(draw(st.integers(1, 5))):
        for line in draw(st.lists(LINE, min_size=1, max_size=4)):
            made += line + draw(ENDS)
        made += draw(ENDS)
    return made


def reference(stream: bytes) -> list[bytes]:
    """The data of each event, by the letter of the standard: one byte at a time."""
    lines, line, previous = [], b"", b""
    for byte in (stream.removeprefix(b"\xef\xbb\xbf")[k : k + 1] for k in range(len(stream))):
        if byte == b"\n" and previous == b"\r":
            pass
        elif byte in (b"\n", b"\r"):
            lines.append(line)
            line = b""
        else:
            line += byte
        previous = byte
    events, data = [], []
    for line in lines:
        if not line:
            if data:
                events.append(b"\n".join(data))
            data = []
            continue
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value[1:] if value.startswith(b" ") else value)
    return [event for event in events if event]


def decoded(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    """The data of the events that hold any, and every byte that came out or is left."""
    decoder = SseDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return [event.data for event in events if event.data], b"".join(event.raw for event in events) + decoder.rest


@given(streams(), st.lists(st.integers(0, 400), max_size=12))
def test_any_split_gives_the_events_of_the_standard(stream, cuts):
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    data, everything = decoded([stream[a:b] for a, b in pairwise(edges)])
    assert data == reference(stream)
    assert everything == stream


@given(streams())
def test_byte_by_byte(stream):
    data, everything = decoded([stream[k : k + 1] for k in range(len(stream))])
    assert data == reference(stream)
    assert everything == stream


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_any_bytes_come_out_again(pieces):
    assert decoded(pieces)[1] == b"".join(pieces)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_is_there_with_the_byte_that_completes_it(end):
    decoder = SseDecoder()
    assert decoder.feed(b"data: one" + end) == []
    (event,) = decoder.feed(end[:1])
    assert event.data == b"one"
    assert decoder.feed(end[1:] + b"data: two" + end + end)[-1].data == b"two"


def test_line_ends_may_be_mixed():
    (event,) = SseDecoder().feed(b"data: one\n\r\n")
    assert event.data == b"one"
    assert event.raw == b"data: one\n\r\n"


def test_data_over_several_lines_is_joined():
    (event,) = SseDecoder().feed(b'event: x\ndata: {"a":\ndata:  1,\ndata\ndata:}\nid: 7\n\n')
    assert event.data == b'{"a":\n 1,\n\n}'


def test_a_comment_is_an_event_without_data():
    (event,) = SseDecoder().feed(b": keep alive\n\n")
    assert (event.raw, event.data) == (b": keep alive\n\n", b"")


def test_a_byte_order_mark_is_no_data():
    first, second = SseDecoder().feed(b"\xef\xbb\xbfdata: one\n\n\xef\xbb\xbfdata: two\n\n")
    assert (first.data, second.data) == (b"one", b""), "only at the very beginning"


def test_half_an_event_is_the_rest():
    decoder = SseDecoder()
    assert len(decoder.feed(b"data: one\n\ndata: tw")) == 1
    assert decoder.rest == b"data: tw"


def test_an_endless_event_is_refused(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    decoder = SseDecoder()
    for _ in range(10):
        decoder.feed(b"data: " + b"x" * 94)
    with pytest.raises(EventTooLong):
        decoder.feed(b"x")


@pytest.mark.parametrize("filler", [b"x", b"x\r"])
def test_a_long_event_in_small_pieces_takes_time_in_proportion(filler):
    """Quadratic work on 4 MB in pieces of 300 bytes would take far longer."""
    import time

    decoder, piece = SseDecoder(), filler * (300 // len(filler))
    began = time.process_time()
    for _ in range(12_000):
        decoder.feed(piece)
    decoder.feed(b"\n\n")
    assert time.process_time() - began < 2.0
