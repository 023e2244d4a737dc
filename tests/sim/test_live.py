"""The same calls through dispatch on the emulator and through the simulator: the scheduler does the same, in order."""

import asyncio
import json
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from agentsched import clock
from agentsched.core.call import ModelCall
from agentsched.core.endpoint import Pool
from agentsched.core.records import CallEnded, RunClosed
from agentsched.emulator import EmulatedEndpoint, Emulator
from agentsched.endpoints.exchange import Exchange
from agentsched.errors import DeadlineExceeded
from agentsched.policy.shortest_completion import ShortestExpectedCompletion
from agentsched.runtime import Runtime
from agentsched.scheduler.recording import encode, read_lines
from agentsched.settings import LogSettings, PolicySettings, Settings
from agentsched.sim.averages import averages_of
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.plan import MODEL
from agentsched.sim.pool import client_pool
from agentsched.sim.scenario import Scenario
from agentsched.sim.scenario_files import load_scenario
from agentsched.sim.simulation import Setup, Simulation
from tests.sim.conftest import Story, a_call

SCENARIO: dict[str, Any] = {
    "version": 1,
    "name": "live",
    "load": 1.0,
    "duration": 1.0,
    "network": "1ms",
    "endpoints": [
        {"name": "quick", "profile": "study-8b-h800"},
        {"name": "other", "profile": "study-8b-a800"},
    ],
    "workflows": [
        {"name": "w", "share": 1, "stages": [{"step": "x", "prompt": 50, "output": {"median": 20, "sigma": 0.5}}]}
    ],
    "knowledge": {"profile_error": 0},
}

_CHANCES = 4


@dataclass(frozen=True)
class Ask:
    """A call, and whether the quick endpoint is down meanwhile."""

    name: str
    output_tokens: int
    stream: bool = True
    deadline_s: float | None = None
    down: bool = False


ASKS = [
    Ask("a", 20),
    Ask("b", 15, stream=False),
    Ask("c", 400, deadline_s=0.6),
    Ask("d", 400, stream=False, deadline_s=0.6),
    Ask("e", 20, down=True),
    Ask("f", 20, stream=False, down=True),
]


def model_call(ask: Ask, now: float) -> ModelCall:
    at = None if ask.deadline_s is None else now + ask.deadline_s
    return ModelCall(
        ask.name, f"run-{ask.name}", "w", "x", 0, MODEL, stream=ask.stream, input_tokens=50, deadline_at=at
    )


def kinds(actions: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(call, kind of action or of record) of encoded actions; how often a look is put off depends on the machine."""
    found = []
    for action in actions:
        if action["!"] == "ReviewAt":
            continue
        record = action.get("record")
        if record is None:
            found.append((action["call_id"], action["!"]))
        else:
            call_id = record.get("call_id") or record["call"]["call_id"]
            found.append((call_id, f"{record['!']}:{record.get('status') or record.get('why')}"))
    return found


async def live(scenario: Scenario, path: Path) -> list[tuple[str, str]]:
    """The calls one after another through dispatch, over HTTP, in real time."""
    endpoints = [EmulatedEndpoint(name=group.name, profile=group.profile, model=MODEL) for group in scenario.endpoints]
    believed = client_pool(scenario, 1, mean_context_tokens=averages_of(scenario).context_tokens)
    async with Emulator(endpoints) as emulator:
        pool = Pool([replace(one, base_url=emulator.url(one.name)) for one in believed.endpoints])
        policy = PolicySettings("shortest_expected_completion")
        runtime = Runtime(Settings(pool, policy=policy, log=LogSettings(record_events=path)))
        try:
            for ask in ASKS:
                if ask.down:
                    emulator.fail("quick", 0.2)
                await send(runtime, ask)
                await asyncio.sleep(0.25 if ask.down else 0)
            runtime.flush()
        finally:
            runtime.close()
    return recorded(path)


def recorded(path: Path) -> list[tuple[str, str]]:
    lines = read_lines(path.read_text(encoding="utf-8").splitlines())
    return [kind for _, _, actions in lines for kind in kinds(actions)]


async def send(runtime: Runtime, ask: Ask) -> None:
    content = f"{'word ' * 30}[[out={ask.output_tokens}]]"
    body = {"model": MODEL, "messages": [{"role": "user", "content": content}], "stream": ask.stream}
    exchange = Exchange("chat/completions", body, json.dumps(body).encode(), (), ask.stream)
    call = model_call(ask, clock.monotonic())
    if ask.deadline_s is None:
        await read(runtime, call, exchange)
    else:
        with pytest.raises(DeadlineExceeded):
            await read(runtime, call, exchange)


async def read(runtime: Runtime, call: ModelCall, exchange: Exchange) -> None:
    reply = await runtime.dispatcher.send(call, exchange)
    if reply.stream is not None:
        _ = [event async for event in reply.stream]


class OneByOne:
    """Makes the calls one after another on virtual time."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation, self._left = simulation, list(ASKS)

    def next(self) -> None:
        ask, timeline = self._left.pop(0), self._simulation.timeline
        if ask.down:
            self._simulation.servers["quick"].model.fail(timeline.now, timeline.now + 0.2)
        self._simulation.clients[0].ask(
            model_call(ask, timeline.now), a_call(ask.output_tokens, input_tokens=50), 0, self
        )

    def left_out(self, visit: str) -> None:
        raise AssertionError("nothing is optional")

    def call_ended(self, call_id: str, ended: CallEnded) -> None:
        timeline = self._simulation.timeline
        if self._left:
            timeline.at(timeline.now + 0.25, self.next)

    def closed(self, record: RunClosed) -> None:
        raise AssertionError("nobody began a run")


def simulated(scenario: Scenario) -> list[tuple[str, str]]:
    story = Story()
    setup = Setup(knowledge=Knowledge.LEARNED)
    simulation = Simulation(scenario, ShortestExpectedCompletion, setup, averages_of(scenario), story.watch)
    simulation.timeline.at(0.0, OneByOne(simulation).next)
    simulation.timeline.run()
    assert all(server.empty for server in simulation.servers.values())
    return [kind for _, _, actions in story.happened for kind in kinds([encode(action) for action in actions])]


def by_call(kinds_of_all: list[tuple[str, str]]) -> dict[str, list[str]]:
    return {name: [kind for _, kind in group] for name, group in groupby(kinds_of_all, key=lambda pair: pair[0])}


async def test_the_scheduler_does_the_same_live_and_simulated(tmp_path: Path):
    scenario = load_scenario(SCENARIO)
    virtual = by_call(simulated(scenario))
    assert list(virtual) == [ask.name for ask in ASKS]
    assert "Decision:hedge" in virtual["d"]
    assert "Observation:server" in virtual["e"]
    assert "CallEnded:deadline" in virtual["c"]
    # A busy machine may keep a first token back for so long that the call is hedged: it gets further chances.
    for chance in range(_CHANCES):
        done = by_call(await live(scenario, tmp_path / f"events-{chance}.jsonl"))
        if done == virtual:
            break
    assert done == virtual
