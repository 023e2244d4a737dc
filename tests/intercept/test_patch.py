"""Installing and removing: the same functions before and after, whoever else replaces them, whatever is sent."""

import functools
import inspect
import subprocess
import sys
import textwrap
import threading
import types

import httpx
import httpx2
import openai
import pytest

from agentsched.intercept import instrument, is_instrumented, uninstrument
from tests.intercept.fakes import NOWHERE, SENDS, inside
from tests.intercept.upstream import ok

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
MODULES = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])


def current_sends():
    return [vars(getattr(module, name))["send"] for module, name in SENDS]


def test_idempotent_and_without_a_trace():
    ours = current_sends()
    instrument()
    assert current_sends() == ours
    assert is_instrumented()
    uninstrument()
    originals = current_sends()
    assert not set(originals) & set(ours)
    assert [function.__module__.partition(".")[0] for function in originals] == ["httpx", "httpx", "httpx2", "httpx2"]
    uninstrument()
    assert current_sends() == originals
    assert not is_instrumented()


def test_looks_like_the_original():
    for module in (httpx, httpx2):
        for kind in (module.Client, module.AsyncClient):
            assert kind.send.__name__ == "send"
            assert kind.send.__doc__.strip().startswith("Send a request")
            assert list(inspect.signature(kind.send).parameters)[1:] == [
                "request",
                "stream",
                "auth",
                "follow_redirects",
            ]
        assert inspect.iscoroutinefunction(module.AsyncClient.send)


def test_from_many_threads():
    uninstrument()
    originals = current_sends()
    start = threading.Barrier(8)

    def work(switch):
        start.wait()
        for _ in range(50):
            switch()

    threads = [threading.Thread(target=work, args=(switch,)) for switch in (instrument, uninstrument) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    uninstrument()
    assert current_sends() == originals


@MODULES
def test_a_later_patch_stays_and_ours_falls_asleep(module, upstream, runtime, new_run, monkeypatch):
    ours, seen = module.Client.send, []

    def theirs(client, request, **options):
        seen.append(request.url.path)
        return ours(client, request, **options)

    with monkeypatch.context() as patching, module.Client() as client:
        patching.setattr(module.Client, "send", theirs)
        with inside(new_run()):
            assert client.post(f"{upstream.url}/chat/completions", json=ASK).status_code == 200
        assert len(runtime.dispatcher.calls) == 1

        uninstrument()
        assert module.Client.send is theirs
        with inside(new_run()):
            client.post(f"{upstream.url}/chat/completions", json=ASK)
        assert (len(runtime.dispatcher.calls), len(upstream.requests)) == (1, 1)

        instrument()
        with inside(new_run()):
            client.post(f"{upstream.url}/chat/completions", json=ASK)
        assert len(runtime.dispatcher.calls) == 2
        uninstrument()
        assert module.Client.send is theirs
        assert len(seen) == 2
    # Their restoring puts our sleeping function back; what was below it is still the original.
    module.Client.send = ours.__wrapped__


@MODULES
def test_an_earlier_patch_is_called_and_restored(module, upstream, new_run, monkeypatch):
    uninstrument()
    original, seen = module.Client.send, []

    def theirs(client, request, **options):
        seen.append(request.url.path)
        return original(client, request, **options)

    with monkeypatch.context() as patching, module.Client() as client, inside(new_run()):
        patching.setattr(module.Client, "send", theirs)
        instrument()
        client.get(f"{upstream.url}/models")
        uninstrument()
        assert module.Client.send is theirs
    assert seen == ["/v1/models"]


@MODULES
def test_an_earlier_wrapper_learns_whose_method_it_is(module, upstream, new_run, monkeypatch):
    uninstrument()
    original, seen = module.Client.send, []

    def theirs(client, request, **options):
        seen.append(client)
        return original(client, request, **options)

    class Descriptor:
        """As tracing tools make them (wrapt)."""

        def __get__(self, client, owner):
            return theirs if client is None else functools.partial(theirs, client)

        def __call__(self, *args, **options):
            raise AssertionError("called without being asked whose method it is")

    wrapper = Descriptor()
    with monkeypatch.context() as patching, module.Client() as client, inside(new_run()):
        patching.setattr(module.Client, "send", wrapper)
        instrument()
        client.get(f"{upstream.url}/models")
        uninstrument()
        assert vars(module.Client)["send"] is wrapper
    assert seen == [client]


@MODULES
def test_a_subclass_with_its_own_send_keeps_it(module, dispatcher, new_run):
    class Noting(module.Client):
        def send(self, request, **options):
            request.headers["x-request-id"] = "noted"
            return super().send(request, **options)

    with Noting() as client, inside(new_run()):
        client.post(f"{NOWHERE}/chat/completions", json=ASK)
    assert ("x-request-id", "noted") in dispatcher.exchanges[0].headers


@MODULES
async def test_outside_a_run_the_original_does_everything(module, monkeypatch):
    """What the original returns, or raises, is what the caller gets."""
    uninstrument()
    answer, seen = module.Response(200), []

    def original(client, request, **options):
        seen.append((request, options))
        return answer

    async def async_original(client, request, **options):
        return original(client, request, **options)

    with monkeypatch.context() as patching:
        patching.setattr(module.Client, "send", original)
        patching.setattr(module.AsyncClient, "send", async_original)
        instrument()
        request = module.Request("POST", f"{NOWHERE}/chat/completions", json=ASK)
        with module.Client() as client:
            assert client.send(request, stream=True) is answer
        async with module.AsyncClient() as client:
            assert await client.send(request, follow_redirects=True) is answer
        uninstrument()
    assert seen == [(request, {"stream": True}), (request, {"follow_redirects": True})]


@MODULES
async def test_what_is_no_model_call_passes_inside_a_run(module, upstream, dispatcher, new_run):
    upstream.script = ok({})
    base = upstream.url
    with inside(new_run("2s")) as run:
        with module.Client() as client:
            client.get(f"{base}/chat/completions")
            client.post(f"{base}/embeddings", json=ASK)
            client.post(f"{base}/chat/completions/c1", json=ASK)
            client.post(f"{base}/responses", json={"survey": 1})
            client.post(f"{base}/chat/completions", content=b"no json", headers={"content-type": "application/json"})
            client.post(f"{base}/chat/completions", content=b"[1]")
            client.post(f"{base}/chat/completions", content=(part for part in [b'{"messages"', b": []}"]))
            client.post(f"{base}/chat/completions", files={"messages": b"x"})
        async with module.AsyncClient() as client:

            async def upload():
                yield b'{"model": "m", "messages": []}'

            await client.post(f"{base}/chat/completions", content=upload())
    assert dispatcher.calls == []
    assert len(upstream.requests) == 9
    assert run.calls == 0


@MODULES
async def test_a_closed_client_says_so(module, dispatcher, new_run):
    client, async_client = module.Client(), module.AsyncClient()
    client.close()
    await async_client.aclose()
    with inside(new_run()):
        with pytest.raises(RuntimeError, match="closed"):
            client.post(f"{NOWHERE}/chat/completions", json=ASK)
        with pytest.raises(RuntimeError, match="closed"):
            await async_client.post(f"{NOWHERE}/chat/completions", json=ASK)
    assert dispatcher.calls == []


async def test_a_transport_that_sends_with_another_client_is_one_call(upstream, new_run):
    """What passes through is sent outside the run: the inner client's call is not counted, or bounded, again."""

    class Forwarding(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            async with httpx.AsyncClient() as inner:
                answer = await inner.post(str(request.url), content=await request.aread())
            return httpx.Response(answer.status_code, content=answer.content)

    with inside(new_run("5s")) as run:
        async with httpx.AsyncClient(transport=Forwarding()) as client:
            answer = await client.post(f"{upstream.url}/chat/completions", json=ASK)
    assert answer.status_code == 200
    assert run.calls == 1
    assert len(upstream.requests) == 1


async def test_azure_paths(dispatcher, new_run):
    options = {"azure_endpoint": "http://127.0.0.1:9", "api_key": "k", "api_version": "2024-10-21"}
    with openai.AzureOpenAI(**options) as client, inside(new_run()):
        client.chat.completions.create(**ASK)
    with httpx.Client() as client, inside(new_run()):
        url = "http://127.0.0.1:9/openai/deployments/m/chat/completions?api-version=1"
        client.post(url, json={"messages": ASK["messages"]})
    assert [call.model for call in dispatcher.calls] == ["m", "m"]


def test_importing_loads_no_http_library():
    code = """
        import sys
        import agentsched.intercept as intercept
        from agentsched.intercept import clients
        assert not {"httpx", "httpx2", "openai"} & set(sys.modules), sorted(sys.modules)
        intercept.instrument()
        assert not {"httpx", "httpx2"} & set(sys.modules)
        assert "openai" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_only_loaded_libraries_are_patched(monkeypatch):
    from agentsched.intercept import family

    monkeypatch.delitem(sys.modules, "httpx")
    assert [found.name for found in family.loaded_families()] == ["httpx2"]
    monkeypatch.delitem(sys.modules, "httpx2")
    assert family.loaded_families() == ()


def test_a_half_loaded_library_is_no_library_yet(monkeypatch):
    from agentsched.intercept import family

    monkeypatch.setitem(sys.modules, "httpx", types.ModuleType("httpx"))
    assert family.loaded_family("httpx") is None


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_a_library_that_arrives_later_is_caught_then(name):
    code = f"""
        import sys
        import agentsched.intercept as intercept
        intercept.instrument()
        assert not {{"httpx", "httpx2"}} & set(sys.modules)
        import {name}
        assert {name}.Client.send.__module__ == "{name}._client"  # wraps keeps the name
        assert hasattr({name}.Client.send, "__wrapped__")
        assert "Announcing" not in repr({name}.__spec__) + repr({name}.__loader__)
        intercept.uninstrument()
        assert not hasattr({name}.Client.send, "__wrapped__")
        assert not any("Arrival" in repr(finder) for finder in sys.meta_path)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_an_alias_is_patched_once(monkeypatch):
    from agentsched.intercept import family

    monkeypatch.setitem(sys.modules, "httpx", httpx2)
    assert [found.client for found in family.loaded_families()] == [httpx2.Client]


def test_another_event_loop_than_asyncios_is_left_alone(dispatcher, new_run, caplog):
    """A coroutine that somebody else drives, as trio would."""

    async def ask(client):
        await client.post(f"{NOWHERE}/chat/completions", json=ASK)

    async def answer(request):
        return httpx.Response(200)

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    with inside(new_run("5s")), pytest.raises(StopIteration):
        ask(client).send(None)
    assert dispatcher.calls == []
    assert "asyncio does not drive this program" in caplog.text
