"""The requests of a probe: the live request path, counted, retried and paced."""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

import aiohttp
from asyncio_throttle.throttler import Throttler
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential

from agentsched import clock
from agentsched.cli.probe_fit import Sample
from agentsched.core.call import Usage
from agentsched.core.endpoint import Endpoint
from agentsched.dispatch.trust import credentials_of
from agentsched.endpoints.answers import MalformedAnswer, error_of, read_answer, read_chunk, usage_of
from agentsched.endpoints.exchange import Exchange
from agentsched.endpoints.limits import retry_after_s
from agentsched.endpoints.request import Address, WireRequest
from agentsched.endpoints.sse import EventTooLong, SseDecoder

__all__ = ["Caller", "NotStreamed", "Refused", "session"]

Result = TypeVar("Result")

_ATTEMPTS = 3
_LONGEST_WAIT_S = 20.0


class Refused(Exception):
    """The endpoint did not answer a request with what was asked for.

    Attributes:
        status: HTTP status; None: there was no HTTP answer, or no usable one.
        again_after_s: seconds after which trying again may help; None: it will not.
    """

    def __init__(self, text: str, *, status: int | None = None, again_after_s: float | None = None) -> None:
        self.status, self.again_after_s = status, again_after_s
        super().__init__(text)


class NotStreamed(Refused):
    """A whole answer came where a stream was asked for."""


def session(timeout_s: float) -> aiohttp.ClientSession:
    """HTTP connections for a probe; ``timeout_s`` bounds each request."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,
    )


class Caller:
    """Calls one endpoint, and counts what that took.

    Args:
        endpoint: whom; its ``rpm`` is respected.
        http: see `session`.
        first_wait_s: wait before a request is repeated, doubled each time, seconds.

    Attributes:
        requests, input_tokens, output_tokens: what was used; tokens as the endpoint counts them, where it does.

    Raises:
        ConfigError: a file of the endpoint's ``tls`` cannot be used.
    """

    def __init__(self, endpoint: Endpoint, http: aiohttp.ClientSession, *, first_wait_s: float = 0.5) -> None:
        self.endpoint = endpoint
        self.requests = self.input_tokens = self.output_tokens = 0
        self._http, self._address, self._first_wait_s = http, Address(endpoint), first_wait_s
        self._tls = credentials_of([endpoint]).get(endpoint.name, True)
        self._pace: AbstractAsyncContextManager[Any] = nullcontext()
        if endpoint.rpm is not None:
            self._pace = Throttler(rate_limit=max(1, int(endpoint.rpm)), period=60.0)

    async def models(self) -> list[dict[str, Any]]:
        """The entries of the endpoint's model list.

        Raises:
            Refused: there is none.
        """
        wire = self._wire("models", {}, stream=False)
        answer = await self._repeated(self._answer, "GET", wire)
        entries = answer.get("data", answer.get("models"))
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    async def call(self, api: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The whole answer to one request.

        Raises:
            Refused: there is none.
        """
        wire = self._wire(api, body, stream=False)
        return await self._repeated(self._answer, "POST", wire)

    async def stream(self, api: str, body: Mapping[str, Any]) -> Sample:
        """What was seen of one streamed answer.

        Raises:
            Refused: there is none, or it is no stream.
        """
        wire = self._wire(api, {**body, "stream": True}, stream=True)
        return await self._repeated(self._sample, api, wire)

    def _wire(self, api: str, body: Mapping[str, Any], *, stream: bool) -> WireRequest:
        full = {"model": self.endpoint.model, **body}
        exchange = Exchange(api=api, body=full, raw=json.dumps(full).encode(), headers=(), stream=stream)
        return self._address.request(exchange, f"probe-{secrets.token_hex(8)}")

    async def _repeated(self, attempt: Callable[..., Awaitable[Result]], *arguments: Any) -> Result:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=self._wait,
            retry=retry_if_exception(lambda error: isinstance(error, Refused) and error.again_after_s is not None),
            reraise=True,
        )
        return await retrying(partial(attempt, *arguments))

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked_s = error.again_after_s if isinstance(error, Refused) and error.again_after_s else 0.0
        own_s = wait_exponential(multiplier=self._first_wait_s)(state)
        return min(_LONGEST_WAIT_S, max(asked_s, own_s))

    async def _answer(self, method: str, wire: WireRequest) -> dict[str, Any]:
        async with self._pace, self._open(method, wire) as response:
            try:
                answer = read_answer(await response.read())
            except MalformedAnswer as error:
                raise Refused(f"no usable answer: {error}", status=200) from None
        in_band = error_of(answer)
        if in_band is not None:
            raise Refused(self._safe(in_band), status=200)
        self._count(usage_of(answer))
        return answer

    async def _sample(self, api: str, wire: WireRequest) -> Sample:
        async with self._pace:
            sent_at = clock.monotonic()
            async with self._open("POST", wire) as response:
                if "text/event-stream" not in response.headers.get("content-type", ""):
                    raise NotStreamed("answers whole when a stream is asked for", status=200)
                try:
                    token_at, usage = await self._read(api, response)
                except (MalformedAnswer, EventTooLong) as error:
                    raise Refused(f"no usable stream: {error}", status=200) from None
        if not token_at:
            raise Refused("the stream held no output", status=200)
        self._count(Usage(usage.input_tokens, usage.output_tokens or len(token_at)))
        return Sample(sent_at, tuple(token_at), usage.output_tokens, usage.input_tokens, usage.cached_input_tokens)

    async def _read(self, api: str, response: aiohttp.ClientResponse) -> tuple[list[float], Usage]:
        """The instants at which output came, and the usage told."""
        decoder, token_at, usage = SseDecoder(), [], Usage()
        async for piece in response.content.iter_any():
            now = clock.monotonic()
            for event in decoder.feed(piece):
                chunk = read_chunk(api, event.data)
                if chunk.error is not None:
                    raise Refused(self._safe(chunk.error), status=200)
                if chunk.content:
                    token_at.append(now)
                usage = chunk.usage or usage
        return token_at, usage

    @asynccontextmanager
    async def _open(self, method: str, wire: WireRequest) -> AsyncIterator[aiohttp.ClientResponse]:
        self.requests += 1
        body = wire.body if method == "POST" else None
        try:
            async with self._http.request(
                method, wire.url, headers=wire.headers, data=body, allow_redirects=False, ssl=self._tls
            ) as response:
                if response.status != 200:
                    raise self._refusal(response, await response.read())
                yield response
        except TimeoutError:
            raise Refused("no answer in time") from None
        except aiohttp.ClientConnectorError as error:
            raise Refused(f"cannot be reached: {error.os_error}") from None
        except aiohttp.ClientError as error:
            text = self._safe(str(error)) or type(error).__name__
            raise Refused(f"the connection broke: {text}", again_after_s=0.0) from None

    def _refusal(self, response: aiohttp.ClientResponse, body: bytes) -> Refused:
        try:
            said = error_of(read_answer(body)) or ""
        except MalformedAnswer:
            said = body[:200].decode("utf-8", "replace").strip()
        again = response.status == 429 or response.status >= 500
        after_s = retry_after_s(response.headers, clock.wall()) or 0.0
        text = f"{response.status} {response.reason or ''}".strip() + (f": {said}" if said else "")
        return Refused(self._safe(text)[:300], status=response.status, again_after_s=after_s if again else None)

    def _safe(self, text: str) -> str:
        """Some servers repeat the key in their errors."""
        key = self.endpoint.api_key
        return text.replace(key, "(key)") if key else text

    def _count(self, usage: Usage) -> None:
        self.input_tokens += usage.input_tokens or 0
        self.output_tokens += usage.output_tokens or 0
