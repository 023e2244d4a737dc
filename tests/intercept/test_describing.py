"""Size, needs, repeatability and names of calls, for each of the three APIs."""

import json
import subprocess
import sys

import pytest

from agentsched.endpoints.exchange import Exchange
from agentsched.forecast.features import packed_features
from agentsched.intercept.describing import describe, step_name
from agentsched.intercept.tokens import estimate_tokens

USER = {"role": "user", "content": "What is the capital of Norway?"}
SYSTEM = {"role": "system", "content": "You are a careful planner."}
SEARCH = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "city", "schema": {}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}


def exchange(api="chat/completions", **body):
    return Exchange(api, body, json.dumps(body).encode(), (), bool(body.get("stream")))


def chat(*messages, **body):
    return describe(exchange(messages=list(messages or [USER]), **body))


def step_of(*messages, **body):
    return step_name(chat(*messages, **body))


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        ({}, set()),
        ({"stream": True}, {"stream"}),
        ({"tools": [SEARCH]}, {"tools"}),
        ({"functions": [{"name": "old"}]}, {"tools"}),
        ({"tools": []}, set()),
        ({"response_format": SCHEMA}, {"json_schema"}),
        ({"response_format": {"type": "json_object"}}, set()),
        ({"logprobs": True}, {"logprobs"}),
        ({"top_logprobs": 3}, {"logprobs"}),
        ({"n": 2}, {"n"}),
        ({"n": 1}, set()),
        ({"tools": [SEARCH], "stream": True, "n": 3}, {"tools", "stream", "n"}),
    ],
)
def test_needs_of_a_chat(body, needs):
    assert chat(**body).needs == needs


def test_needs_of_an_image_and_its_tokens():
    seen = chat({"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]})
    assert seen.needs == {"vision"}
    assert 765 < seen.input_tokens < 800
    responses = describe(exchange("responses", input=[{"role": "user", "content": [{"type": "input_image"}]}]))
    assert responses.needs == {"responses", "vision"}


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        ({"prompt": "hi"}, set()),
        ({"prompt": ["hi", "you"]}, {"n"}),
        ({"prompt": [1, 2, 3]}, set()),
        ({"prompt": "hi", "best_of": 2}, {"n"}),
        ({"prompt": "hi", "logprobs": 1}, {"logprobs"}),
    ],
)
def test_needs_of_a_text_completion(body, needs):
    assert describe(exchange("completions", **body)).needs == {"completions"} | needs


def test_needs_of_a_response():
    body = {"input": "hi", "text": {"format": {"type": "json_schema", "name": "city"}}, "tools": [{"type": "function"}]}
    assert describe(exchange("responses", **body)).needs == {"responses", "json_schema", "tools"}


@pytest.mark.parametrize(
    ("body", "repeatable", "owned"),
    [
        ({"store": False}, True, False),
        ({}, False, False),
        ({"store": True}, False, False),
        ({"store": None}, False, False),
        ({"store": False, "previous_response_id": "resp_1"}, False, False),
        ({"store": False, "conversation": "conv_1"}, False, True),
        ({"store": False, "conversation": {"id": "conv_1"}}, False, True),
        ({"store": False, "background": True}, False, True),
        ({"store": False, "tools": [{"type": "web_search"}]}, False, False),
        ({"store": False, "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]}, True, False),
    ],
)
def test_what_a_response_leaves_behind(body, repeatable, owned):
    """``store`` is true by default in that API."""
    seen = describe(exchange("responses", input="hi", **body))
    assert (seen.repeatable, seen.owned, seen.continues) == (repeatable, owned, body.get("previous_response_id"))


def test_chats_leave_nothing_behind():
    assert chat(store=True, tools=[SEARCH]).repeatable


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ({}, None),
        ({"max_tokens": 10}, 10),
        ({"max_completion_tokens": 20, "max_tokens": 10}, 20),
        ({"max_output_tokens": 30}, 30),
        ({"max_tokens": "many"}, None),
        ({"max_tokens": 0}, None),
    ],
)
def test_max_tokens(body, limit):
    assert chat(**body).max_tokens == limit


def test_input_tokens_count_texts_messages_and_tools():
    texts = SYSTEM["content"] + USER["content"]
    assert chat(SYSTEM, USER).input_tokens == estimate_tokens(texts) + 2 * 4 + 3
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "x" * 400}}]}
    assert chat(USER, call).input_tokens - chat(USER).input_tokens > 70
    assert 10 < chat(tools=[SEARCH]).input_tokens - chat().input_tokens < 40
    assert describe(exchange("completions", prompt=[[1] * 50, [2] * 50])).input_tokens == 103
    listed = [{"type": "function_call_output", "output": "y" * 400}, {"role": "user", "content": "hi"}]
    assert describe(exchange("responses", input=listed, instructions="z" * 400)).input_tokens > 150


@pytest.mark.parametrize("prompt", [[7] * 50, [[7] * 50], [*[7] * 49, "mixed"], [*[7] * 49, -1]])
def test_a_prompt_of_ids_has_as_many_tokens_as_ids_and_no_words(prompt):
    about = describe(exchange("completions", prompt=prompt))
    assert (about.input_tokens, about.last_text, about.prefix) == (53, "", 0)
    assert about.needs == {"completions"}
    assert packed_features(about.last_text) == b""


def test_prefix_is_of_the_system_message_and_the_tools():
    assert chat(USER).prefix == 0
    same = chat(SYSTEM, USER, tools=[SEARCH]).prefix
    assert same == chat(SYSTEM, {"role": "user", "content": "another question"}, tools=[SEARCH]).prefix != 0
    others = [
        chat(USER, tools=[SEARCH]).prefix,
        chat(SYSTEM, USER).prefix,
        chat({"role": "developer", "content": "You are a poet."}, USER, tools=[SEARCH]).prefix,
    ]
    assert len({same, *others}) == 4
    assert describe(exchange("responses", input="hi", instructions=SYSTEM["content"])).prefix == others[1]


def test_prefix_and_step_are_the_same_in_another_process():
    code = (
        "from tests.intercept.test_describing import *; seen = chat(SYSTEM, USER, tools=[SEARCH]); "
        "print(seen.prefix, step_name(seen))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    here = chat(SYSTEM, USER, tools=[SEARCH])
    assert told.stdout.split() == [str(here.prefix), step_name(here)]


def test_a_steps_name():
    assert step_of(USER) == "call"
    named = step_of(SYSTEM, USER)
    assert named.startswith("call-")
    assert len(named) == 13
    filler = "x" * 200
    data = [step_of({"role": "system", "content": filler + ending}, USER) for ending in ("Oslo", "Rome")]
    assert data[0] == data[1] != named
    told_apart = {
        step_of(SYSTEM, USER, tools=[SEARCH]),
        step_of(SYSTEM, USER, tools=[{"type": "function", "function": {"name": "fetch"}}]),
        step_of(SYSTEM, USER, response_format=SCHEMA),
        named,
    }
    assert len(told_apart) == 4
    described = {**SEARCH, "function": {**SEARCH["function"], "description": "changed"}}
    assert step_of(SYSTEM, USER, tools=[described]) == step_of(SYSTEM, USER, tools=[SEARCH])
    hosted = [describe(exchange("responses", input="hi", tools=[{"type": kind}])) for kind in ("web_search", "shell")]
    assert step_name(hosted[0]) != step_name(hosted[1])


@pytest.mark.parametrize(
    "body",
    [
        {"messages": None},
        {"messages": "text"},
        {"messages": [None, 7, "x", {"role": 1, "content": {"a": 1}}, {"content": [None, {"type": None, "text": 5}]}]},
        {"messages": [{"role": ["user"], "content": [{"type": {}, "text": "x"}]}, {"role": {}, "content": "x"}]},
        {"messages": [{"tool_calls": [None, {"function": None}, {"function": {"arguments": 1}}]}]},
        {"messages": [], "tools": {"a": 1}, "response_format": "json", "n": "2", "max_tokens": []},
        {"prompt": [], "input": {"a": 1}, "text": 5},
        {"prompt": {"id": "pmpt_1"}, "tools": [{"function": 3}, 4]},
    ],
)
@pytest.mark.parametrize("api", ["chat/completions", "completions", "responses"])
def test_wrong_types_are_the_servers_business(api, body):
    assert describe(exchange(api, **body)).input_tokens >= 0


def test_the_last_text():
    assert chat(SYSTEM, USER).last_text == USER["content"]
    assert chat({"role": "user", "content": []}).last_text == ""
