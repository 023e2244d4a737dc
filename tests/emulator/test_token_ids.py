"""Prompts and answers by the ids of their tokens: read, told, and gone on with."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.emulator.answers import Answer, compose
from agentsched.emulator.apierror import ApiError
from agentsched.emulator.calls import Call, read_completion
from agentsched.emulator.config import Lengths
from agentsched.emulator.token_ids import bytes_of, generated, ids_of, is_id, pieces, text_of, texts_of
from agentsched.emulator.wire import CompletionWire

STORY = "Tell me a story. [[out=24]] [[say=Né日🎉, so]]"
"""Its answer begins with characters that no token ends with."""


def read(prompt: Any, *, kind: str = "vllm", **fields: Any) -> Call:
    return read_completion({"model": "m", "max_tokens": 100, "prompt": prompt, **fields}, {}, kind=kind)


def answer(prompt: Any, **fields: Any) -> Answer:
    return compose(read(prompt, return_token_ids=True, **fields), Lengths(), room_tokens=1000)


@given(st.text(max_size=30))
def test_ids_tell_their_text_and_who_said_it(text: str) -> None:
    prompt, said = ids_of(pieces(text)), ids_of(pieces(text), said=True)
    assert text_of(prompt) == text_of(said) == "".join(texts_of(pieces(text))) == text
    assert generated([*prompt, *said]) == len(said)
    assert all(map(is_id, [*prompt, *said]))
    assert b"".join(map(bytes_of, said)) == text.encode()


@pytest.mark.parametrize("value", [-1, 1 << 40, 4_311_810_305, True, 1.0, "1", None])
def test_what_is_no_id(value: object) -> None:
    assert not is_id(value)


def test_the_same_prompt_gets_the_same_words_as_text_and_as_ids() -> None:
    by_text, by_ids = answer(STORY), answer([ids_of(pieces(STORY))])
    assert by_text == by_ids
    assert by_text.text == compose(read(STORY), Lengths(), room_tokens=1000).text
    assert len(by_ids.ids) == len(by_ids.tokens) == 24
    assert read([5, 6, 7]).prompt_tokens == 3
    assert answer([300, 70_000]).text != answer([300, 70_001]).text


@pytest.mark.parametrize("cut", range(25))
def test_ids_are_gone_on_with_exactly_wherever_a_character_ends(cut: int) -> None:
    whole, prompt = answer(STORY), ids_of(pieces(STORY))
    rest = answer([*prompt, *whole.ids[:cut]])
    said = "".join(whole.tokens[:cut])
    if cut and whole.tokens[cut - 1] == "":
        assert rest.text.startswith(STORY), "as today's servers do, all of it is said once more"
    else:
        assert said + rest.text == whole.text
    assert [*whole.ids[:cut], *rest.ids] == list(whole.ids)
    assert rest.complete is (cut == 24)


def test_some_cuts_are_inside_a_character() -> None:
    assert answer(STORY).tokens[:4].count("") >= 2


def test_the_ids_of_another_model_are_gone_on_with_up_to_the_length() -> None:
    theirs = answer(STORY, model="other").ids[:4]
    rest = answer([*ids_of(pieces(STORY)), *theirs])
    assert len(rest.tokens) == 20
    assert rest == answer([*ids_of(pieces(STORY)), *theirs])


def test_a_finished_answer_that_comes_back_in_a_longer_prompt_is_prompt() -> None:
    first = answer(STORY)
    prompt = [*ids_of(pieces(STORY)), *first.ids, *ids_of(pieces(" And then? [[out=9]]"))]
    call = read(prompt)
    assert (call.partial_tokens, call.prompt_tokens) == (0, len(prompt))
    assert call.prompt == STORY + first.text + " And then? [[out=9]]"


def test_limit_and_stop_cut_the_ids_too() -> None:
    assert answer(STORY, max_tokens=7).ids == answer(STORY).ids[:7]
    cut = answer("[[out=9]] [[say=abc.defg]]", stop=["."])
    assert (cut.text, len(cut.ids)) == ("abc", 1), "the token that holds the stop is told whole"


@pytest.mark.parametrize(
    "prompt", [[], [1, -1], [1, None], [1, "a"], ["a", 1], [1, True], [1 << 40], [[1], [2]], [[]], 7]
)
def test_what_is_no_prompt_is_refused(prompt: object) -> None:
    with pytest.raises(ApiError, match="prompt"):
        read(prompt)


def test_hosted_apis_take_ids_but_tell_none() -> None:
    assert read([1, 2], kind="openai").tells_ids is None
    with pytest.raises(ApiError, match="return_token_ids"):
        read([1, 2], kind="openai", return_token_ids=True)


def choices(call: Call) -> list[dict[str, Any]]:
    made = compose(call, Lengths(), room_tokens=1000)
    wire = CompletionWire(call, made, "cmpl-1", 0)
    return [json.loads(wire.token(k).removeprefix(b"data: "))["choices"][0] for k in range(len(made.tokens))]


def test_a_stream_tells_the_prompt_once_and_each_token() -> None:
    told = choices(read("abcdefgh [[out=3]]", return_token_ids=True))
    assert [choice["prompt_token_ids"] for choice in told] == [ids_of(pieces("abcdefgh [[out=3]]")), None, None]
    assert [choice["token_ids"] for choice in told] == [[t] for t in answer("abcdefgh [[out=3]]").ids]
    untold = choices(read("abcdefgh [[out=3]]"))
    assert [(c["prompt_token_ids"], c["token_ids"]) for c in untold] == [(None, None)] * 3
    assert "token_ids" not in choices(read("abcdefgh [[out=3]]", kind="openai"))[0]


async def test_ids_over_http(gpu: openai.AsyncOpenAI) -> None:
    """A whole answer tells them all; what it is gone on with finds its beginning in the cache."""
    prompt = ids_of(pieces("x" * 64 + "[[out=40]]"))
    ask: dict[str, Any] = {"model": "test-model", "extra_body": {"return_token_ids": True}}
    whole = await gpu.completions.create(prompt=prompt, max_tokens=100, **ask)
    choice = whole.choices[0]
    assert choice.model_extra is not None
    ids = choice.model_extra["token_ids"]
    assert (choice.model_extra["prompt_token_ids"], len(ids)) == (prompt, 40)
    rest = await gpu.completions.create(prompt=[*prompt, *ids[:16]], max_tokens=100, **ask)
    assert choice.text.endswith(rest.choices[0].text)
    assert rest.usage is not None
    assert rest.usage.prompt_tokens_details is not None
    assert (rest.usage.prompt_tokens, rest.usage.completion_tokens) == (len(prompt) + 16, 24)
    assert rest.usage.prompt_tokens_details.cached_tokens == (len(prompt) + 16) // 16 * 16
    nothing = await gpu.completions.create(prompt=[*prompt, *ids], max_tokens=100, **ask)
    assert nothing.usage is not None
    assert (nothing.choices[0].text, nothing.usage.completion_tokens) == ("", 0)
