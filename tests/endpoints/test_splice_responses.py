"""Replays of streamed responses: whatever was cut where, the caller reads one stream that nothing contradicts."""

import json

import pytest

from agentsched.core.call import Handed
from agentsched.endpoints.splice import Diverged
from agentsched.endpoints.splice_responses import ResponsesSplice

TEXT = ["Once", " upon", " a", " time"]


def response(ident: str, words=TEXT, *, tool: str | None = None, at: int = 7) -> list[dict]:
    """A message, then perhaps a call of a function, as one attempt says it."""
    head = {"id": f"resp_{ident}", "object": "response", "created_at": at, "model": "m", "output": []}
    text, place = "".join(words), {"item_id": f"msg_{ident}", "output_index": 0, "content_index": 0}
    message = {"id": f"msg_{ident}", "type": "message", "role": "assistant"}
    output = [{**message, "content": [{"type": "output_text", "text": text}]}]
    events = [
        {"type": "response.created", "response": head},
        {"type": "response.output_item.added", "output_index": 0, "item": {**message, "content": []}},
        {"type": "response.content_part.added", **place, "part": {"type": "output_text", "text": ""}},
        *({"type": "response.output_text.delta", **place, "delta": word, "logprobs": []} for word in words),
        {"type": "response.output_text.done", **place, "text": text},
        {"type": "response.output_item.done", "output_index": 0, "item": output[0]},
    ]
    if tool is not None:
        item = {"id": f"fc_{ident}", "type": "function_call", "call_id": f"call_{ident}", "name": "f", "arguments": ""}
        where = {"item_id": f"fc_{ident}", "output_index": 1}
        output.append({**item, "arguments": tool})
        events += [
            {"type": "response.output_item.added", "output_index": 1, "item": item},
            *({"type": "response.function_call_arguments.delta", **where, "delta": letter} for letter in tool),
            {"type": "response.function_call_arguments.done", **where, "arguments": tool},
            {"type": "response.output_item.done", "output_index": 1, "item": output[1]},
        ]
    usage = {"input_tokens": 3, "output_tokens": 9}
    events.append({"type": "response.completed", "response": {**head, "output": output, "usage": usage}})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def fed(splice: ResponsesSplice, events: list[dict]) -> list[dict]:
    got = b""
    for event in events:
        got += splice.pass_on(b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n", event)
    return [json.loads(part.split(b"data: ")[1]) for part in got.split(b"\n\n") if part]


def merged(events: list[dict]) -> list[dict]:
    """Neighbouring pieces of one text as one, without numbers."""
    out: list[dict] = []
    for event in ({k: v for k, v in one.items() if k not in ("sequence_number", "logprobs")} for one in events):
        if out and "delta" in event and out[-1]["type"] == event["type"]:
            out[-1] = {**out[-1], "delta": out[-1]["delta"] + event["delta"]}
        else:
            out.append(event)
    return out


def named_one(events: list[dict]) -> list[dict]:
    """With the first attempt's ids also for items that it had not come to: those are the replay's, all the same."""
    return json.loads(json.dumps(events).replace("_two", "_one").replace("_three", "_one"))


WHOLE = response("one", tool='{"a": 1}')


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
@pytest.mark.parametrize(
    "words", [TEXT, ["Once upon a time"], list("".join(TEXT))], ids=["words", "at once", "letters"]
)
def test_cut_anywhere_and_replayed_it_is_the_unbroken_stream(cut, words):
    first = ResponsesSplice()
    got = fed(first, WHOLE[:cut])
    got += fed(ResponsesSplice(first.transcript), response("two", words, tool='{"a": 1}', at=9))
    assert all("_two" not in json.dumps(event) for event in got if event.get("output_index") == 0 and cut > 1)
    assert merged(named_one(got)) == merged(WHOLE)
    numbers = [event["sequence_number"] for event in got]
    assert numbers == sorted(set(numbers))


def test_a_second_replay_goes_on_where_the_first_one_ended():
    first = ResponsesSplice()
    got = fed(first, WHOLE[:5])
    second = ResponsesSplice(first.transcript)
    got += fed(second, response("two", tool='{"a": 1}')[:9])
    got += fed(ResponsesSplice(second.transcript), response("three", tool='{"a": 1}'))
    assert merged(named_one(got)) == merged(WHOLE)


def test_an_unbroken_stream_passes_byte_by_byte_and_tells_when_output_is_out():
    splice = ResponsesSplice()
    for number, event in enumerate(WHOLE):
        assert splice.pass_on(b"as it is", event) == b"as it is"
        assert splice.transcript.handed is (Handed.OTHER if number >= 3 else Handed.NOTHING)
    assert splice.pass_on(b"data: [DONE]\n\n", None) == b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    "other",
    [
        response("two", ["Twice", " upon"]),
        response("two", ["On"]),
        response("two", [*TEXT, "!"]),
        response("two", tool='{"b": 1}'),
        response("two"),
    ],
    ids=["another text", "sooner at its end", "longer where it had ended", "another argument", "no tool call"],
)
def test_another_answer_is_refused(other):
    first = ResponsesSplice()
    fed(first, WHOLE[:13])
    with pytest.raises(Diverged):
        fed(ResponsesSplice(first.transcript), other)


def test_log_probabilities_are_not_told_of_a_piece_that_was_cut():
    first = ResponsesSplice()
    fed(first, [*WHOLE[:3], {**WHOLE[3], "delta": "On"}])
    again = [{**event, "logprobs": [{"token": "x"}]} if "delta" in event else event for event in response("two")]
    got = [event for event in fed(ResponsesSplice(first.transcript), again) if "delta" in event]
    assert [(event["delta"], bool(event["logprobs"])) for event in got[:2]] == [("ce", False), (" upon", True)]
