import httpcore
import httpcore2
import httpx
import httpx2
import pytest

from agentsched.intercept.transports import is_custom_transport

MODULES = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])


def is_custom(client, url="https://h/v1"):
    return is_custom_transport(client, client.build_request("POST", url))


@MODULES
def test_the_networks_transports(module):
    assert not is_custom(module.Client())
    assert not is_custom(module.AsyncClient())
    assert not is_custom(module.Client(transport=module.HTTPTransport(retries=2)))
    assert not is_custom(module.AsyncClient(proxy="http://127.0.0.1:9"))
    assert not is_custom(module.Client(proxy="http://127.0.0.1:9"))


@MODULES
def test_a_subclass_that_changes_nothing_is_plain(module):
    class Named(module.HTTPTransport):
        label = "mine"

    assert not is_custom(module.Client(transport=Named()))


@MODULES
def test_stubs_and_wrappers_are_custom(module):
    class Recording(module.HTTPTransport):
        def handle_request(self, request):
            return super().handle_request(request)

    async def app(scope, receive, send): ...

    assert is_custom(module.Client(transport=module.MockTransport(lambda request: module.Response(200))))
    assert is_custom(module.AsyncClient(transport=module.MockTransport(lambda request: module.Response(200))))
    assert is_custom(module.AsyncClient(transport=module.ASGITransport(app)))
    assert is_custom(module.Client(transport=Recording()))


@MODULES
def test_the_transport_mounted_for_the_url_counts(module):
    client = module.Client(mounts={"http://": module.MockTransport(lambda request: module.Response(200))})
    assert is_custom(client, "http://h/v1")
    assert not is_custom(client, "https://h/v1")


@MODULES
def test_a_library_that_replaces_the_method(module, monkeypatch):
    client, async_client = module.Client(), module.AsyncClient()

    def stub(self, request): ...

    with monkeypatch.context() as patching:
        patching.setattr(module.HTTPTransport, "handle_request", stub)
        assert is_custom(client)
        assert not is_custom(async_client)
    core = httpcore if module is httpx else httpcore2
    with monkeypatch.context() as patching:
        patching.setattr(core.AsyncConnectionPool, "handle_async_request", stub)
        assert is_custom(async_client)
        assert not is_custom(client)
    assert not is_custom(client)


def test_the_aiohttp_transport_of_the_sdk():
    vendored = pytest.importorskip("openai._vendor.httpx_aiohttp", reason="only in openai 3")
    assert not is_custom(vendored.Httpx2AiohttpClient())


def test_the_aiohttp_transport_of_litellm(monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or importing it asks the network for prices
    module = pytest.importorskip("litellm.llms.custom_httpx.aiohttp_transport", reason="only where litellm is")
    assert not is_custom(httpx.AsyncClient(transport=module.LiteLLMAiohttpTransport(client=lambda: None)))
