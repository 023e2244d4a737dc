"""An embedded pool in this process: every endpoint on its own port, and a control server beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from aiohttp import web

from agentsched.emulator.conductor import Conductor
from agentsched.emulator.config import EmulatedEndpoint, EmulatorConfig
from agentsched.emulator.endpoint import EndpointServer
from agentsched.emulator.faults import Fault
from agentsched.emulator.pacing import PacingHistogram
from agentsched.engine.profile import HostedProfile
from agentsched.engine.request import Load
from agentsched.errors import ConfigError

__all__ = ["Emulator"]

_BACKLOG = 2048


class _Listener:
    """One endpoint and the port it listens on; the port can be closed for a while."""

    def __init__(self, config: EmulatedEndpoint, conductor: Conductor, host: str, time_scale: float) -> None:
        self.host = host
        self.port = config.port
        self.server = EndpointServer(config, conductor, time_scale=time_scale, on_refuse=self._refuse)
        self._runner = web.AppRunner(
            self.server.application(), access_log=None, handler_cancellation=True, shutdown_timeout=1.0
        )
        self._site: web.TCPSite | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await self._runner.setup()
        await self.open()

    async def open(self) -> None:
        if self._site is not None:
            return
        site = web.TCPSite(self._runner, self.host, self.port, backlog=_BACKLOG, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"cannot listen: {error.strerror}", field=f"endpoint {self.server.config.name!r}.port", given=self.port
            ) from error
        self._site = site
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Close the port and the connections that are idle; calls in flight go on."""
        if self._site is not None:
            site, self._site = self._site, None
            await site.stop()
            for connection in self._runner.server.connections if self._runner.server is not None else ():
                if connection.transport not in self.server.busy:
                    connection.force_close()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.server.stop()
        await self._runner.cleanup()

    async def clear(self) -> None:
        """Take all faults away and open the port."""
        for task in self._tasks:
            task.cancel()
        self.server.clear_faults()
        await self.open()

    def _refuse(self, fault: Fault) -> None:
        task = asyncio.get_running_loop().create_task(self._refuse_for(fault))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _refuse_for(self, fault: Fault) -> None:
        await asyncio.sleep(fault.start_s)
        await self.close()
        if fault.duration_s is not None:
            await asyncio.sleep(fault.duration_s)
            await self.open()


class Emulator:
    """An embedded pool; an async context manager.

        async with Emulator([EmulatedEndpoint(name="fast", profile="study-8b-h800", model="llama")]) as pool:
            client = openai.AsyncOpenAI(base_url=pool.url("fast"), api_key="any")

    The control server carries every endpoint under ``/<name>`` too (``/<name>/v1/...``, ``/<name>/_emulator/...``), so
    that an endpoint whose port is closed can still be reached to open it.

    Args:
        endpoints: the endpoints, or a whole configuration.
        host: address to listen on.
        time_scale: how many times faster than real time the engines run.
        control_port: port of the control server; 0 takes a free one.

    Raises:
        ConfigError: two endpoints share a name, or a port is taken (on entering).
    """

    def __init__(
        self,
        endpoints: Sequence[EmulatedEndpoint] | EmulatorConfig,
        *,
        host: str = "127.0.0.1",
        time_scale: float = 1.0,
        control_port: int = 0,
    ) -> None:
        if isinstance(endpoints, EmulatorConfig):
            self.config = endpoints
        else:
            self.config = EmulatorConfig.of(endpoints, host=host, time_scale=time_scale, control_port=control_port)
        self._listeners: dict[str, _Listener] = {}
        self._control: web.AppRunner | None = None
        self._control_port = self.config.control_port

    async def __aenter__(self) -> Emulator:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open all ports.

        Raises:
            ConfigError: a port cannot be opened; then none stays open.
        """
        try:
            conductor = Conductor()
            for config in self.config.endpoints:
                listener = _Listener(config, conductor, self.config.host, self.config.time_scale)
                self._listeners[config.name] = listener
                await listener.start()
            await self._start_control()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close all ports and end everything in flight."""
        if self._control is not None:
            await self._control.cleanup()
            self._control = None
        for listener in self._listeners.values():
            await listener.stop()
        self._listeners.clear()

    @property
    def names(self) -> tuple[str, ...]:
        """The endpoints' names."""
        return tuple(endpoint.name for endpoint in self.config.endpoints)

    def url(self, name: str) -> str:
        """Return an endpoint's base URL, ``http://host:port/v1``."""
        listener = self._listener(name)
        return f"http://{listener.host}:{listener.port}/v1"

    @property
    def control_url(self) -> str:
        """The control server's URL."""
        return f"http://{self.config.host}:{self._control_port}"

    def inject(self, name: str, fault: Fault) -> None:
        """Set a fault on an endpoint from now on."""
        self._listener(name).server.inject(fault)

    async def clear(self, name: str) -> None:
        """Take all faults of an endpoint away and open its port again."""
        await self._listener(name).clear()

    def slow_down(self, name: str, factor: float, duration_s: float) -> None:
        """Make an endpoint's engine ``factor`` times slower for so many seconds."""
        self._listener(name).server.driver.slow_down(factor, duration_s)

    def fail(self, name: str, duration_s: float) -> None:
        """Let an endpoint's engine lose every request now and take none for so many seconds."""
        self._listener(name).server.driver.fail(duration_s)

    def load(self, name: str) -> Load:
        """Return what an endpoint's engine holds now."""
        return self._listener(name).server.driver.load()

    def pacing(self, name: str | None = None) -> PacingHistogram:
        """Return the lateness of an endpoint's chunks, or of all."""
        total = PacingHistogram()
        for listener in [self._listener(name)] if name is not None else self._listeners.values():
            total.merge(listener.server.driver.pacing)
        return total

    def pool_config(self) -> dict[str, Any]:
        """Return a matching ``pool.yaml`` as a dict; nothing learned is kept: the next emulated pool is another one."""
        entries = [self._pool_entry(endpoint) for endpoint in self.config.endpoints]
        return {"version": 1, "endpoints": entries, "state": {"profiles": "off"}}

    def _listener(self, name: str) -> _Listener:
        try:
            return self._listeners[name]
        except KeyError:
            raise ConfigError("no such endpoint", field="name", given=name, allowed=", ".join(self.names)) from None

    def _pool_entry(self, endpoint: EmulatedEndpoint) -> dict[str, Any]:
        prior = endpoint.engine_profile.prior()
        entry: dict[str, Any] = {
            "name": endpoint.name,
            "base_url": self.url(endpoint.name),
            "model": endpoint.model,
            "api_key": endpoint.api_key or "none",
            "kind": endpoint.kind,
            "profile": {name: getattr(prior, name) for name in prior.__slots__},
            "price": {"input": endpoint.price.input, "output": endpoint.price.output},
            "quality": endpoint.quality,
            "context_tokens": endpoint.engine_profile.context_limit_tokens,
        }
        if not isinstance(endpoint.profile, HostedProfile):
            entry["max_concurrency"] = endpoint.max_concurrency or endpoint.profile.max_slots
            entry["metrics_url"] = self.url(endpoint.name).removesuffix("/v1") + "/metrics"
        elif endpoint.max_concurrency is not None:
            entry["max_concurrency"] = endpoint.max_concurrency
        for key, value in (("rpm", endpoint.requests_per_minute), ("tpm", endpoint.tokens_per_minute)):
            limit = value or getattr(
                endpoint.profile, "requests_per_minute" if key == "rpm" else "tokens_per_minute", None
            )
            if limit is not None:
                entry[key] = limit
        return entry

    async def _start_control(self) -> None:
        app = web.Application()
        for name, listener in self._listeners.items():
            app.add_subapp(f"/{name}", listener.server.application())

        async def listing(request: web.Request) -> web.Response:
            return web.json_response({"endpoints": {name: self.url(name) for name in self._listeners}})

        async def reopen(request: web.Request) -> web.Response:
            await self.clear(request.match_info["name"])
            return web.json_response({"ok": True})

        async def pacing(request: web.Request) -> web.Response:
            each = {name: self.pacing(name).summary() for name in self._listeners}
            return web.json_response({"all": self.pacing().summary(), **each})

        app.router.add_get("/_emulator/endpoints", listing)
        app.router.add_post("/_emulator/clear/{name}", reopen)

        async def clear_pacing(request: web.Request) -> web.Response:
            for listener in self._listeners.values():
                listener.server.driver.pacing.clear()
            return await pacing(request)

        app.router.add_get("/_emulator/pacing", pacing)
        app.router.add_delete("/_emulator/pacing", clear_pacing)
        self._control = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await self._control.setup()
        site = web.TCPSite(self._control, self.config.host, self._control_port, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"cannot listen: {error.strerror}", field="control_port", given=self._control_port
            ) from error
        self._control_port = self._control.addresses[0][1]
