"""What several processes that use the same endpoints achieve together: as one process, each for itself, or sharing.

Every arm makes the same runs at the same instants on an emulated pool of its own; only how many processes make them,
and what these tell each other, differs. The arms take turns, round by round and each time in another order, so that
what else a machine has to do meets all of them alike; while one works the others are idle. Slots are few, so that the
pool is loaded by numbers of calls a small machine can make.
"""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.random import Generator

from agentsched.bench.sharing_client import Order, Planned
from agentsched.emulator.config import EmulatedEndpoint, EmulatorConfig
from agentsched.emulator.process import PoolProcess, start_pool
from agentsched.engine.profile import HardwareProfile
from agentsched.engine.profiles import load_profile
from agentsched.errors import AgentschedError, ConfigError
from agentsched.settings.dump import yaml_text

__all__ = ["Arm", "Options", "Outcome", "Sharing", "arms_of", "measure"]

_MODEL, _GPUS = "llama3-70b", ("h200", "h100", "a100", "rtx6000")
"""One model on four kinds of GPU, four of each."""

_SLOTS = 5
"""Of each endpoint."""

_PROMPT_TOKENS, _ANSWER_TOKENS, _SPREAD = 200.0, 45.0, 0.5
"""Medians of a call, and the sigma of both lognormals."""

_CALLS = 3
_ROUND_S = 40.0
"""About how long the runs of a round arrive, seconds: longer than what is supposed of others takes to be mended."""

_GRACE_S = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """What to compare.

    Attributes:
        runs: of each arm.
        rate_per_s: mean arrivals per second.
        deadline_s: of every run.
        processes: how many share the endpoints.
        backend: ``sqlite`` or ``redis``.
        url: of the Redis server; None starts one for the bench.
        outage: whether there is an arm whose Redis server is killed for the middle third of every round.
        seed: of runs and arrivals.
    """

    runs: int = 1000
    rate_per_s: float = 4.0
    deadline_s: float = 8.0
    processes: int = 8
    backend: str = "sqlite"
    url: str | None = None
    outage: bool = False
    seed: int = 1

    @property
    def lasts_s(self) -> float:
        """Seconds over which the runs of an arm arrive, its rounds together."""
        return self.runs / self.rate_per_s

    @property
    def rounds(self) -> int:
        """How often every arm has its turn."""
        return max(1, round(self.lasts_s / _ROUND_S))


@dataclass(frozen=True, slots=True)
class Arm:
    """How many processes, what they share through (``memory``: nothing), and whether that goes away meanwhile."""

    name: str
    processes: int
    backend: str
    outage: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an arm achieved: runs in time, late, and failed by kind of error; seconds of the middle and slow runs."""

    arm: Arm
    runs: int
    in_time: int
    failed: dict[str, int]
    p50_s: float
    p95_s: float

    @property
    def attainment(self) -> float:
        """The share of runs that ended well within their deadline."""
        return self.in_time / self.runs


@dataclass(frozen=True, slots=True)
class Sharing:
    """All arms."""

    options: Options
    outcomes: tuple[Outcome, ...]


def arms_of(options: Options) -> tuple[Arm, ...]:
    """One process, several for themselves, several that share; and these again while the store is away."""
    many = options.processes
    arms = [
        Arm("one process", 1, "memory"),
        Arm(f"{many} processes, nothing shared", many, "memory"),
        Arm(f"{many} processes, {options.backend}", many, options.backend),
    ]
    if options.outage:
        arms.append(Arm(f"{many} processes, {options.backend} away for a third", many, options.backend, outage=True))
    return tuple(arms)


def measure(options: Options, tell: Callable[[str, int, int], None]) -> Sharing:
    """Make all arms, in turns.

    Args:
        options: what to compare.
        tell: called with (arm, runs ended, runs) as they end.

    Raises:
        AgentschedError: a process failed, or there is no Redis server to be started.
    """
    if options.outage and (options.backend != "redis" or options.url is not None):
        raise ConfigError("an outage needs a server of the bench's own", field="--outage", allowed="--backend redis")
    planned = _draw(np.random.default_rng(options.seed), options)
    with ExitStack() as stack:
        trials = [stack.enter_context(_trial(options, arm, planned)) for arm in arms_of(options)]
        for number in range(options.rounds):
            first = number % len(trials)
            for trial in trials[first:] + trials[:first]:
                trial.make(number, tell)
        return Sharing(options, tuple(trial.outcome() for trial in trials))


@contextmanager
def _trial(options: Options, arm: Arm, planned: list[list[Planned]]) -> Iterator["_Trial"]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentsched-sharing-")))
        server = None
        if arm.backend == "redis" and options.url is None:
            server = stack.enter_context(_redis(folder))
        pool = stack.enter_context(start_pool(_pool()))
        trial = _Trial(options, arm, folder, pool, server, planned)
        stack.enter_context(trial.clients())
        yield trial


def _pool() -> EmulatorConfig:
    endpoints = []
    for number, gpu in enumerate(_GPUS):
        profile = load_profile(f"{_MODEL}-{gpu}-tp4")
        assert isinstance(profile, HardwareProfile), f"{gpu} is no GPU but a hosted API"
        narrow = replace(profile, max_slots=_SLOTS)
        endpoints.append(EmulatedEndpoint(name=gpu, profile=narrow, model=_MODEL, seed=number))
    return EmulatorConfig(endpoints=tuple(endpoints))


def _draw(rng: Generator, options: Options) -> list[list[Planned]]:
    """The runs of each round, by arrival."""
    arrivals = np.sort(rng.uniform(0.0, options.lasts_s, options.runs))
    calls = np.exp(_SPREAD * rng.standard_normal((options.runs, _CALLS, 2))) * (_PROMPT_TOKENS, _ANSWER_TOKENS)
    rounds: list[list[Planned]] = [[] for _ in range(options.rounds)]
    round_s = options.lasts_s / options.rounds
    for number, (at, each) in enumerate(zip(arrivals.tolist(), calls.tolist(), strict=True)):
        turn = min(options.rounds - 1, int(at / round_s))
        sizes = tuple((max(1, round(prompt)), max(2, round(answer))) for prompt, answer in each)
        rounds[turn].append(Planned(number, at - turn * round_s, sizes))
    return rounds


class _Redis:
    """A Redis server on a free loopback port, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        if binary is None:
            raise ConfigError(
                "there is no redis-server on this machine", field="--backend", allowed="--url of a server"
            )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self._command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._folder = folder
        self.url = f"redis://127.0.0.1:{port}/0"
        self.start()

    def start(self) -> None:
        """Start it; clients connect when it is up."""
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, cwd=self._folder, stdout=quiet, stderr=quiet)

    def kill(self) -> None:
        """End it without farewell."""
        self._process.kill()
        self._process.wait()

    @contextmanager
    def away(self, after_s: float, for_s: float) -> Iterator[None]:
        """Have it killed in a while and started again later; it is there again at the end."""
        back = threading.Event()

        def work() -> None:
            if not back.wait(after_s):
                self.kill()
                back.wait(for_s)
                self.start()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            back.set()
            thread.join()


@contextmanager
def _redis(folder: Path) -> Iterator[_Redis]:
    server = _Redis(folder)
    try:
        yield server
    finally:
        server.kill()


class _Trial:
    """One arm: its processes, and what became of its runs so far."""

    def __init__(
        self,
        options: Options,
        arm: Arm,
        folder: Path,
        pool: PoolProcess,
        server: _Redis | None,
        planned: list[list[Planned]],
    ) -> None:
        self._options, self._arm, self._folder, self._pool, self._server = options, arm, folder, pool, server
        self._planned = planned
        self._clients: list[subprocess.Popen[str]] = []
        self._took_s: list[float] = []
        self._failed: dict[str, int] = {}
        self._taking = threading.Lock()

    @contextmanager
    def clients(self) -> Iterator[None]:
        """Start the processes, the runs of every round spread over them in turn; they end with the context."""
        many = self._arm.processes
        with ExitStack() as stack:
            for first in range(many):
                rounds = tuple(tuple(runs[first::many]) for runs in self._planned)
                self._clients.append(stack.enter_context(self._client(rounds)))
            for client in self._clients:
                _line(client)
            yield

    def make(self, number: int, tell: Callable[[str, int, int], None]) -> None:
        """Make the runs of one round.

        Raises:
            AgentschedError: a process broke off.
        """
        round_s = self._options.lasts_s / self._options.rounds
        with ExitStack() as stack:
            for client in self._clients:
                _write(client, "go")
            if self._arm.outage and self._server is not None:
                stack.enter_context(self._server.away(round_s / 3.0, round_s / 3.0))
            readers = [threading.Thread(target=self._follow, args=(client, tell)) for client in self._clients]
            for thread in readers:
                thread.start()
            for thread in readers:
                thread.join(round_s + self._options.deadline_s + _GRACE_S)
        due = sum(len(runs) for runs in self._planned[: number + 1])
        if self._ended < due:
            raise AgentschedError(f"{self._arm.name}: not every run ended; see above")

    @property
    def _ended(self) -> int:
        return len(self._took_s) + sum(self._failed.values())

    def outcome(self) -> Outcome:
        """What became of all runs."""
        in_time = sum(took_s <= self._options.deadline_s for took_s in self._took_s)
        p50_s, p95_s = np.quantile(self._took_s or [float("nan")], (0.5, 0.95)).tolist()
        return Outcome(self._arm, self._ended, in_time, self._failed, p50_s, p95_s)

    @contextmanager
    def _client(self, rounds: tuple[tuple[Planned, ...], ...]) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-m", "agentsched.bench.sharing_client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            _write(process, json.dumps(asdict(Order(self._pool_file(), _MODEL, self._options.deadline_s, rounds))))
            yield process
        finally:
            process.kill()
            process.communicate()

    def _pool_file(self) -> str:
        url = self._options.url or (self._server.url if self._server is not None else None)
        state: dict[str, Any] = {"backend": self._arm.backend, "profiles": "off"}
        if self._arm.backend != "memory":
            state["url"] = "state.db" if self._arm.backend == "sqlite" else url
        path = self._folder / "pool.yaml"
        path.write_text(yaml_text({**self._pool.pool_config, "state": state}), encoding="utf-8")
        return str(path)

    def _follow(self, client: subprocess.Popen[str], tell: Callable[[str, int, int], None]) -> None:
        """Note what a process says until its round is over."""
        while (message := _line(client)) is not None and "round" not in message:
            with self._taking:
                failed = message["failed"]
                if failed:
                    self._failed[failed] = self._failed.get(failed, 0) + 1
                else:
                    self._took_s.append(message["took_s"])
                ended = self._ended
            tell(self._arm.name, ended, self._options.runs)


def _line(client: subprocess.Popen[str]) -> dict[str, Any] | None:
    assert client.stdout is not None
    line = client.stdout.readline()
    if not line:
        return None
    message: dict[str, Any] = json.loads(line)
    return message


def _write(client: subprocess.Popen[str], line: str) -> None:
    stream: IO[str] | None = client.stdin
    assert stream is not None
    stream.write(line + "\n")
    stream.flush()
