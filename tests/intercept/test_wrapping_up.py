"""When time is short, a model is asked to finish in as many tokens as there is time for, or a lesser one answers."""

import json
from typing import Any

import pytest

from agentsched.endpoints.exchange import Exchange
from agentsched.intercept.wrapping_up import FINISH, LEAST_TOKENS, tokens_in, wrapped_up
from tests.intercept.fakes import inside

ASK = {"role": "user", "content": "hello"}
TOLD = {"role": "user", "content": f"hello\n\n{FINISH}"}


def asked(body: dict[str, Any], api: str = "chat/completions", most: int = 100) -> dict[str, Any]:
    made = wrapped_up(Exchange(api, body, json.dumps(body).encode(), (("a", "b"),), False), most)
    assert json.loads(made.raw) == made.body
    assert (made.api, made.headers, made.stream) == (api, (("a", "b"),), False)
    return dict(made.body)


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([ASK], [TOLD]),
        ([{"role": "system", "content": "s"}, ASK], [{"role": "system", "content": "s"}, TOLD]),
        (
            [{"role": "user", "content": [{"type": "image_url"}]}],
            [{"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": FINISH}]}],
        ),
        (
            [ASK, {"role": "tool", "tool_call_id": "1", "content": "42"}],
            [ASK, {"role": "tool", "tool_call_id": "1", "content": "42"}, {"role": "user", "content": FINISH}],
        ),
        ([{"role": "user"}], [{"role": "user"}, {"role": "user", "content": FINISH}]),
    ],
)
def test_the_last_message_asks_to_finish(messages: list[Any], told: list[Any]) -> None:
    before = json.dumps(messages)
    assert asked({"model": "m", "messages": messages})["messages"] == told
    assert json.dumps(messages) == before, "the caller's own objects stay as they are"


def test_the_responses_api_has_its_own_shapes() -> None:
    assert asked({"input": "hello"}, "responses")["input"] == f"hello\n\n{FINISH}"
    parts = [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]
    told = asked({"input": parts}, "responses")["input"]
    assert told[0]["content"][1] == {"type": "input_text", "text": FINISH}


@pytest.mark.parametrize("messages", [None, [], 3, {}])
def test_what_has_no_known_shape_is_only_capped(messages: Any) -> None:
    assert asked({"messages": messages}) == {"messages": messages, "max_completion_tokens": 100}


def test_a_text_completion_is_only_capped() -> None:
    assert asked({"prompt": "Once", "max_tokens": 500}, "completions") == {"prompt": "Once", "max_tokens": 100}


@pytest.mark.parametrize(
    ("api", "said", "capped"),
    [
        ("chat/completions", {"max_tokens": 500}, {"max_tokens": 100}),
        ("chat/completions", {"max_completion_tokens": 20}, {"max_completion_tokens": 20}),
        ("chat/completions", {}, {"max_completion_tokens": 100}),
        ("chat/completions", {"max_tokens": None}, {"max_tokens": None, "max_completion_tokens": 100}),
        ("responses", {}, {"max_output_tokens": 100}),
        ("completions", {}, {"max_tokens": 100}),
    ],
)
def test_the_cap_is_lowered_and_never_raised(api: str, said: dict[str, Any], capped: dict[str, Any]) -> None:
    body = asked(said, api)
    assert {key: value for key, value in body.items() if key.startswith("max_")} == capped


def test_as_many_tokens_as_there_is_time_for() -> None:
    assert tokens_in(10.0, 1.0, 0.02) == 400
    assert tokens_in(0.5, 1.0, 0.02) == LEAST_TOKENS


def late(run: Any, seconds: float) -> None:
    """Let the run be this old."""
    clock = run.clock
    run.clock = lambda: clock() + seconds


@pytest.fixture
def ask(dispatcher: Any, runtime: Any, sync_client: Any) -> Any:
    """Makes one call inside a run; answers the ModelCall and what the endpoint would be sent."""
    runtime.fastest = lambda model: (0.5, 0.05)

    def make(run: Any, **body: Any) -> Any:
        with inside(run):
            sync_client.chat.completions.create(model="m", messages=[ASK], **body)
        return dispatcher.calls[-1], dispatcher.exchanges[-1]

    return make


def test_a_call_is_wrapped_up_only_when_time_is_short(ask: Any, new_run: Any) -> None:
    run = new_run(deadline="20s", on_late="wrap_up")
    call, exchange = ask(run, max_tokens=4000)
    assert (exchange.body["messages"], call.max_tokens) == ([ASK], 4000)
    late(run, 16.0)
    call, exchange = ask(run, max_tokens=4000)
    assert exchange.body["messages"] == [TOLD]
    assert call.max_tokens == exchange.body["max_tokens"] == pytest.approx((0.9 * 4.0 - 0.5) / 0.05, abs=3)


def test_nothing_is_said_to_a_run_that_did_not_ask_for_it(ask: Any, new_run: Any) -> None:
    for on_late in ("raise", "partial", "degrade"):
        run = new_run(deadline="20s", on_late=on_late)
        late(run, 16.0)
        assert ask(run)[1].body["messages"] == [ASK]


def test_a_lesser_model_may_answer_when_time_is_short(ask: Any, new_run: Any) -> None:
    run = new_run(deadline="20s", on_late="degrade", min_quality=0.8)
    assert ask(run)[0].min_quality == 0.8
    late(run, 16.0)
    assert ask(run)[0].min_quality == 0.0
    strict = new_run(deadline="20s", on_late="wrap_up", min_quality=0.8)
    late(strict, 16.0)
    assert ask(strict)[0].min_quality == 0.8
