"""What callers see of a call without an answer, and how often they ask: once."""

import logging
import pickle
import subprocess
import sys
import textwrap
import types

import httpx
import httpx2
import openai
import pytest

from agentsched.errors import (
    AgentschedError,
    CallTimedOut,
    CostExceeded,
    DeadlineExceeded,
    EndpointsSaturated,
    EndpointsUnavailable,
    InvariantViolated,
    NoCapableEndpoint,
    StreamBroken,
)
from agentsched.intercept.callers import PLAIN, Caller, caller_of
from agentsched.intercept.errors import raise_clean, shape
from agentsched.intercept.family import loaded_families
from tests.intercept.fakes import NOWHERE, chat_chunks, inside

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
LATE, NO_ANSWER = openai.APITimeoutError, openai.APIConnectionError
TABLE = [
    (DeadlineExceeded(run_id="r", workflow="flow"), LATE),
    (CallTimedOut("the caller's 2.00 s are spent"), LATE),
    (EndpointsUnavailable("all down", attempts=("a: limited 429: slow down", "b: server 503")), NO_ANSWER),
    (EndpointsSaturated("Rate limit of every endpoint, quota spent, throttled"), NO_ANSWER),
    (NoCapableEndpoint("nobody sees images"), NO_ANSWER),
    (CostExceeded("no money left"), NO_ANSWER),
    (InvariantViolated("a bug"), NO_ANSWER),
]
NAMES = [type(error).__name__ for error, _ in TABLE]
RETRY_WORDS = ("rate limit", "ratelimit", "429", "throttl", "quota", "too many requests")


def check_clean(error):
    assert error.__cause__ is None
    assert error.__context__ is None
    assert not any(word in str(error).lower() for word in RETRY_WORDS)


@pytest.mark.parametrize(("error", "shown"), TABLE, ids=NAMES)
def test_sync_sdk(sync_client, dispatcher, new_run, error, shown):
    dispatcher.answer = error
    with inside(new_run()), pytest.raises(shown) as caught:
        sync_client.chat.completions.create(**ASK)

    assert type(caught.value).__name__ == type(error).__name__
    assert isinstance(caught.value, type(error))
    assert isinstance(caught.value, LATE) == (shown is LATE)
    assert str(caught.value.request.url).endswith("/chat/completions")
    assert caught.value.message == str(caught.value)
    assert len(dispatcher.calls) == 1
    check_clean(caught.value)


@pytest.mark.parametrize(("error", "shown"), TABLE, ids=NAMES)
async def test_async_sdk(async_client, dispatcher, new_run, error, shown):
    dispatcher.answer = error
    with inside(new_run()), pytest.raises(shown) as caught:
        await async_client.chat.completions.create(**ASK, stream=True)

    assert isinstance(caught.value, type(error))
    assert len(dispatcher.calls) == 1
    check_clean(caught.value)


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize(("error", "shown"), TABLE, ids=NAMES)
async def test_plain_http(dispatcher, new_run, module, error, shown):
    dispatcher.answer = error
    kind = module.ReadTimeout if shown is LATE else module.ConnectError
    with inside(new_run()):
        with module.Client() as client, pytest.raises(kind) as caught:
            client.post(f"{NOWHERE}/chat/completions", json=ASK)
        assert isinstance(caught.value, type(error))
        check_clean(caught.value)
        async with module.AsyncClient() as client:
            with pytest.raises(kind) as caught:
                await client.post(f"{NOWHERE}/chat/completions", json=ASK)
    assert caught.value.request.method == "POST"
    check_clean(caught.value)
    assert len(dispatcher.calls) == 2


@pytest.mark.parametrize("error", [DeadlineExceeded(run_id="r"), StreamBroken("cut off"), CallTimedOut("2 s")])
def test_while_streaming_through_the_sdk(sync_client, dispatcher, new_run, error):
    dispatcher.stream(*chat_chunks("a")[:1], error)
    seen = []
    with inside(new_run()), pytest.raises(NO_ANSWER) as caught:
        seen.extend(sync_client.chat.completions.create(**ASK, stream=True))

    assert [chunk.choices[0].delta.content for chunk in seen] == ["a"]
    assert isinstance(caught.value, type(error))
    assert isinstance(caught.value, LATE) == (type(error) is not StreamBroken)
    assert len(dispatcher.calls) == 1
    check_clean(caught.value)


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_while_streaming_plain_http(dispatcher, new_run, module):
    dispatcher.stream(b"data: 1\n\n", StreamBroken("cut off"))
    body = {**ASK, "stream": True}
    with inside(new_run()):
        with module.Client() as client, pytest.raises(module.ReadError) as caught:
            client.post(f"{NOWHERE}/chat/completions", json=body)
        check_clean(caught.value)
        async with module.AsyncClient() as client:
            with pytest.raises(module.ReadError) as caught:
                await client.post(f"{NOWHERE}/chat/completions", json=body)
    check_clean(caught.value)


async def test_raised_while_the_caller_handles_another_error(async_client, dispatcher, new_run):
    dispatcher.answer = EndpointsUnavailable("all down")
    with inside(new_run()):
        try:
            raise ValueError("429 rate limit of some tool")
        except ValueError:
            with pytest.raises(EndpointsUnavailable) as caught:
                await async_client.chat.completions.create(**ASK)
    check_clean(caught.value)


async def test_after_the_deadline_no_call_is_made_and_the_run_knows(sync_client, async_client, dispatcher, new_run):
    run = new_run("2s")
    run.clock = lambda: run.started_at + 2.5
    with inside(run):
        with pytest.raises(LATE) as first:
            sync_client.chat.completions.create(**ASK)
        with pytest.raises(LATE):
            await async_client.chat.completions.create(**ASK)

    assert dispatcher.calls == []
    assert type(run.error) is DeadlineExceeded
    assert first.value.plain is run.error
    assert (first.value.run_id, first.value.deadline_s, first.value.elapsed_s) == (run.run_id, 2.0, 2.5)
    check_clean(first.value)


def test_the_dispatchers_deadline_error_is_the_runs(sync_client, dispatcher, new_run):
    run = new_run("2s")

    def late(call, exchange):
        run.clock = lambda: run.started_at + 2.0
        return DeadlineExceeded(run_id=run.run_id)

    dispatcher.answer = late
    with inside(run), pytest.raises(DeadlineExceeded) as caught:
        sync_client.chat.completions.create(**ASK)

    assert caught.value.plain is run.error
    assert "2.00 s of 2.00 s spent" in str(caught.value)


def test_a_run_that_is_given_up_says_so_and_why(sync_client, dispatcher, new_run):
    """Not "ran out of time": it has most of it left."""
    why = "it would meet its deadline with a probability of 0.03; refused, as admission.floor is 0.05"
    dispatcher.answer = lambda call, exchange: DeadlineExceeded(run_id=call.run_id, given_up=why)
    run = new_run("60s")
    for _ in range(2):  # whoever swallows it gets the same one again
        with inside(run), pytest.raises(DeadlineExceeded, match=rf"{why}; \d+\.\d\d s of 60.00 s") as caught:
            sync_client.chat.completions.create(**ASK)
    assert caught.value.plain is run.error
    assert "was given up" in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).given_up == why


def test_a_scopes_deadline_seen_after_the_scope_is_not_the_runs(sync_client, dispatcher, new_run):
    """The stream was opened inside a scope that has been left: the run itself has time."""
    dispatcher.stream(DeadlineExceeded(run_id="r"))
    run = new_run("60s")
    with inside(run), pytest.raises(DeadlineExceeded):
        list(sync_client.chat.completions.create(**ASK, stream=True))
    assert run.error is None


def shaped(error, caller=PLAIN):
    family = loaded_families()[0]
    return shape(error, request=family.client().build_request("POST", NOWHERE), family=family, caller=caller)


def test_a_shaped_error_pickles_as_plainly_ours():
    for error, _ in TABLE:
        again = pickle.loads(pickle.dumps(shaped(error, Caller(sdk=openai))))
        assert type(again) is type(error)
        assert str(again) == str(error)
    assert pickle.loads(pickle.dumps(shaped(TABLE[2][0]))).attempts == TABLE[2][0].attempts


def test_shapes_are_made_once_and_a_shaped_error_can_be_shaped_again():
    error = DeadlineExceeded(run_id="r")
    first, second = shaped(error), shaped(error, Caller(sdk=openai))
    assert type(first) is type(shaped(error))
    assert not isinstance(shaped(first, Caller(sdk=openai)), httpx.ReadTimeout)
    assert type(shaped(first, Caller(sdk=openai))) is type(second)


@pytest.mark.parametrize(("error", "_"), TABLE)
def test_langroid_gets_neither_an_error_of_the_api_nor_a_timeout(error, _):
    """It repeats both, after sleeps that know no deadline."""
    made = shaped(error, Caller(sdk=openai, framework="langroid", waits=True))
    assert isinstance(made, openai.OpenAIError)
    assert not isinstance(made, (openai.APIError, TimeoutError))
    assert type(vars(made)["plain"]) is type(error)


@pytest.mark.parametrize(("package", "waits"), [("langroid", True), ("crewai", False), ("my_agents", False)])
def test_frameworks_are_known_by_the_packages_that_call(package, waits):
    """Whether or not they are installed: what stands above the request has the package's name."""
    made = {"__name__": f"{package}.models.base", "caller_of": caller_of}
    exec("def ask(request): return caller_of(request)", made)
    caller = made["ask"](httpx2.Request("POST", NOWHERE, headers={"x-stainless-lang": "python"}))
    assert caller.sdk is openai
    assert (caller.framework, caller.waits) == (None if package == "my_agents" else package, waits)


def test_raise_clean_drops_what_a_framework_would_read():
    error = AgentschedError("x")
    error.__cause__ = ValueError()
    with pytest.raises(AgentschedError) as caught:
        raise_clean(error)
    check_clean(caught.value)


def test_an_sdk_that_repeats_after_any_error_gets_an_answer_instead(sync_client, dispatcher, new_run, monkeypatch):
    """As openai before 2.36 and other SDKs from the same generator do; they obey ``x-should-retry``."""
    monkeypatch.setattr(openai, "__version__", "2.35.1")
    run = new_run()
    with inside(run):
        dispatcher.answer = DeadlineExceeded(run_id="r")
        with pytest.raises(openai.InternalServerError, match="ran out of time") as caught:
            sync_client.chat.completions.create(**ASK)
        assert caught.value.status_code == 504
        dispatcher.answer = EndpointsUnavailable("all down")
        with pytest.raises(openai.InternalServerError, match="all down") as caught:
            sync_client.chat.completions.create(**ASK)
        assert caught.value.status_code == 503
    assert len(dispatcher.calls) == 2
    assert run.error is not None


async def test_past_the_deadline_such_an_sdk_gets_an_answer_as_well(async_client, dispatcher, new_run, monkeypatch):
    monkeypatch.setattr(openai, "__version__", "2.35.1")
    run = new_run("2s")
    run.clock = lambda: run.started_at + 2.5
    with inside(run), pytest.raises(openai.InternalServerError, match="ran out of time"):
        await async_client.chat.completions.create(**ASK)
    assert dispatcher.calls == []


def test_an_sdk_from_the_same_generator(new_run, dispatcher, monkeypatch):
    """It is known by the package below which ``send`` was called; its errors are its own."""
    kinds = {"APIError": openai.APIError, "APIConnectionError": openai.APIConnectionError}
    other = types.ModuleType("other_sdk")
    vars(other).update(kinds, APITimeoutError=openai.APITimeoutError, __version__="9.0")
    exec("def post(client, url, **options):\n    return client.post(url, **options)", vars(other))
    monkeypatch.setitem(sys.modules, "other_sdk", other)
    dispatcher.answer = EndpointsUnavailable("all down")
    with httpx.Client() as client, inside(new_run()):
        headers = {"x-stainless-lang": "python"}
        answer = other.post(client, f"{NOWHERE}/chat/completions", json=ASK, headers=headers)
    assert answer.status_code == 503
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"]["type"] == "EndpointsUnavailable"


def test_the_header_of_an_sdk_without_any_sdk_is_plain_http(new_run, dispatcher, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    dispatcher.answer = EndpointsUnavailable("all down")
    with httpx.Client() as client, inside(new_run()), pytest.raises(httpx.ConnectError):
        client.post(f"{NOWHERE}/chat/completions", json=ASK, headers={"x-stainless-lang": "python"})


def test_the_hidden_causes_do_not_carry_credentials(sync_client, dispatcher, new_run, caplog):
    dispatcher.answer = EndpointsUnavailable("all down")
    with caplog.at_level(logging.DEBUG, logger="agentsched"), inside(new_run()), pytest.raises(NO_ANSWER) as caught:
        sync_client.chat.completions.create(**ASK)
    assert "canary" not in caplog.text + str(caught.value) + repr(caught.value) + repr(vars(caught.value))


def test_without_langchain_nothing_of_it_is_loaded():
    code = """
        import sys, openai
        from agentsched.errors import DeadlineExceeded
        from agentsched.intercept.callers import Caller
        from agentsched.intercept.errors import shape
        from agentsched.intercept.family import loaded_families
        family = loaded_families()[0]
        request = family.client().build_request("POST", "http://h")
        error = shape(DeadlineExceeded(), request=request, family=family, caller=Caller(sdk=openai))
        assert isinstance(error, openai.APITimeoutError)
        assert not any(name.startswith("langchain") for name in sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("a: limited 429: HTTP 429 after 0.01 s", "a: limited limit: HTTP limit after 0.01 s"),
        ("127.0.0.1:34299 refused", "127.0.0.1:34_299 refused"),
        ("after 429.05 s, 1429 bytes", "after 4_29.05 s, 14_29 bytes"),
        ("a: Too Many Requests, resource exhausted", "a: limit, limit"),
    ],
)
def test_no_number_reads_like_the_status_of_a_limit(told, shown):
    request, family = httpx2.Request("POST", f"{NOWHERE}/chat/completions"), loaded_families()[-1]
    assert str(shape(EndpointsUnavailable(told), request=request, family=family, caller=PLAIN)) == shown


def test_nor_does_a_deadline():
    late = DeadlineExceeded(run_id="r", deadline_s=429.0, elapsed_s=1429.0, spent_s=(("plan", 429.004),))
    assert str(late) == "the run (run r) ran out of time: 14_29.00 s of 4_29.00 s spent; longest: plan 4_29.00 s"
