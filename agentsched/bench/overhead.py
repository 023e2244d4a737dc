"""What a call costs beside what it would cost without us: CPU and wall time per call, every front in the same run.

Fairness. All fronts ask the same questions of the same server, which runs in another process. They take turns in
rounds, in an order that rotates, and each is compared with the plain SDK *of the same round*, so that a machine that
is slower for a while is slower for everybody. CPU time is the whole process's, all threads included, and counted until
work that a front puts off to threads is done. Each front keeps its connections; garbage collection runs as always, but
what was there before the rounds is out of its sight. Every answer is checked, and the server counts the requests.
"""

import asyncio
import gc
import json
import statistics
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agentsched import clock
from agentsched.bench.fronts import FRONTS, Front, Target, make_front
from agentsched.bench.packages import Missing
from agentsched.bench.prompts import Messages, make_prompts
from agentsched.bench.server import LocalServer, Plan, answer_text
from agentsched.errors import AgentschedError

__all__ = ["MODES", "Cell", "Mode", "Options", "Overhead", "Ratio", "measure"]

_MODEL = "bench-model"
_PORTS = 64
_PROMPTS = 64
_CALLS_PER_RUN = 8
_STREAM_SHARE = 16
_SETTLE_S = 0.05
_WARM_UP = 2
_SEED = 20_261_121


@dataclass(frozen=True, slots=True)
class Mode:
    """How the calls are made.

    Attributes:
        blocking: without an event loop.
        stream: the answer comes in chunks.
        lanes: runs at the same time, each making its calls one after the other.
    """

    blocking: bool
    stream: bool
    lanes: int

    @property
    def name(self) -> str:
        """E.g. ``async, whole, x32``."""
        kind, shape = "sync" if self.blocking else "async", "stream" if self.stream else "whole"
        return f"{kind}, {shape}" + (f", x{self.lanes}" if self.lanes > 1 else "")


MODES = (
    Mode(blocking=False, stream=False, lanes=1),
    Mode(blocking=False, stream=False, lanes=32),
    Mode(blocking=False, stream=True, lanes=1),
    Mode(blocking=False, stream=True, lanes=32),
    Mode(blocking=True, stream=False, lanes=1),
    Mode(blocking=True, stream=False, lanes=8),
    Mode(blocking=True, stream=True, lanes=1),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure.

    Attributes:
        calls: calls per front, mode and round, rounded up to whole runs of 8 in every lane; a sixteenth of it streamed.
        rounds: turns of every front.
        prompt_tokens: length of each prompt.
        chunks: content chunks of a stream.
        gap_s: seconds between two chunks.
        fronts: names in `FRONTS`.
        modes: see `MODES`.
    """

    calls: int = 256
    rounds: int = 7
    prompt_tokens: int = 2000
    chunks: int = 60
    gap_s: float = 0.002
    fronts: tuple[str, ...] = tuple(FRONTS)
    modes: tuple[Mode, ...] = MODES


@dataclass(frozen=True, slots=True)
class Ratio:
    """CPU per call over the plain SDK's in the same round."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One front in one mode.

    Attributes:
        front: its name.
        mode: the mode's name.
        cpu_s: CPU seconds per call, median of the rounds.
        wall_s: wall seconds per call, median of all calls.
        ratio: see `Ratio`; None where the plain SDK was not measured.
        extra: requests beyond one per call, in all rounds (retries and second attempts).
    """

    front: str
    mode: str
    cpu_s: float
    wall_s: float
    ratio: Ratio | None
    extra: int


@dataclass(frozen=True, slots=True)
class Overhead:
    """The result: cells mode by mode, and why fronts are missing."""

    options: Options
    cells: tuple[Cell, ...]
    missing: dict[str, str]

    def cell(self, front: str, mode: Mode) -> Cell | None:
        """One cell; None: it was not measured."""
        return next((cell for cell in self.cells if (cell.front, cell.mode) == (front, mode.name)), None)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One front's turn in one round."""

    cpu_s: float
    walls_s: list[float]
    extra: int


class WrongAnswer(AgentschedError):
    """A front did not deliver what the server said: its figures would mean nothing."""


def measure(options: Options, progress: Callable[[str], None] = lambda text: None) -> Overhead:
    """Run the bench.

    Args:
        options: see `Options`.
        progress: told what is being measured.

    Raises:
        WrongAnswer: a front lost, changed or invented an answer.
        ConfigError: a front is unknown.
    """
    plan = Plan(_MODEL, _PORTS, options.chunks, options.gap_s)
    with tempfile.TemporaryDirectory() as scratch, LocalServer(plan) as server, asyncio.Runner() as runner:
        target = Target(server.urls, _MODEL, Path(scratch))
        fronts, missing = _make_fronts(options.fronts, target)
        bench = _Bench(options, fronts, runner, server)
        try:
            cells = [cell for mode in options.modes for cell in bench.measure(mode, progress)]
        finally:
            for front in fronts.values():
                runner.run(_close(front))
    return Overhead(options, tuple(cells), missing)


def _make_fronts(names: Sequence[str], target: Target) -> tuple[dict[str, Front], dict[str, str]]:
    fronts, missing = {}, {}
    for name in names:
        try:
            fronts[name] = make_front(name, target)
        except Missing as error:
            missing[name] = str(error)
    return fronts, missing


async def _close(front: Front) -> None:
    await front.close()


class _Bench:
    def __init__(self, options: Options, fronts: dict[str, Front], runner: asyncio.Runner, server: LocalServer) -> None:
        self._options, self._fronts, self._runner, self._server = options, fronts, runner, server
        self._prompts = make_prompts(_PROMPTS, options.prompt_tokens, np.random.default_rng(_SEED))
        self._expected = answer_text(options.chunks)

    def measure(self, mode: Mode, progress: Callable[[str], None]) -> list[Cell]:
        """All fronts in one mode."""
        calls = self._options.calls // (_STREAM_SHARE if mode.stream else 1)
        runs = max(1, -(-calls // (_CALLS_PER_RUN * mode.lanes)))
        names = list(self._fronts)
        for name in names:
            progress(f"{mode.name}: warming up {name}")
            for _ in range(_WARM_UP):
                self._turn(name, mode, 1)
        gc.collect()
        gc.freeze()
        turns: dict[str, list[_Turn]] = {name: [] for name in names}
        for number in range(self._options.rounds):
            progress(f"{mode.name}: round {number + 1} of {self._options.rounds}")
            for name in _rotated(names, number):
                turns[name].append(self._turn(name, mode, runs))
        gc.unfreeze()
        return [_cell(name, mode, turns[name], turns.get(next(iter(FRONTS)))) for name in names]

    def _turn(self, name: str, mode: Mode, runs: int) -> _Turn:
        front = self._fronts[name]
        served, wanted = self._served(), runs * mode.lanes * _CALLS_PER_RUN
        before = clock.cpu()
        if mode.blocking:
            walls = self._ask_blocking(front, mode, runs)
            threading.Event().wait(_SETTLE_S)
        else:
            walls = self._runner.run(self._ask(front, mode, runs))
        front.settle()
        cpu_s = clock.cpu() - before
        front.leave()
        requests = self._served() - served
        if requests < wanted:
            raise WrongAnswer(f"{name} made {requests} requests for {wanted} calls")
        return _Turn(cpu_s / wanted, walls, requests - wanted)

    async def _ask(self, front: Front, mode: Mode, runs: int) -> list[float]:
        async def run(prompts: list[Messages]) -> list[float]:
            walls = []
            for messages in prompts:
                started = clock.monotonic()
                self._check(await front.ask(messages, mode.stream))
                walls.append(clock.monotonic() - started)
            return walls

        async def lane(number: int) -> list[float]:
            return [wall for index in range(runs) for wall in await scoped(self._conversation(number + index))]

        scoped = front.scope(run)
        found = await asyncio.gather(*(lane(number * runs) for number in range(mode.lanes)))
        await asyncio.sleep(_SETTLE_S)
        return [wall for walls in found for wall in walls]

    def _ask_blocking(self, front: Front, mode: Mode, runs: int) -> list[float]:
        def run(prompts: list[Messages]) -> list[float]:
            walls = []
            for messages in prompts:
                started = clock.monotonic()
                self._check(front.ask_blocking(messages, mode.stream))
                walls.append(clock.monotonic() - started)
            return walls

        def lane(number: int) -> list[float]:
            return [wall for index in range(runs) for wall in scoped(self._conversation(number + index))]

        scoped = front.scope(run)
        if mode.lanes == 1:
            return lane(0)
        with ThreadPoolExecutor(mode.lanes) as pool:
            found = list(pool.map(lane, range(0, mode.lanes * runs, runs)))
        return [wall for walls in found for wall in walls]

    def _conversation(self, number: int) -> list[Messages]:
        start = number * _CALLS_PER_RUN
        return [self._prompts[(start + index) % _PROMPTS] for index in range(_CALLS_PER_RUN)]

    def _check(self, text: str) -> None:
        if text != self._expected:
            raise WrongAnswer(f"{text[:80]!r} is not what the server answered")

    def _served(self) -> int:
        with urllib.request.urlopen(self._server.urls[0]) as answer:
            return int(json.load(answer)["served"])


def _rotated(names: list[str], by: int) -> Iterator[str]:
    yield from (names[(index + by) % len(names)] for index in range(len(names)))


def _cell(name: str, mode: Mode, turns: list[_Turn], plain: list[_Turn] | None) -> Cell:
    ratio = None
    if plain is not None:
        ratios = [turn.cpu_s / beside.cpu_s for turn, beside in zip(turns, plain, strict=True)]
        ratio = Ratio(statistics.median(ratios), min(ratios), max(ratios))
    cpu_s = statistics.median(turn.cpu_s for turn in turns)
    wall_s = statistics.median(wall for turn in turns for wall in turn.walls_s)
    return Cell(name, mode.name, cpu_s, wall_s, ratio, sum(turn.extra for turn in turns))
