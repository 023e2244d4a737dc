"""A real HTTP pool in a thread of its own, and runtimes on it."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentsched import clock
from agentsched.core.call import ModelCall
from agentsched.core.decision import Decision
from agentsched.core.endpoint import Endpoint, Pool
from agentsched.core.records import Recordable
from agentsched.core.rules import Rules
from agentsched.emulator import EmulatedEndpoint, Emulator, Fault
from agentsched.endpoints.exchange import Exchange
from agentsched.runtime import Runtime
from agentsched.scheduler.actions import Action, Start
from agentsched.scheduler.events import Event
from agentsched.settings import LogSettings, Settings
from tests.served import Served

SPEED = 20.0
"""How many times faster than real time the emulated engines run."""


class EmulatorThread(Served):
    """An emulator."""

    def __init__(self, *names: str, **fields: Any) -> None:
        super().__init__()
        self._endpoints = [EmulatedEndpoint(name=n, profile="study-8b-h800", model="m", **fields) for n in names]

    @asynccontextmanager
    async def _up(self) -> AsyncIterator[None]:
        async with Emulator(self._endpoints, time_scale=SPEED) as emulator:
            self.emulator = emulator
            self.urls = {endpoint.name: emulator.url(endpoint.name) for endpoint in self._endpoints}
            yield

    def inject(self, name: str, kind: str, **fields: Any) -> None:
        """Set a fault from now on."""
        self.on_loop(lambda: self.emulator.inject(name, Fault(kind=kind, **fields)))  # type: ignore[arg-type]

    def running(self, name: str) -> int:
        """Requests that the endpoint's engine holds."""
        load = self.on_loop(lambda: self.emulator.load(name))
        return load.running + load.waiting

    def on_loop(self, work: Callable[[], Any]) -> Any:
        """Do something in the emulator's thread."""

        async def run() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def pool(self, **fields: Any) -> Pool:
        """The pool that matches."""
        return Pool([Endpoint(name=n, base_url=url, model="m", **fields) for n, url in self.urls.items()])


@pytest.fixture
def emulated() -> Iterator[EmulatorThread]:
    with EmulatorThread("a", "b") as thread:
        yield thread


class Watched(Runtime):
    """A runtime that remembers its decisions, and which of its attempts were asked for as streams."""

    def __init__(self, settings: Settings) -> None:
        self.told: list[Decision] = []
        self.streamed: list[bool] = []
        super().__init__(settings)
        self._take, self.dispatcher._recorder = self.dispatcher._recorder, self._record

    def _record(self, event: Event, now: float, actions: list[Action]) -> None:
        if self._take is not None:
            self._take(event, now, actions)
        self.streamed += [action.stream for action in actions if isinstance(action, Start)]

    def emit(self, record: Recordable) -> None:
        """Keep it, if it is a decision, and pass it on."""
        if isinstance(record, Decision):
            self.told.append(record)
        super().emit(record)


@pytest.fixture
def make_runtime() -> Iterator[Callable[..., Runtime]]:
    made: list[Runtime] = []

    def make(pool: Pool, rules: Rules | None = None, **log: Any) -> Runtime:
        runtime = Watched(Settings(pool, rules=rules or Rules(), log=LogSettings(**log)))
        made.append(runtime)
        return runtime

    yield make
    for runtime in made:
        runtime.close()


_ids = itertools.count()


def asked(
    prompt: str = "hello [[out=20]]", *, stream: bool = False, headers: tuple[tuple[str, str], ...] = ()
) -> Exchange:
    """What an SDK would ask."""
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], "stream": stream}
    return Exchange("chat/completions", body, json.dumps(body).encode(), headers, stream)


def a_call(deadline_s: float | None = 5.0, *, stream: bool = False, **fields: Any) -> ModelCall:
    """The call that goes with it."""
    deadline_at = None if deadline_s is None else clock.monotonic() + deadline_s
    return ModelCall(
        f"call-{next(_ids)}", "run", "workflow", "step", 0, "m", stream=stream, deadline_at=deadline_at, **fields
    )
