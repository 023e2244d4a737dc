"""One emulated endpoint: OpenAI's API over an engine, with its limits, key and faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from math import ceil
from typing import Any

import numpy as np
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentsched import clock
from agentsched.emulator.answers import Answer, compose
from agentsched.emulator.apierror import ApiError, bad_request
from agentsched.emulator.calls import Call, read_chat, read_completion, read_responses
from agentsched.emulator.conductor import Conductor
from agentsched.emulator.config import EmulatedEndpoint
from agentsched.emulator.delivery import Delivery, error_response
from agentsched.emulator.driver import Driver
from agentsched.emulator.faults import FAULT_HEADER, Fault, FaultBoard, parse_fault_header
from agentsched.emulator.metrics import metrics_text
from agentsched.emulator.sinks import StreamSink, WholeSink
from agentsched.emulator.token_ids import cached_bytes
from agentsched.emulator.wire import ChatWire, CompletionWire, Wire
from agentsched.emulator.wire_responses import ResponsesWire
from agentsched.emulator.words import BYTES_PER_TOKEN
from agentsched.engine.disaggregated import DisaggregatedPair
from agentsched.engine.hosted import HostedApi
from agentsched.engine.instance import Instance
from agentsched.engine.prefix import block_chain
from agentsched.engine.profile import DisaggregatedProfile, HardwareProfile, HostedProfile
from agentsched.engine.ratelimit import RateLimit
from agentsched.engine.request import Rejection, Request, ServingModel
from agentsched.errors import ConfigError

__all__ = ["EndpointServer"]

_Reader = Callable[..., Call]
_WireMaker = Callable[[Call, Answer, str, int], Wire]
_MAX_BODY_BYTES = 64 * 2**20


class _Slowdown(BaseModel):
    """Body of POST /_emulator/slowdown."""

    model_config = ConfigDict(extra="forbid")
    factor: float = Field(gt=0)
    duration_s: float = Field(gt=0)


class _Outage(BaseModel):
    """Body of POST /_emulator/outage."""

    model_config = ConfigDict(extra="forbid")
    duration_s: float = Field(gt=0)


class EndpointServer:
    """An endpoint behind HTTP. Lives on one event loop.

    Args:
        config: what it is.
        conductor: performs the engine's steps in time.
        time_scale: how many times faster than real time its engine runs.
        on_refuse: called with a fault of kind ``refuse``; closes the listener for its window.
    """

    def __init__(
        self,
        config: EmulatedEndpoint,
        conductor: Conductor,
        *,
        time_scale: float = 1.0,
        on_refuse: Callable[[Fault], None] | None = None,
    ) -> None:
        self.config = config
        self.driver = Driver(_model(config), conductor, time_scale=time_scale)
        self.received = 0
        self.successes = 0
        self.busy: set[asyncio.Transport | None] = set()
        self._scale = time_scale
        self._on_refuse = on_refuse
        self._faults = FaultBoard(np.random.default_rng((config.seed, 1)))
        self._limit = RateLimit(
            config.requests_per_minute or getattr(config.profile, "requests_per_minute", None),
            config.tokens_per_minute or getattr(config.profile, "tokens_per_minute", None),
        )
        self._count = 0
        self._stopped: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        for fault in config.faults:
            self.inject(fault)

    # Control ---------------------------------------------------------------------------------------------------------

    def inject(self, fault: Fault) -> None:
        """Set a fault from now on."""
        self._faults.add(fault, clock.monotonic())
        if fault.kind == "refuse" and self._on_refuse is not None:
            self._on_refuse(fault)

    def clear_faults(self) -> None:
        """Take all faults away (a closed listener opens when its time is over, or with the pool's `clear`)."""
        self._faults.clear()

    def stop(self) -> None:
        """End everything in flight."""
        self.driver.close()
        if not self._stopped.done():
            self._stopped.set_result(True)

    def application(self) -> web.Application:
        """Return a fresh web application that serves this endpoint."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        chat = self._generator(read_chat, ChatWire, "chatcmpl-")
        completion = self._generator(read_completion, CompletionWire, "cmpl-")
        responses = self._generator(read_responses, ResponsesWire, "resp_")
        app.add_routes(
            [
                web.post("/v1/chat/completions", chat),
                web.post("/v1/completions", completion),
                web.post("/v1/responses", responses),
                web.get("/v1/models", self._models),
                web.get("/health", self._health),
                web.get("/metrics", self._metrics),
                web.get("/_emulator/faults", self._list_faults),
                web.post("/_emulator/faults", self._set_faults),
                web.delete("/_emulator/faults", self._drop_faults),
                web.get("/_emulator/pacing", self._pacing),
                web.delete("/_emulator/pacing", self._clear_pacing),
                web.get("/_emulator/load", self._load),
                web.post("/_emulator/slowdown", self._slow_down),
                web.post("/_emulator/outage", self._outage),
            ]
        )
        return app

    # Generation ------------------------------------------------------------------------------------------------------

    def _generator(
        self, read: _Reader, wire: _WireMaker, prefix: str
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            transport = request.transport
            self.busy.add(transport)
            try:
                return await self._generate(request, read, wire, prefix)
            except ApiError as error:
                return error_response(error)
            except ConnectionResetError:  # the client left while it was written to
                return web.Response()
            finally:
                self.busy.discard(transport)

        return handle

    async def _generate(self, request: web.Request, read: _Reader, wire: _WireMaker, prefix: str) -> web.StreamResponse:
        self.received += 1
        self._authorize(request)
        call = read(await _json_body(request), request.headers, kind=self.config.kind)
        if call.model != self.config.model:
            raise ApiError(404, f"The model `{call.model}` does not exist.", param="model", code="model_not_found")
        fault = self._fault_for(request, call)
        if fault is not None:
            await self._fail_before(request, fault)
        answer = compose(call, self.config.lengths, room_tokens=self._room_tokens(call))
        headers = self._take_rate(call.prompt_tokens + len(answer.tokens))
        self._count += 1
        request_id = f"{prefix}{self.config.name}-{self._count:08d}"
        headers["x-request-id"] = request.headers.get("x-request-id", request_id)

        def start(sink: WholeSink | StreamSink) -> None:
            rejection = self.driver.submit(self._engine_request(request_id, call, answer), sink)
            if rejection is not None:
                raise _refused(rejection, self._scale)

        delivery = Delivery(
            request,
            wire(call, answer, request_id, int(clock.wall())),
            call.prompt_tokens,
            len(answer.tokens),
            answer.complete,
            fault,
            headers,
            start,
            lambda: asyncio.shield(self._stopped),
        )
        try:
            response = await (delivery.stream() if call.stream else delivery.whole())
        finally:
            self.driver.abort(request_id)
        self.successes += fault is None
        return response

    def _authorize(self, request: web.Request) -> None:
        key = self.config.api_key
        if key is None:
            return
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if given != key:
            text = "Incorrect API key provided." if given else "You didn't provide an API key."
            raise ApiError(401, text, code="invalid_api_key")

    def _room_tokens(self, call: Call) -> int:
        limit = self.config.engine_profile.context_limit_tokens
        room = limit - call.prompt_tokens
        if room < (call.max_tokens or 1):
            text = (
                f"This model's maximum context length is {limit} tokens. However, you requested "
                f"{call.prompt_tokens + (call.max_tokens or 1)} tokens ({call.prompt_tokens} in the prompt, "
                f"{call.max_tokens or 1} for the answer)."
            )
            raise bad_request(text, "messages", "context_length_exceeded")
        return room

    def _take_rate(self, tokens: int) -> dict[str, str]:
        now = clock.monotonic() * self._scale
        wait_s = self._limit.take(now, tokens) / self._scale
        headers = self._limit.headers(now)
        if wait_s > 0:
            raise _too_many(wait_s, headers)
        return headers

    def _engine_request(self, request_id: str, call: Call, answer: Answer) -> Request:
        profile = self.config.profile
        if isinstance(profile, HostedProfile):
            return Request(request_id, call.prompt_tokens, len(answer.tokens), call.priority)
        block_bytes = profile.block_tokens * BYTES_PER_TOKEN
        prompt, said = (call.prompt + call.partial).encode(), answer.text.encode()
        if call.ids:
            prompt, said = cached_bytes(call.ids), cached_bytes(answer.ids)
        chain = block_chain(prompt + said, block_bytes)
        full = len(prompt) // block_bytes
        return Request(request_id, call.prompt_tokens, len(answer.tokens), call.priority, chain[:full], chain[full:])

    def _fault_for(self, request: web.Request, call: Call) -> Fault | None:
        header = request.headers.get(FAULT_HEADER)
        if header is not None:
            try:
                return parse_fault_header(header)
            except ConfigError as error:
                raise bad_request(str(error)) from error
        return self._faults.choose(stream=call.stream, now=clock.monotonic())

    async def _fail_before(self, request: web.Request, fault: Fault) -> None:
        """Act out the faults that come instead of an answer.

        Raises:
            ApiError: what the client is told.
        """
        if fault.kind == "silent":
            await asyncio.shield(self._stopped)
            raise ApiError(503, "the server is going down", kind="server_error")
        if fault.kind == "refuse":
            if request.transport is not None:
                request.transport.abort()
            raise ApiError(503, "the connection was reset", kind="server_error")
        retry = {} if fault.retry_after_s is None else {"Retry-After": f"{fault.retry_after_s:g}"}
        if fault.kind == "rate_limit":
            raise ApiError(429, "Rate limit reached.", kind="requests", code="rate_limit_exceeded", headers=retry)
        if fault.kind == "server_error":
            raise ApiError(fault.status, "The server had an error while processing your request.", kind="server_error")
        if fault.kind == "unavailable":
            raise ApiError(503, "The engine is currently overloaded.", kind="server_error", headers=retry)

    # Other routes ----------------------------------------------------------------------------------------------------

    async def _models(self, request: web.Request) -> web.Response:
        try:
            self._authorize(request)
        except ApiError as error:
            return error_response(error)
        card: dict[str, Any] = {"id": self.config.model, "object": "model", "created": 0, "owned_by": "agentsched"}
        if self.config.kind == "vllm":
            card["max_model_len"] = self.config.engine_profile.context_limit_tokens
        return web.json_response({"object": "list", "data": [card]})

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _metrics(self, request: web.Request) -> web.Response:
        if self.config.kind != "vllm":
            return error_response(ApiError(404, "Not found."))
        text = metrics_text(self.config.model, self.driver.load(), successes=self.successes)
        return web.Response(text=text, content_type="text/plain")

    async def _list_faults(self, request: web.Request) -> web.Response:
        return web.json_response({"faults": self._faults.listing(clock.monotonic())})

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            body = await _json_body(request)
            faults = [Fault.model_validate(fault) for fault in body.get("faults", [body])]
        except (ApiError, ValidationError) as error:
            return error_response(bad_request(str(error)))
        for fault in faults:
            self.inject(fault)
        return await self._list_faults(request)

    async def _drop_faults(self, request: web.Request) -> web.Response:
        self.clear_faults()
        return await self._list_faults(request)

    async def _pacing(self, request: web.Request) -> web.Response:
        return web.json_response(self.driver.pacing.summary())

    async def _clear_pacing(self, request: web.Request) -> web.Response:
        self.driver.pacing.clear()
        return await self._pacing(request)

    async def _load(self, request: web.Request) -> web.Response:
        load = self.driver.load()
        counted = {"received": self.received, "successes": self.successes}
        return web.json_response({**counted, **asdict(load)})

    async def _slow_down(self, request: web.Request) -> web.Response:
        try:
            order = _Slowdown.model_validate(await _json_body(request))
        except (ApiError, ValidationError) as error:
            return error_response(bad_request(str(error)))
        self.driver.slow_down(order.factor, order.duration_s)
        return web.json_response({"ok": True})

    async def _outage(self, request: web.Request) -> web.Response:
        try:
            order = _Outage.model_validate(await _json_body(request))
        except (ApiError, ValidationError) as error:
            return error_response(bad_request(str(error)))
        self.driver.fail(order.duration_s)
        return web.json_response({"ok": True})


def _model(config: EmulatedEndpoint) -> ServingModel:
    if isinstance(config.profile, HardwareProfile):
        return Instance(config.profile, scheduling=config.scheduling, max_waiting=config.max_waiting)
    if isinstance(config.profile, DisaggregatedProfile):
        return DisaggregatedPair(config.profile, scheduling=config.scheduling, max_waiting=config.max_waiting)
    # The server counts the limits itself, for every kind of endpoint: it has headers to fill.
    return HostedApi(config.profile, np.random.default_rng((config.seed, 0)), limit=RateLimit(None, None))


async def _json_body(request: web.Request) -> Mapping[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        raise bad_request("the body is not JSON") from None
    if not isinstance(body, dict):
        raise bad_request("the body must be a JSON object")
    return body


def _too_many(wait_s: float, headers: Mapping[str, str]) -> ApiError:
    retry = {"Retry-After": str(max(1, ceil(wait_s))), "retry-after-ms": str(ceil(wait_s * 1000))}
    text = f"Rate limit reached. Please try again in {wait_s:.3f}s."
    return ApiError(429, text, kind="requests", code="rate_limit_exceeded", headers={**headers, **retry})


def _refused(rejection: Rejection, scale: float) -> ApiError:
    if rejection.reason == "context_length":
        return bad_request(rejection.detail, "messages", "context_length_exceeded")
    if rejection.reason == "rate_limited":
        return _too_many((rejection.retry_after_s or 0.0) / scale, {})
    return ApiError(503, rejection.detail, kind="server_error")
