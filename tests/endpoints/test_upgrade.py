"""Whole answers put together from streams: when that is allowed, and that nothing is lost."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.endpoints.answers import MalformedAnswer, read_chunk
from agentsched.endpoints.exchange import Exchange
from agentsched.endpoints.splice import Splice
from agentsched.endpoints.splice_responses import ResponsesSplice
from agentsched.endpoints.upgrade import Assembler, as_stream, may_upgrade

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def exchange(api: str = "chat/completions", **fields) -> Exchange:
    body = (CHAT if api == "chat/completions" else {"model": "m"}) | fields
    return Exchange(api, body, json.dumps(body).encode(), (), bool(body.get("stream")))


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({}, True),
        ({"temperature": 0.2, "tools": [], "tool_choice": "auto", "response_format": {"type": "json_object"}}, True),
        ({"n": 1, "logprobs": False, "stream": False}, True),
        ({"stream": True}, False),
        ({"n": 2}, False),
        ({"logprobs": True}, False),
        ({"top_logprobs": 3}, False),
        ({"stream_options": {}}, False),
        ({"a_new_field": 1}, False),
        ({"modalities": ["audio"]}, False),
    ],
)
def test_a_chat_is_upgraded_only_where_nothing_can_be_lost(fields, allowed):
    assert may_upgrade(exchange(**fields)) is allowed


@pytest.mark.parametrize(
    ("api", "fields", "allowed"),
    [
        ("completions", {"prompt": "a"}, True),
        ("completions", {"prompt": ["a", "b"]}, False),
        ("completions", {"prompt": "a", "best_of": 3}, False),
        ("completions", {"prompt": "a", "echo": True}, False),
        ("completions", {"prompt": "a", "logprobs": 0}, False),
        ("responses", {"input": "a"}, True),
        ("responses", {"input": "a", "include": ["message.output_text.logprobs"]}, False),
        ("responses", {"input": "a", "background": True}, False),
    ],
)
def test_other_apis(api, fields, allowed):
    assert may_upgrade(exchange(api, **fields)) is allowed


@pytest.mark.parametrize("fields", [{}, {"stream": False}, {"user": "\ud800"}])
def test_the_request_asks_for_a_stream_and_its_usage(fields):
    asked = as_stream(exchange(**fields))
    assert asked.stream
    assert json.loads(asked.raw) == asked.body
    assert asked.body == CHAT | fields | {"stream": True, "stream_options": {"include_usage": True}}


def chunk(delta=None, finish=None, **fields):
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m", "system_fingerprint": "fp"}
    return head | {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}]} | fields


def assembled(*events, api="chat/completions"):
    assembler = Assembler(api)
    for event in events:
        assembler.take(event)
    return json.loads(assembler.body())


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def test_a_text():
    answer = assembled(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk(finish="stop"),
        chunk(choices=[], usage=USAGE),
    )
    assert answer == {
        "id": "c1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "system_fingerprint": "fp",
        "choices": [
            {
                "index": 0,
                "logprobs": None,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }


def call(index, *, name=None, ident=None, arguments=""):
    made = {"index": index, "function": {"arguments": arguments} | ({} if name is None else {"name": name})}
    return made | ({} if ident is None else {"id": ident, "type": "function"})


def test_tool_calls_that_come_in_pieces_and_in_turns():
    answer = assembled(
        chunk({"role": "assistant", "content": None, "tool_calls": [call(0, name="f", ident="x")]}),
        chunk({"tool_calls": [call(0, arguments='{"a"')]}),
        chunk({"tool_calls": [call(1, name="g", ident="y"), call(0, name="f", arguments=":1}")]}),
        chunk({"tool_calls": [call(1, arguments="{}")]}),
        chunk(finish="tool_calls"),
    )
    message = answer["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"type": "function", "id": "x", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"type": "function", "id": "y", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_arguments_that_are_said_as_an_object_stay_one():
    tools = [call(0, name="f", ident="x", arguments={"a": 1}), call(1, name="g", ident="y", arguments=None)]
    message = assembled(chunk({"tool_calls": tools}), chunk(finish="tool_calls"))["choices"][0]["message"]
    assert [each["function"]["arguments"] for each in message["tool_calls"]] == [{"a": 1}, ""]


odd = st.sampled_from([None, True, 1, -1.5, "", "x", "stop", 2**70, "\ud800", [], ["a"], [[]], {}, {"a": 1}])


def objects(**fields):
    """Objects that may have these fields, or something else altogether."""
    return odd | st.fixed_dictionaries({}, optional={name: odd | field for name, field in fields.items()})


def lists(items):
    return odd | st.lists(items, max_size=2)


functions = objects(name=odd, arguments=odd)
deltas = objects(
    role=odd,
    content=odd,
    function_call=functions,
    tool_calls=lists(objects(index=odd, id=odd, function=functions)),
    reasoning_details=lists(objects(index=odd, type=odd, text=odd)),
)
choices = lists(objects(index=odd, delta=deltas, text=odd, finish_reason=odd, logprobs=objects(text_offset=odd)))
events = objects(
    id=odd, object=odd, choices=choices, usage=odd, type=odd, delta=odd, response=objects(output=odd, usage=odd)
).filter(lambda event: isinstance(event, dict))


@pytest.mark.parametrize("api", ["chat/completions", "completions", "responses"])
@given(st.lists(events, max_size=4))
def test_whatever_shape_events_have_there_is_an_answer_or_it_is_malformed(api, events):
    splice, assembler = ResponsesSplice() if api == "responses" else Splice(), Assembler(api)
    with suppress(MalformedAnswer):
        for event in events:
            read = read_chunk(api, json.dumps(event).encode())
            if read.event is not None:
                assembler.take(read.event)
                splice.pass_on(b"", read.event)
        splice.pass_on(b"", None)
        assembler.body()


def test_reasoning_is_kept_beside_the_text():
    answer = assembled(chunk({"reasoning_content": "hm"}), chunk({"content": "x"}), chunk(finish="stop"))
    assert answer["choices"][0]["message"]["reasoning_content"] == "hm"


def test_objects_and_lists_beside_the_text_come_in_pieces_too():
    def thought(text, **fields):
        return {"reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0, **fields}]}

    sealed = {"type": "reasoning.encrypted", "data": "=", "index": 0}
    cited = {"type": "url_citation", "url_citation": {"url": "u"}}
    answer = assembled(
        chunk({"role": "assistant", "function_call": {"name": "f", "arguments": ""}, **thought("a", id="r")}),
        chunk({"content": "x", "function_call": {"arguments": '{"a"'}, **thought(" b", signature=None)}),
        chunk(
            {"function_call": {"name": None, "arguments": ":1}"}, **thought("", signature="s"), "annotations": [cited]}
        ),
        chunk({"reasoning_details": [sealed], "annotations": [cited]}, finish="stop"),
    )
    message = answer["choices"][0]["message"]
    assert message["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    whole = {"type": "reasoning.text", "text": "a b", "index": 0, "id": "r", "signature": "s"}
    assert message["reasoning_details"] == [whole, sealed]
    assert message["annotations"] == [cited]


def test_a_response_is_the_one_that_its_end_tells():
    response = {"id": "r", "object": "response", "status": "incomplete"}
    events = [{"type": "response.created", "response": {"status": "in_progress"}}]
    events.append({"type": "response.incomplete", "response": response})
    assert assembled(*events, api="responses") == response


@pytest.mark.parametrize("api", ["chat/completions", "completions", "responses"])
def test_a_stream_without_an_answer_is_malformed(api):
    with pytest.raises(MalformedAnswer):
        assembled({"choices": []}, api=api)
