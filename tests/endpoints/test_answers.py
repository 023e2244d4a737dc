"""What answers say, for each API, whole and as events; and that nothing a server may send breaks the reading."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.core.call import Usage
from agentsched.endpoints.answers import Chunk, MalformedAnswer, error_of, read_answer, read_chunk, usage_of
from agentsched.endpoints.exchange import APIS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=3,
)
KEYS = st.sampled_from(
    [
        "choices",
        "delta",
        "text",
        "message",
        "role",
        "finish_reason",
        "usage",
        "error",
        "type",
        "object",
        "response",
        "prompt_tokens",
        "completion_tokens",
        "prompt_tokens_details",
        "cached_tokens",
        "tool_calls",
    ]
)
SHAPED = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


def chunk(api: str, event: object) -> Chunk:
    return read_chunk(api, json.dumps(event).encode())


def delta(**fields: object) -> dict[str, object]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


# -- chat completions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "characters"),
    [
        (delta(content="hello"), 5),
        (delta(role="assistant", content="hi"), 2),
        (delta(reasoning_content="hmm"), 3),
        (delta(refusal="no"), 2),
        (delta(tool_calls=[{"index": 0, "function": {"arguments": "{"}}]), 0),
        (delta(function_call={"arguments": "{"}), 0),
    ],
)
def test_output_in_a_chat_event(event, characters):
    assert chunk("chat/completions", event) == Chunk(content=True, characters=characters)


@pytest.mark.parametrize(
    "event", [delta(role="assistant", content=""), delta(), delta(content=None), {"choices": []}, {}, {"id": "x"}]
)
def test_no_output_in_a_chat_event(event):
    assert chunk("chat/completions", event) == Chunk()


def test_a_token_of_which_nothing_can_be_said_yet():
    assert chunk("chat/completions", delta(content="")) == Chunk(unsaid=True)
    assert chunk("completions", {"choices": [{"text": ""}]}) == Chunk(unsaid=True)
    assert chunk("chat/completions", delta(content="", reasoning_content="so")) == Chunk(True, 2)


def test_the_end_of_a_chat():
    event = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    assert chunk("chat/completions", event) == Chunk(finish=True)
    for data in (b"[DONE]", b" [DONE] "):
        assert read_chunk("chat/completions", data) == Chunk(finish=True, done=True)


def test_usage_in_a_chat_event():
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    assert chunk("chat/completions", {"choices": [], "usage": usage}).usage == Usage(9, 5, 4)
    assert chunk("chat/completions", delta(content="x") | {"usage": None}).usage is None


def test_output_of_the_completions_api():
    assert chunk("completions", {"choices": [{"text": "abc", "finish_reason": None}]}) == Chunk(True, 3)
    assert chunk("completions", {"choices": [{"text": "", "finish_reason": "length"}]}) == Chunk(finish=True)


# -- responses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        "response.output_text.delta",
        "response.function_call_arguments.delta",
        "response.reasoning_summary_text.delta",
        "response.refusal.delta",
    ],
)
def test_output_of_the_responses_api(kind):
    assert chunk("responses", {"type": kind, "delta": "abcd"}) == Chunk(True, 4)


@pytest.mark.parametrize("kind", ["response.created", "response.output_item.added", "response.output_text.done"])
def test_events_without_output(kind):
    assert chunk("responses", {"type": kind, "response": {"error": None}}) == Chunk()


def test_a_response_that_failed_is_an_error_not_an_answer():
    event = {"type": "response.failed", "response": {"object": "response", "error": {"message": "out of memory"}}}
    assert chunk("responses", event) == Chunk(error="out of memory")
    assert chunk("responses", {"type": "response.failed"}) == Chunk(error="the response failed")


@pytest.mark.parametrize("kind", ["completed", "incomplete", "cancelled"])
def test_the_end_of_a_response(kind):
    usage = {"input_tokens": 3, "output_tokens": 8, "input_tokens_details": {"cached_tokens": 1}}
    event = {"type": f"response.{kind}", "response": {"object": "response", "usage": usage}}
    assert chunk("responses", event) == Chunk(finish=True, done=True, usage=Usage(3, 8, 1))


# -- errors in the band ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"error": {"message": "overloaded", "type": "server_error"}}, "overloaded"),
        ({"error": {"type": "server_error"}}, "server_error"),
        ({"error": {"code": 5}}, "{'code': 5}"),
        ({"error": "boom"}, "boom"),
        ({"type": "error", "code": "x", "message": "broken"}, "broken"),
        ({"type": "error", "message": None}, "an error event"),
        ({"object": "error", "message": "broken", "code": 500}, "broken"),
        ({"error": None, "choices": []}, None),
        ({"error": {}, "choices": []}, None),
        ({"object": "response", "status": "failed", "error": {"message": "its own shape"}}, None),
        ({"choices": [{"message": {"content": "no error"}}]}, None),
    ],
)
def test_errors_that_came_with_200(answer, message):
    assert error_of(answer) == message
    for api in APIS:
        assert chunk(api, answer).error == message


def test_an_error_message_is_cut():
    assert len(error_of({"error": "x" * 10_000}) or "") == 300


# -- whole answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a": 1', b"[]", b"null", b'"text"', b"12", b"\xff\xfe{}", b"<html>", b"[" * 100_000]
)
def test_what_is_no_json_object_is_malformed(body):
    with pytest.raises(MalformedAnswer):
        read_answer(body)


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"usage": {"prompt_tokens": 1, "completion_tokens": 2}}, Usage(1, 2)),
        ({"usage": {"input_tokens": 1, "output_tokens": 2}}, Usage(1, 2)),
        ({"usage": {"prompt_tokens": -1, "completion_tokens": "2"}}, Usage()),
        ({"usage": {"prompt_tokens": True}}, Usage()),
        ({"usage": {"prompt_tokens_details": [1]}}, Usage()),
        ({"usage": 3}, Usage()),
        ({}, Usage()),
        ({"timings": {"cache_n": 40, "predicted_ms": 1500}}, Usage(cached_input_tokens=40, decode_s=1.5)),
        (
            {"usage": {"prompt_tokens_details": {"cached_tokens": 3}}, "timings": {"cache_n": 40}},
            Usage(cached_input_tokens=3),
        ),
        ({"nvext": {"timing": {"ttft_ms": 200.0, "total_time_ms": 900.0}}}, Usage(decode_s=0.7)),
        ({"nvext": {"timing": {"ttft_ms": 900, "total_time_ms": 200}}}, Usage()),
        ({"nvext": {"timing": 3}, "timings": {"predicted_ms": "fast", "cache_n": 1.5}}, Usage()),
        ({"timings": {"predicted_ms": -1}, "nvext": []}, Usage()),
    ],
)
def test_usage_of_whole_answers(answer, usage):
    assert usage_of(answer) == usage


# -- anything --------------------------------------------------------------------------------------------------------


@given(st.sampled_from(APIS), st.dictionaries(KEYS, SHAPED, max_size=5))
def test_no_object_breaks_the_reading(api, event):
    made = chunk(api, event)
    assert isinstance(made.content, bool)
    assert made.characters >= 0
    assert made.error is None or len(made.error) <= 300
    usage_of(event)


@given(st.sampled_from(APIS), st.binary(max_size=40))
def test_no_bytes_break_the_reading(api, data):
    with suppress(MalformedAnswer):
        read_chunk(api, data)
