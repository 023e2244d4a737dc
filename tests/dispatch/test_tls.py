"""Endpoints with certificates of one's own, and those that ask for the client's."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from agentsched.core.endpoint import Endpoint, Pool, Tls
from agentsched.core.rules import RetryRules, Rules
from agentsched.dispatch.trust import credentials_of
from agentsched.errors import AgentschedError, ConfigError
from tests.dispatch.test_rescue import a_request, the_call

ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
ONCE = Rules(retry=RetryRules(max_attempts=1))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Files:
    """PEM files of an authority and of a client that it vouches for."""

    def __init__(self, authority: trustme.CA, folder: Path) -> None:
        client = authority.issue_cert("client@example.org")
        self.ca, self.cert, self.key, self.both = (str(folder / name) for name in ("ca", "cert", "key", "both"))
        authority.cert_pem.write_to_path(self.ca)
        client.cert_chain_pems[0].write_to_path(self.cert)
        client.private_key_pem.write_to_path(self.key)
        client.private_key_and_cert_chain_pem.write_to_path(self.both)
        secret = load_pem_private_key(client.private_key_pem.bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")
        )
        self.locked = str(folder / "locked")
        Path(self.locked).write_bytes(secret)


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Files:
    return Files(authority, tmp_path)


@asynccontextmanager
async def served(authority: trustme.CA, *, asks: bool = False) -> AsyncIterator[tuple[str, list[object]]]:
    """A server whose certificate the authority gave; with ``asks`` it wants the client's.

    Gives its URL, and who came.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if asks:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    came: list[object] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        came.append(request.transport.get_extra_info("peercert"))
        return web.json_response(ANSWER)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context)
    try:
        yield str(server.make_url("/v1")), came
    finally:
        await server.close()


async def said(make_runtime, url: str, tls: Tls) -> str:
    runtime = make_runtime(Pool([Endpoint(name="a", base_url=url, model="m", tls=tls)]), ONCE)
    exchange = a_request("hi")
    reply = await runtime.dispatcher.send(the_call(exchange, 5.0), exchange)
    text: str = json.loads(reply.content)["choices"][0]["message"]["content"]
    return text


async def test_an_authority_of_ones_own_vouches_for_its_servers(make_runtime, authority, files):
    async with served(authority) as (url, came):
        assert await said(make_runtime, url, Tls(ca=files.ca)) == "hello"
        assert came == [None]


async def test_nobody_else_is_believed(make_runtime, authority, files, tmp_path):
    other = trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "other")
    async with served(authority) as (url, came):
        for tls in (Tls(), Tls(ca=str(tmp_path / "other"))):
            with pytest.raises(AgentschedError, match="certificate"):
                await said(make_runtime, url, tls)
        assert not came


async def test_without_verification_anybody_is(make_runtime, authority):
    async with served(authority) as (url, _):
        assert await said(make_runtime, url, Tls(verify=False)) == "hello"


async def test_a_server_is_told_who_asks(make_runtime, authority, files):
    async with served(authority, asks=True) as (url, came):
        assert await said(make_runtime, url, Tls(files.ca, files.cert, files.key)) == "hello"
        assert await said(make_runtime, url, Tls(files.ca, files.both)) == "hello"
        assert len(came) == 2
        assert all(came)
        with pytest.raises(AgentschedError):
            await said(make_runtime, url, Tls(files.ca))
        assert len(came) == 2


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"ca": "none"}, "tls.ca", "cannot be read: No such file"),
        ({"ca": "key"}, "tls.ca", "cannot be used"),
        ({"cert": "cert", "key": "none"}, "tls.key", "cannot be read: No such file"),
        ({"cert": "cert"}, "tls.cert", "cannot be used"),
        ({"cert": "cert", "key": "locked"}, "tls.cert", "cannot be used"),
    ],
    ids=["no file", "no certificate", "no key file", "no key", "a key with a password"],
)
def test_files_that_cannot_be_used_are_named(files, tmp_path, fields, field, message):
    tls = Tls(**{name: str(tmp_path / value) for name, value in fields.items()})
    with pytest.raises(ConfigError, match=message) as caught:
        credentials_of([Endpoint(name="gpu", base_url="https://a.example/v1", model="m", tls=tls)])
    assert caught.value.field == f"endpoint 'gpu'.{field}"


def test_files_are_read_again_by_whoever_begins_anew(files):
    """Certificates are renewed, under the same names."""
    endpoint = Endpoint(name="a", base_url="https://a.example/v1", model="m", tls=Tls(files.ca))
    before = credentials_of([endpoint])["a"]
    trustme.CA().cert_pem.write_to_path(files.ca)
    assert credentials_of([endpoint])["a"].get_ca_certs() != before.get_ca_certs()


def test_endpoints_with_the_same_files_share_what_was_read(files):
    a, b = (Endpoint(name=n, base_url="https://a.example/v1", model="m", tls=Tls(files.ca)) for n in "ab")
    made = credentials_of([a, b])
    assert made["a"] is made["b"]
