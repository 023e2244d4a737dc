"""One valid stream out of an attempt that broke off and one that goes on: whatever was cut where."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.core.call import Handed, Way
from agentsched.endpoints.continuation import Transcript, continued, ways_of
from agentsched.endpoints.exchange import Exchange
from agentsched.endpoints.splice import Diverged, Splice


def raw(event):
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def chunk(ident, delta=None, finish=None, **fields):
    head = {"id": ident, "object": "chat.completion.chunk", "created": len(ident), "model": f"model-{ident}"}
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return head | {"choices": [choice]} | fields


def answer(ident, *texts, finish="stop"):
    yield chunk(ident, {"role": "assistant", "content": ""})
    for text in texts:
        yield chunk(ident, {"content": text})
    yield chunk(ident, finish=finish)


def tool_call(ident, arguments, *, index=0, call_id="x", name="f", role=True):
    head = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
    yield chunk(ident, {"role": "assistant", "content": None, "tool_calls": [head]} if role else {"tool_calls": [head]})
    for piece in arguments:
        yield chunk(ident, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})


def fed(splice, events, *, tokens=None):
    """What the caller gets, parsed."""
    got = b""
    for k, event in enumerate(events):
        got += splice.pass_on(raw(event), event)
        splice.count(k if tokens is None else tokens)
    return [json.loads(part[6:]) for part in got.split(b"\n\n") if part]


def text_of(events):
    return "".join(c["delta"].get("content") or "" for e in events for c in e["choices"])


TEXT = "Tell me a story, and then  another one.\n"


@given(st.integers(0, len(TEXT)), st.sampled_from([Way.PREFILL, Way.REPLAY]), st.integers(1, 7))
def test_nothing_is_lost_or_said_twice_wherever_it_was_cut(cut, way, width):
    first = Splice()
    got = fed(first, list(answer("one", *TEXT[:cut]))[:-1])
    begun = TEXT[:cut].rstrip() if way is Way.PREFILL else ""
    rest = TEXT[len(begun) :]
    second = Splice(way, first.transcript)
    got += fed(second, answer("second", *(rest[k : k + width] for k in range(0, len(rest), width))))
    assert text_of(got) == TEXT
    assert {(e["id"], e["model"], e["created"]) for e in got} == {("one", "model-one", 3)}
    assert sum("role" in c["delta"] for e in got for c in e["choices"]) == 1
    assert [c["finish_reason"] for e in got for c in e["choices"] if c["finish_reason"]] == ["stop"]
    assert second.transcript.text == TEXT


def test_an_unbroken_stream_passes_unchanged():
    splice, events = Splice(), list(answer("one", "a", "b"))
    assert [splice.pass_on(raw(event), event) for event in events] == [raw(event) for event in events]
    assert splice.pass_on(b"data: [DONE]\n\n", None) == b"data: [DONE]\n\n"


def test_whitespace_that_the_server_does_not_repeat_is_not_waited_for():
    first = Splice()
    fed(first, list(answer("one", "a", " "))[:-1])
    assert text_of(fed(Splice(Way.PREFILL, first.transcript), answer("two", "b"))) == "b"


def test_a_replay_that_says_something_else_is_refused():
    first = Splice()
    fed(first, list(answer("one", "abc"))[:-1])
    with pytest.raises(Diverged):
        fed(Splice(Way.REPLAY, first.transcript), answer("two", "abd"))
    with pytest.raises(Diverged, match="sooner"):
        fed(Splice(Way.REPLAY, first.transcript), answer("two", "ab"))


def test_usage_is_that_of_the_whole_answer():
    first = Splice()
    fed(first, list(answer("one", "a", "b"))[:-1], tokens=2)
    usage = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17, "prompt_tokens_details": {}}
    last = {"id": "two", "choices": [], "usage": usage}
    prefilled = fed(Splice(Way.PREFILL, first.transcript), [last])
    assert prefilled[0]["usage"] == usage | {"prompt_tokens": 10, "completion_tokens": 7}
    assert fed(Splice(Way.REPLAY, first.transcript), [last])[0]["usage"] == usage


def test_a_text_that_reached_its_cap_only_gets_its_end():
    first = Splice()
    fed(first, list(answer("one", "a", "b"))[:-1], tokens=2)
    got = fed(Splice(Way.PREFILL, first.transcript, limit_tokens=2), answer("two", "c", finish="length"))
    assert text_of(got) == ""
    assert got[-1]["choices"][0]["finish_reason"] == "length"


# -- tool calls ------------------------------------------------------------------------------------------------------


def test_a_tool_call_is_held_back_until_it_is_whole():
    splice = Splice()
    assert fed(splice, tool_call("one", ['{"a"', ":1}"])) == []
    assert splice.transcript.handed is Handed.NOTHING
    got = fed(splice, [chunk("one", finish="tool_calls")])
    assert len(got) == 4
    assert splice.transcript.tools == [("f", '{"a":1}')]
    assert splice.transcript.handed is Handed.OTHER


def test_tool_calls_that_are_none_pass_as_they_came():
    odd = chunk("one", {"tool_calls": 1.5}, finish="stop")
    assert fed(Splice(), [odd]) == [odd]


def test_the_next_tool_call_sets_the_one_before_free():
    splice = Splice()
    fed(splice, tool_call("one", ["{}"]))
    got = fed(splice, tool_call("one", ["{"], index=1, call_id="y", name="g", role=False))
    assert splice.transcript.tools == [("f", "{}")]
    assert len(got) == 2


def test_half_a_tool_call_is_forgotten_and_made_anew():
    first = Splice()
    assert fed(first, tool_call("one", ['{"a"'])) == []
    second = Splice(Way.REPLAY, first.transcript)
    got = fed(second, [*tool_call("two", ["{}"], call_id="z"), chunk("two", finish="tool_calls")])
    assert got[0]["choices"][0]["delta"]["role"] == "assistant"
    assert second.transcript.tools == [("f", "{}")]


def test_a_replay_leaves_out_a_tool_call_that_was_handed_over():
    first = Splice()
    fed(first, [*tool_call("one", ["{}"]), *tool_call("one", ["{"], index=1, name="g", call_id="y", role=False)])
    again = [
        *tool_call("two", ["{}"], call_id="other"),
        *tool_call("two", ["{}"], index=1, name="g", call_id="z", role=False),
        chunk("two", finish="tool_calls"),
    ]
    got = fed(Splice(Way.REPLAY, first.transcript), again)
    assert [c["index"] for e in got for c in e["choices"][0]["delta"].get("tool_calls", ())] == [1, 1]
    assert {e["id"] for e in got} == {"one"}
    with pytest.raises(Diverged):
        fed(Splice(Way.REPLAY, first.transcript), [*tool_call("two", ['{"b":1}']), chunk("two", finish="tool_calls")])


def test_text_before_a_tool_call_that_is_held_back_can_only_be_replayed():
    splice = Splice()
    fed(splice, list(answer("one", "I look it up."))[:-1])
    assert splice.transcript.handed is Handed.TEXT
    fed(splice, tool_call("one", ["{"], role=False))
    assert splice.transcript.handed is Handed.OTHER


# -- requests --------------------------------------------------------------------------------------------------------

MESSAGES = [{"role": "user", "content": "hi"}]


def exchange(api="chat/completions", **fields):
    body = {"model": "m", "stream": True} | ({"messages": MESSAGES} if api == "chat/completions" else {}) | fields
    return Exchange(api, body, json.dumps(body).encode(), (), bool(body["stream"]))


@pytest.mark.parametrize(
    ("api", "fields", "ways"),
    [
        ("chat/completions", {}, {Way.PREFILL}),
        ("chat/completions", {"temperature": 0}, {Way.PREFILL, Way.REPLAY}),
        ("chat/completions", {"seed": 7, "tools": []}, {Way.PREFILL, Way.REPLAY}),
        ("chat/completions", {"temperature": 0, "response_format": {"type": "json_object"}}, {Way.REPLAY}),
        ("chat/completions", {"temperature": 0, "guided_json": {}}, {Way.REPLAY}),
        ("chat/completions", {"temperature": 0, "logprobs": True}, {Way.PREFILL}),
        ("chat/completions", {"messages": [{"role": "assistant", "content": "So"}]}, set()),
        ("chat/completions", {"temperature": 0, "n": 2}, set()),
        ("chat/completions", {"temperature": 0, "stream": False}, {Way.PREFILL}),
        ("chat/completions", {"stream": False, "logprobs": True}, set()),
        ("completions", {"prompt": "a", "stream": False}, {Way.PROMPT}),
        ("completions", {"prompt": "a"}, {Way.PROMPT}),
        ("completions", {"prompt": [1, 2]}, {Way.TOKENS}),
        ("completions", {"prompt": [[1, 2]], "stream": False}, {Way.TOKENS}),
        ("completions", {"prompt": [1, 2], "temperature": 0}, {Way.TOKENS, Way.REPLAY}),
        ("completions", {"prompt": [1, 2], "logprobs": 1, "stop": ["\n"]}, {Way.TOKENS}),
        ("completions", {"prompt": [1, 2], "stop": "END", "temperature": 0}, {Way.REPLAY}),
        ("completions", {"prompt": [1, 2], "stop": [7]}, set()),
        ("completions", {"prompt": [1, 2], "echo": True, "temperature": 0}, {Way.REPLAY}),
        ("completions", {"prompt": [1, 2], "return_token_ids": False}, set()),
        ("completions", {"prompt": [1, 2], "return_token_ids": True, "temperature": 0}, {Way.TOKENS}),
        ("completions", {"prompt": [1, 2], "return_token_ids": True, "stream": False}, set()),
        ("completions", {"prompt": "a", "return_token_ids": True}, {Way.TOKENS}),
        ("completions", {"prompt": [[1], [2]]}, set()),
        ("completions", {"prompt": ["a"]}, set()),
        ("completions", {"prompt": []}, set()),
        ("chat/completions", {"return_token_ids": True, "temperature": 0}, set()),
        ("completions", {"prompt": "a", "suffix": "b"}, set()),
        ("responses", {"input": "a", "temperature": 0}, set()),
        ("responses", {"input": "a", "temperature": 0, "store": False}, {Way.REPLAY}),
        ("responses", {"input": "a", "temperature": 0, "store": False, "include": ["x"]}, set()),
        ("responses", {"input": "a", "temperature": 0, "store": False, "unknown": 1}, set()),
        ("responses", {"input": "a", "store": False}, set()),
        ("responses", {"input": "a", "temperature": 0, "store": False, "stream": False}, set()),
    ],
)
def test_the_ways_to_go_on(api, fields, ways):
    assert ways_of(exchange(api, **fields)) == ways


def handed(text, tokens=3):
    made = Transcript(tokens=tokens)
    made.add("content", text)
    return made


@pytest.mark.parametrize(
    ("dialect", "message", "fields"),
    [
        ("continue_final_message", {}, {"continue_final_message": True, "add_generation_prompt": False}),
        ("assistant", {}, {}),
        ("prefix", {"prefix": True}, {}),
        ("partial", {"partial": True}, {}),
    ],
)
def test_every_dialect_of_an_unfinished_message(dialect, message, fields):
    asked = continued(exchange(max_tokens=10), Way.PREFILL, dialect, handed("So far "))
    expected = {"role": "assistant", "content": "So far"} | message
    assert asked.body == exchange().body | {"messages": [*MESSAGES, expected], "max_tokens": 7} | fields
    assert json.loads(asked.raw) == asked.body


def test_a_text_completion_goes_on_from_a_longer_prompt_and_a_replay_from_the_same_one():
    asked = exchange("completions", prompt="Once", max_tokens=2)
    assert continued(asked, Way.PROMPT, "none", handed(" upon", 5)).body["prompt"] == "Once upon"
    assert continued(asked, Way.PROMPT, "none", handed(" upon", 5)).body["max_tokens"] == 1
    assert continued(asked, Way.REPLAY, "none", handed(" upon")) is asked
