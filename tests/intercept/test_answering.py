"""Responses as the libraries themselves would have made them."""

import json
import pickle

import httpx
import httpx2
import pytest

from agentsched.endpoints.exchange import Reply
from agentsched.errors import EndpointsUnavailable
from agentsched.intercept import family as families
from tests.intercept.fakes import NOWHERE, chat_answer, chat_chunks, inside, json_reply

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
URL = f"{NOWHERE}/chat/completions"
MODULES = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])


@MODULES
def test_like_one_from_the_network(module, upstream, dispatcher, new_run):
    with module.Client() as client:
        theirs = client.post(f"{upstream.url}/chat/completions", json=ASK)
        with inside(new_run()):
            ours = client.post(f"{upstream.url}/chat/completions", json=ASK)
    assert len(dispatcher.calls) == 1
    assert type(ours) is type(theirs) is module.Response
    for name in (
        "status_code",
        "content",
        "text",
        "headers",
        "http_version",
        "reason_phrase",
        "is_closed",
        "is_stream_consumed",
        "num_bytes_downloaded",
        "history",
        "next_request",
        "encoding",
        "url",
        "is_success",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.request.url == theirs.request.url
    assert ours.elapsed.total_seconds() > 0
    assert set(vars(theirs)) - {"_decoder"} <= set(vars(ours)) | {"_elapsed"}
    assert pickle.loads(pickle.dumps(ours)).json() == chat_answer()
    assert ours.extensions["agentsched_endpoint"] == "one"


@MODULES
def test_where_the_content_cannot_be_assigned_it_is_read(module, dispatcher, new_run, monkeypatch):
    monkeypatch.setattr(families.Family, "__hash__", object.__hash__)
    from agentsched.intercept import answering

    real = answering.respond

    def respond(family, *arguments, **options):
        import dataclasses

        return real(dataclasses.replace(family, assigns_content=False), *arguments, **options)

    monkeypatch.setattr("agentsched.intercept.sending.respond", respond)
    with module.Client() as client, inside(new_run()):
        answer = client.post(URL, json=ASK)
    assert answer.json() == chat_answer()
    assert answer.is_closed


@MODULES
async def test_hooks_see_request_and_response_in_order(module, dispatcher, new_run):
    seen = []
    hooks = {"request": [lambda request: seen.append(request)], "response": [lambda response: seen.append(response)]}
    with module.Client(event_hooks=hooks) as client, inside(new_run()):
        answer = client.post(URL, json=ASK)
    assert seen == [answer.request, answer]

    async def note(item):
        seen.append(item)

    async with module.AsyncClient(event_hooks={"request": [note], "response": [note]}) as client:
        with inside(new_run()):
            answer = await client.post(URL, json=ASK)
    assert seen[2:] == [answer.request, answer]


@MODULES
async def test_a_hook_that_raises_closes_the_answer(module, dispatcher, new_run):
    dispatcher.stream(*chat_chunks("a"))

    def refuse(response):
        raise LookupError("refused")

    async def async_refuse(response):
        refuse(response)

    body = {**ASK, "stream": True}
    with inside(new_run()):
        client = module.Client(event_hooks={"response": [refuse]})
        with client, pytest.raises(LookupError):
            client.post(URL, json=body)
        async with module.AsyncClient(event_hooks={"response": [async_refuse]}) as client:
            with pytest.raises(LookupError):
                await client.post(URL, json=body)
    assert [bool(body.closed) for body in dispatcher.bodies] == [True, True]


@MODULES
async def test_a_stream_is_read_whole_unless_asked_otherwise(module, dispatcher, new_run):
    dispatcher.stream(b"data: 1\n\n", b"data: 2\n\n")
    body = {**ASK, "stream": True}
    with inside(new_run()):
        with module.Client() as client:
            assert client.post(URL, json=body).text == "data: 1\n\ndata: 2\n\n"
            with client.stream("POST", URL, json=body) as response:
                assert not response.is_closed
                with pytest.raises(RuntimeError, match="elapsed"):
                    response.elapsed
                assert list(response.iter_lines()) == ["data: 1", "", "data: 2", ""]
            assert response.elapsed.total_seconds() > 0
        async with module.AsyncClient() as client:
            assert (await client.post(URL, json=body)).text == "data: 1\n\ndata: 2\n\n"
            async with client.stream("POST", URL, json=body) as response:
                assert [part async for part in response.aiter_raw()] == [b"data: 1\n\n", b"data: 2\n\n"]
            with pytest.raises(module.StreamConsumed):
                [part async for part in response.aiter_raw()]
    assert all(body.closed for body in dispatcher.bodies)


@MODULES
def test_a_whole_answer_can_be_read_as_a_stream(module, dispatcher, new_run):
    with module.Client() as client, inside(new_run()):
        with client.stream("POST", URL, json=ASK) as response:
            with pytest.raises(module.ResponseNotRead):
                response.content
            assert json.loads(response.read()) == chat_answer()
        assert response.elapsed.total_seconds() >= 0


@MODULES
def test_default_encoding_is_the_clients(module, dispatcher, new_run):
    content = "æøå".encode("latin-1")
    dispatcher.answer = Reply(200, (("content-type", "text/plain"),), content, None, "one")
    with module.Client(default_encoding="latin-1") as client, inside(new_run()):
        assert client.post(URL, json=ASK).text == "æøå"


@pytest.mark.parametrize("status", [200, 201, 400, 404, 422])
def test_only_refusals_say_that_a_retry_is_useless(dispatcher, new_run, status):
    dispatcher.answer = json_reply({}, status, X_Should_Retry="true", x_other="kept")
    with httpx.Client() as client, inside(new_run()):
        headers = client.post(URL, json=ASK).headers
    assert headers.get_list("x-should-retry") == (["true"] if status < 300 else ["false"])
    assert headers["x-other"] == "kept"
    assert headers["content-length"] == "2"


def test_a_content_type_is_always_told(dispatcher, new_run):
    dispatcher.answer = Reply(200, (), b"{}", None, "one")
    with httpx.Client() as client, inside(new_run()):
        assert client.post(URL, json=ASK).headers["content-type"] == "application/json"
        dispatcher.stream(b"data: 1\n\n")
        streamed = dispatcher.answer

        def bare(call, exchange):
            return Reply(200, (), None, streamed(call, exchange).stream, "one")

        dispatcher.answer = bare
        answer = client.post(URL, json={**ASK, "stream": True})
        assert answer.headers["content-type"] == "text/event-stream"


@pytest.mark.parametrize("value", ["Zo\xeb".encode("latin-1"), "\u6f22".encode()])
def test_headers_beyond_ascii_arrive_as_they_came(dispatcher, new_run, value):
    """As aiohttp tells them: bytes that are no UTF-8 as lone surrogates."""
    dispatcher.answer = json_reply({}, x_name=value.decode(errors="surrogateescape"))
    with httpx.Client() as client, inside(new_run()):
        assert (b"x-name", value) in client.post(URL, json=ASK).headers.raw


def test_cookies_of_a_pools_endpoint_stay_out_of_the_clients_jar(dispatcher, new_run):
    dispatcher.answer = json_reply({}, set_cookie="session=endpoint")
    with httpx.Client() as client, inside(new_run()):
        client.post(URL, json=ASK)
        assert not client.cookies


def test_the_run_is_held_open_while_a_stream_is_read(sync_client, dispatcher, new_run):
    dispatcher.stream(*chat_chunks("a"), EndpointsUnavailable("gone"))
    ended = []
    with inside(new_run()) as run:
        stream = sync_client.chat.completions.create(**ASK, stream=True)
        run.finish_when_released(lambda: ended.append(run))
        for _ in stream:
            assert not ended
    assert ended == [run]
