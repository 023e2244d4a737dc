"""What is answered to which request body."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.emulator.answers import Answer, compose
from agentsched.emulator.apierror import ApiError
from agentsched.emulator.calls import LENGTH_HEADER, read_chat, read_completion, read_responses
from agentsched.emulator.config import Lengths

TOOLS = [
    {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "required": ["q"]}}},
    {"type": "function", "function": {"name": "add"}},
]


def chat(text: str = "hello [[out=20]]", *, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    messages = [{"role": "user", "content": text}]
    body = {"model": "m", "messages": messages, **fields}
    return compose(read_chat(body, headers or {}, kind="vllm"), Lengths(), room_tokens=10_000)


def continued(partial: str, text: str = "hello [[out=20]]") -> Answer:
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": partial}]
    return chat(messages=messages, continue_final_message=True, add_generation_prompt=False)


def test_the_same_prompt_gets_the_same_words_through_chat_and_responses() -> None:
    body = {"model": "m", "input": "hello [[out=20]]"}
    assert compose(read_responses(body, {}, kind="vllm"), Lengths(), room_tokens=99).text == chat().text


@pytest.mark.parametrize("fields", [{"seed": 3}, {"model": "other"}, {"messages": [{"role": "user", "content": "x"}]}])
def test_another_seed_model_or_prompt_gets_other_words(fields: dict[str, Any]) -> None:
    assert chat(**fields).text[:20] != chat().text[:20]


@pytest.mark.parametrize("fields", [{"max_tokens": 5}, {"stream": True}, {"priority": 3}, {"temperature": 0.7}])
def test_nothing_else_changes_the_words(fields: dict[str, Any]) -> None:
    answer = chat(**fields)
    assert chat().text.startswith(answer.text)


@given(st.integers(0, 80))
def test_a_continuation_is_exactly_the_rest_wherever_it_was_cut(cut: int) -> None:
    whole = chat().text
    cut = min(cut, len(whole))
    assert whole[:cut] + continued(whole[:cut]).text == whole


def completed(prompt: str, **fields: Any) -> Answer:
    body = {"model": "m", "prompt": prompt, "max_tokens": 99} | fields
    return compose(read_completion(body, {}, kind="vllm"), Lengths(), room_tokens=10_000)


@given(st.integers(0, 80))
def test_so_is_that_of_a_text_completion_whose_prompt_holds_the_beginning(cut: int) -> None:
    whole = completed("Hello You [[out=20]]").text
    cut = min(cut, len(whole))
    assert whole[:cut] + completed("Hello You [[out=20]]" + whole[:cut]).text == whole
    assert len(completed("Hello You [[out=20]]" + whole[:7], max_tokens=3).tokens) == 3


def test_another_text_at_the_end_of_a_prompt_is_a_prompt() -> None:
    whole = completed("Hello You [[out=20]]").text
    assert len(completed("Hello you [[out=20]]" + whole[:7]).tokens) == 20
    assert len(completed("Hello You [[out=20]]" + whole[:7], seed=1).tokens) == 20


def test_a_foreign_beginning_is_continued_up_to_the_length() -> None:
    answer = continued("Nobody here wrote this ")
    assert len(answer.tokens) == 20 - 6
    assert answer.text == continued("Nobody here wrote this ").text


def test_length_by_marker_header_and_limit() -> None:
    assert len(chat("[[out=5]] and [[out=7]]").tokens) == 7
    assert len(chat(headers={LENGTH_HEADER: "9"}).tokens) == 9
    limited = chat(max_completion_tokens=6)
    assert (len(limited.tokens), limited.finish_reason) == (6, "length")
    assert chat().finish_reason == "stop"
    drawn = chat("no marker")
    assert drawn == chat("no marker")


def test_stop_ends_the_text_before_the_stop_word() -> None:
    whole = chat().text
    stop = whole.split()[4]
    cut = chat(stop=[stop, "never there"])
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"


def test_say_puts_words_into_the_mouth() -> None:
    assert chat("[[say=APPROVED]] [[out=1]]").text == "APPROVED"
    longer = chat("[[say=APPROVED]] [[out=6]]")
    assert longer.text.startswith("APPROVED ")
    assert len(longer.tokens) == 6


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"tool_choice": "required"}, "look_up"),
        ({"tool_choice": {"type": "function", "function": {"name": "add"}}}, "add"),
        ({"text": "please [[tool]]"}, "look_up"),
        ({"text": "please [[tool=add]]"}, "add"),
        ({"text": "please [[tool=add]]", "tool_choice": "none"}, None),
        ({}, None),
    ],
)
def test_tools_are_called_when_forced_or_marked(fields: dict[str, Any], name: str | None) -> None:
    answer = chat(tools=TOOLS, **fields)
    assert answer.tool_name == name
    if name == "look_up":
        assert (answer.text, answer.finish_reason) == ('{"q": {}}', "tool_calls")


def test_a_marked_tool_is_not_called_again_once_its_result_is_there() -> None:
    turns = [{"role": "user", "content": "[[tool]]"}, {"role": "tool", "content": "42"}]
    assert chat(tools=TOOLS, messages=turns).tool_name is None


def test_json_is_answered_where_json_is_asked_for() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert chat(response_format=form).text == '{"n": 3}'
    assert chat(response_format={"type": "json_object"}).text == "{}"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "role"),
        ({"model": 3}, "model"),
        ({"n": 2}, "n=1"),
        ({"max_tokens": 0}, "at least 1"),
        ({"max_tokens": "5"}, "whole number"),
        ({"continue_final_message": True}, "Cannot set both"),
        ({"continue_final_message": True, "add_generation_prompt": False}, "assistant"),
        ({"response_format": {"type": "xml"}}, "xml"),
        ({"tools": [{"type": "function"}]}, "tool 0"),
        ({"tools": TOOLS, "tool_choice": {"function": {"name": "fly"}}}, "fly"),
    ],
)
def test_bad_bodies_are_refused_with_the_field(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ApiError, match=says) as caught:
        chat(**fields)
    assert caught.value.status == 400


def test_a_bad_length_header_is_refused() -> None:
    with pytest.raises(ApiError, match=LENGTH_HEADER):
        chat(headers={LENGTH_HEADER: "many"})


@pytest.mark.parametrize("name", ["priority", "continue_final_message"])
def test_hosted_apis_refuse_what_only_vllm_knows(name: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], name: 0}
    with pytest.raises(ApiError, match=name):
        read_chat(body, {}, kind="openai")


def test_completions_take_one_prompt() -> None:
    call = read_completion({"model": "m", "prompt": ["a prompt [[out=30]]"]}, {}, kind="vllm")
    assert len(compose(call, Lengths(), room_tokens=100).tokens) == 16, "max_tokens is 16 unless given"
    with pytest.raises(ApiError, match="prompt"):
        read_completion({"model": "m", "prompt": ["a", "b"]}, {}, kind="vllm")


@pytest.mark.parametrize("fields", [{"input": []}, {"input": 3}, {"input": "x", "previous_response_id": "r"}])
def test_bad_responses_bodies_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ApiError):
        read_responses({"model": "m", **fields}, {}, kind="vllm")


def test_responses_take_instructions_and_a_schema() -> None:
    form = {"format": {"type": "json_schema", "name": "x", "schema": {"const": 5}}}
    call = read_responses({"model": "m", "instructions": "be brief", "input": "x", "text": form}, {}, kind="vllm")
    assert "be brief" in call.prompt
    assert compose(call, Lengths(), room_tokens=9).text == "5"


def test_message_parts_and_tool_items_are_read() -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "image_url", "image_url": {"url": "http://x"}}]
    call = read_chat({"model": "m", "messages": [{"role": "user", "content": parts}]}, {}, kind="vllm")
    assert "one " in call.prompt
    items = [{"type": "function_call", "name": "f"}, {"type": "function_call_output", "output": "42"}]
    assert "42" in read_responses({"model": "m", "input": items}, {}, kind="vllm").prompt


def test_a_prompt_grows_at_its_end_when_the_conversation_goes_on() -> None:
    def prompt(*turns: tuple[str, str]) -> str:
        messages = [{"role": role, "content": text} for role, text in turns]
        return read_chat({"model": "m", "messages": messages}, {}, kind="vllm").prompt

    first = prompt(("user", "hi"))
    assert prompt(("user", "hi"), ("assistant", "yes"), ("user", "more")).startswith(first + "yes")
