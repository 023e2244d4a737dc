"""Whole answers put together from streams: when that is allowed, and that nothing is lost."""

import json

import pytest

from agentsched.endpoints.answers import MalformedAnswer
from agentsched.endpoints.exchange import Exchange
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
