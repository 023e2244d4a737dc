"""Going on by token ids: what is asked, what is kept of what comes, what of it the caller gets."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.core.call import Handed, Way
from agentsched.endpoints.continuation import cap_of, continued
from agentsched.endpoints.exchange import Exchange
from agentsched.endpoints.splice import Splice
from agentsched.endpoints.token_ids import TokenIds, asking_for_ids, holds_text_back, is_ids
from agentsched.endpoints.upgrade import Assembler, may_upgrade

PROMPT = [1, 2, 3]
SAID = [("Né", 1), ("", 2), ("日", 3), (" ", 4), ("  \n", 5), ("Yes.", 6)]
"""Texts and ids; the third token ends a character that the second has begun."""


def exchange(**fields):
    body = {"model": "m", "prompt": PROMPT, "stream": True} | fields
    return Exchange("completions", body, json.dumps(body).encode(), (), bool(body["stream"]))


def chunk(text, ids, *, ident="one", prompt=None, finish=None, **fields):
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish} | fields
    choice |= {"prompt_token_ids": prompt, "token_ids": ids}
    return {"id": ident, "object": "text_completion", "created": len(ident), "model": "m", "choices": [choice]}


def stream(said=SAID, ident="one", prompt=PROMPT, usage=True):
    for k, (text, token) in enumerate(said):
        yield chunk(text, [token], ident=ident, prompt=prompt if k == 0 else None)
    yield chunk("", [], ident=ident, finish="stop")
    if usage:
        counts = {"prompt_tokens": len(prompt), "completion_tokens": len(said), "total_tokens": len(prompt) + len(said)}
        yield {"id": ident, "created": len(ident), "model": "m", "choices": [], "usage": counts}


def fed(splice, events):
    """What the caller gets, parsed; tokens are counted as an attempt counts them."""
    got, tokens = b"", 0
    for event in events:
        got += splice.pass_on(b"data: " + json.dumps(event).encode() + b"\n\n", event)
        if event["choices"] and event["choices"][0]["text"]:
            tokens = splice.count(tokens + 1)
    return [json.loads(part[6:]) for part in got.split(b"\n\n") if part]


def first(whole=None, **fields):
    return Splice(ids=TokenIds.of(exchange(**fields).body, set() if whole is None else whole))


def going_on(before, **fields):
    asked = continued(asking_for_ids(exchange(**fields)), Way.TOKENS, "none", before.transcript)
    return asked.body, Splice(Way.TOKENS, before.transcript, ids=TokenIds.of(exchange(**fields).body, set()))


# -- what is asked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "are"),
    [
        *(([1], True), ([[1, 2]], True), ([], False), ([[]], False), ("1", False), (["a"], False), ([True], False)),
        *(([[1], [2]], False), (None, False), ([1.0], False), ([[[1]]], False), ({"a": 1}, False)),
    ],
)
def test_what_is_a_prompt_of_ids(prompt, are):
    assert is_ids(prompt) is are
    assert may_upgrade(exchange(prompt=prompt, stream=False)) is (are or not isinstance(prompt, list))


@pytest.mark.parametrize(
    ("stop", "holds"),
    [
        *((None, False), ([], False), ("\n", False), (["\n", "日"], False), ("", False)),
        *(("ab", True), (["\n", "ab"], True), ([7], True), (7, True)),
    ],
)
def test_which_stops_keep_text_back(stop, holds):
    assert holds_text_back(stop) is holds


def test_ids_are_asked_for_once_and_not_against_the_callers_word():
    asked = asking_for_ids(exchange())
    assert asked.body == exchange().body | {"return_token_ids": True} == json.loads(asked.raw)
    assert asking_for_ids(asked) is asked
    refused = exchange(return_token_ids=False)
    assert asking_for_ids(refused) is refused


def test_what_is_no_ascii_json_is_encoded_anew():
    wide = Exchange("completions", {"prompt": [1]}, '{"prompt": [1]}'.encode("utf-16"), (), True)
    assert json.loads(asking_for_ids(wide).raw) == {"prompt": [1], "return_token_ids": True}


@pytest.mark.parametrize(
    ("given", "known", "cap"), [(100, 5, 100), (None, 5, 16), (None, 16, 16), (None, 17, None), (3, 9, 3)]
)
def test_a_completion_without_a_cap_has_that_of_the_api(given, known, cap):
    request = exchange(**({} if given is None else {"max_tokens": given}))
    assert cap_of(request.body, given, Way.TOKENS, known) == cap
    assert cap_of(request.body, given, Way.PROMPT, known) == given
    begun = first()
    fed(begun, [chunk("a", [token]) for token in range(known)])
    asked = continued(request, Way.TOKENS, "none", begun.transcript)
    assert asked.body.get("max_tokens") == (None if cap is None else max(1, cap - known))
    assert ("max_tokens" in asked.body) is (cap is not None)


def test_a_completion_that_says_it_has_no_cap_has_none():
    begun = first()
    fed(begun, [chunk("a", [1])])
    request = exchange(max_tokens=None)
    assert cap_of(request.body, None, Way.TOKENS, 1) is None
    assert continued(request, Way.TOKENS, "none", begun.transcript).body["max_tokens"] is None


# -- what comes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("cut", range(1, len(SAID) + 1))
def test_nothing_is_lost_or_said_twice_wherever_it_was_cut(cut, nested):
    whole = "".join(text for text, _ in SAID)
    prompt = {"prompt": [PROMPT]} if nested else {}
    begun = first(**prompt)
    had = fed(begun, list(stream())[:cut])
    assert begun.transcript.handed is Handed.TOKENS
    body, splice = going_on(begun, max_tokens=10, **prompt)
    settled = 1 if cut == 2 else cut
    assert body["prompt"] == [*PROMPT, *range(1, settled + 1)]
    assert (body["max_tokens"], body["return_token_ids"]) == (10 - settled, True)
    more = fed(splice, stream(SAID[settled:], "two", body["prompt"]))
    events = had + more
    assert "".join(c["text"] for e in events for c in e["choices"]) == whole
    assert {event["id"] for event in events} == {"one"}
    assert not any(c[name] for e in events for c in e["choices"] for name in ("token_ids", "prompt_token_ids"))
    assert more[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    assert splice.transcript.tokens == 6


def test_it_goes_on_a_second_time():
    begun = first()
    fed(begun, list(stream())[:3])
    body, second = going_on(begun)
    fed(second, list(stream(SAID[3:], "two", body["prompt"]))[:2])
    body, third = going_on(second)
    assert body["prompt"] == [*PROMPT, 1, 2, 3, 4, 5]
    events = fed(third, stream(SAID[5:], "three", body["prompt"]))
    assert [c["text"] for e in events for c in e["choices"]] == ["Yes.", ""]
    assert (events[-1]["id"], events[-1]["usage"]["completion_tokens"]) == ("one", 6)


def test_events_that_hide_nothing_pass_unchanged():
    splice = first()
    event = chunk("", None, finish="stop")
    raw = b"data:  " + json.dumps(event).encode() + b"\r\n\r\n"
    assert splice.pass_on(raw, event) is raw
    assert first(return_token_ids=True).pass_on(raw, chunk("a", [1], prompt=PROMPT)) is raw, "the caller asked itself"


@pytest.mark.parametrize("text", ["\ud83c", '日"\n', "é"])
def test_whatever_text_an_event_has_it_is_said_as_it_was(text):
    assert fed(first(), [chunk(text, [1], created=1 << 70)]) == [chunk(text, None, created=1 << 70)]


def test_several_tokens_at_once_may_end_inside_a_character():
    splice = first()
    fed(splice, [chunk("Né", [1, 2])])
    assert splice.transcript.handed is Handed.TEXT
    fed(splice, [chunk("日", [3])])
    assert splice.transcript.handed is Handed.TOKENS, "a token whose text is said has ended the character"
    assert splice.transcript.ids.so_far == [*PROMPT, 1, 2, 3]


def test_a_token_that_was_once_said_whole_ends_an_event_of_several():
    whole = set()
    said = [("a", [1]), ("b", [4]), ("", [2]), ("日", [3]), ("cd", [5, 6]), ("e", [8])]
    fed(first(whole), [chunk(text, ids) for text, ids in said])
    assert whole == {4}, "1, 3 and 8 may say a part of a character only, and 6 perhaps too"
    for last, handed in ((4, Handed.TOKENS), (3, Handed.TEXT), (7, Handed.TEXT)):
        splice = first(whole)
        fed(splice, [chunk("ab", [1, last])])
        assert splice.transcript.handed is handed


@pytest.mark.parametrize("ids", [None, [], "no", [[1]], [1, "a"], [True]])
def test_text_without_ids_ends_it(ids):
    splice = first()
    fed(splice, [chunk("a", [1]), chunk("b", ids), chunk("c", [3])])
    assert splice.transcript.handed is Handed.TEXT
    assert splice.transcript.tokens == 3


def test_a_server_that_tells_no_ids_is_one_that_cannot_be_left_by_them():
    splice = first()
    fed(splice, [{"id": "one", "choices": [{"index": 0, "text": "a", "finish_reason": None}]}])
    assert splice.transcript.handed is Handed.TEXT


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_tokens_are_those_that_were_told(sizes):
    splice, at = first(), 0
    for size in sizes:
        fed(splice, [chunk("x" * 9, list(range(at, at + 1 + size)))])
        at += 1 + size
    assert splice.transcript.tokens == at


# -- callers that want to see ids ------------------------------------------------------------------------------------


def test_a_caller_that_asked_gets_every_id_once_and_the_prompt_once():
    begun = first(return_token_ids=True, prompt="Once")
    had = fed(begun, list(stream())[:4])
    assert had[0]["choices"][0]["prompt_token_ids"] == PROMPT
    body, splice = going_on(begun, return_token_ids=True, prompt="Once")
    assert body["prompt"] == [*PROMPT, 1, 2, 3, 4]
    events = had + fed(splice, stream(SAID[4:], "two", body["prompt"]))
    told = [token for e in events for c in e["choices"] for token in c["token_ids"] or ()]
    assert told == [1, 2, 3, 4, 5, 6]
    assert sum(bool(c["prompt_token_ids"]) for e in events for c in e["choices"]) == 1


def test_a_caller_that_has_the_id_of_half_a_character_waits_for_the_other_half():
    splice = first(return_token_ids=True)
    events = list(stream())
    fed(splice, events[:2])
    assert splice.transcript.handed is Handed.TEXT
    fed(splice, events[2:3])
    assert splice.transcript.handed is Handed.TOKENS


@pytest.mark.parametrize("told", [None, [], "Once"])
def test_a_text_prompt_whose_ids_are_not_told_cannot_be_gone_on_with(told):
    splice = first(return_token_ids=True, prompt="Once")
    fed(splice, [chunk("a", [1], prompt=told)])
    assert splice.transcript.handed is Handed.TEXT


# -- the rest of the event -------------------------------------------------------------------------------------------


def test_a_text_that_reached_its_cap_only_gets_its_end_and_its_usage():
    begun = first()
    fed(begun, list(stream())[:3])
    body = continued(exchange(max_tokens=3), Way.TOKENS, "none", begun.transcript).body
    assert body["max_tokens"] == 1
    splice = Splice(Way.TOKENS, begun.transcript, limit_tokens=3)
    events = fed(splice, stream([("more", 9)], "two", body["prompt"]))
    assert [c["text"] for e in events for c in e["choices"]] == [""]
    assert events[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}


def test_log_probabilities_tell_where_their_tokens_stand_in_the_whole_text():
    logprobs = {"tokens": ["Yes"], "token_logprobs": [-0.5], "top_logprobs": [None], "text_offset": [0]}
    begun = first(logprobs=1)
    fed(begun, list(stream())[:3])
    body, splice = going_on(begun, logprobs=1)
    events = fed(splice, [chunk("Yes", [7], ident="two", prompt=body["prompt"], logprobs=logprobs)])
    assert events[0]["choices"][0]["logprobs"] == logprobs | {"text_offset": [3]}


def test_a_whole_answer_that_is_put_together_holds_no_ids():
    splice, assembler = first(stream=False), Assembler("completions")
    for event in list(stream())[:4]:
        assembler.take(splice.keep(event))
    body, splice = going_on(splice, stream=False)
    for event in stream(SAID[4:], "two", body["prompt"]):
        assembler.take(splice.keep(event))
    answer = json.loads(assembler.body())
    assert answer["choices"][0]["text"] == "".join(text for text, _ in SAID)
    assert answer["usage"]["completion_tokens"] == 6
    assert not answer["choices"][0]["token_ids"]
    assert not answer["choices"][0]["prompt_token_ids"]
