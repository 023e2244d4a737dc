"""What the user gets when an endpoint misbehaves: after how many seconds, an answer or an error, and at what cost.

Every cell is one question under one deadline, asked through one client that is made for it. Cells run side by side,
each on endpoints of its own in an emulated pool in another process, so that they share nothing but the machine's cores.
Each kind of client is tried in a process of its own, which is killed in the end: some leave threads behind for ever.
"""

import asyncio
import logging
import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from agentsched import clock
from agentsched.bench.fault_cases import ENDLESS, FAULTS, Lane, lanes_config, lanes_of, question
from agentsched.bench.fault_clients import CLIENTS, Client, Clients, Seen, Trial
from agentsched.bench.packages import Missing
from agentsched.bench.starvation import longest_wait_s, waits_for_cores_s
from agentsched.emulator.control import Control
from agentsched.emulator.process import start_pool
from agentsched.errors import AgentschedError, ConfigError

__all__ = [
    "GRACE_S",
    "OURS",
    "Cell",
    "Faults",
    "Options",
    "Result",
    "broken_bars",
    "must_be_right",
    "run_client",
    "run_faults",
]

OURS = "agentsched"
GRACE_S = 0.2
"""How long after its deadline a call of ours may end: its bar, seconds."""

SHORT_OF_CORES_S = 0.1
"""A cell in which a thread of the bench waited longer for a core is tried again, seconds."""

_SPARE_LANES = 4
_MOST_DETAIL = 300
_MOST_TRIES = 3
_LOADED_WITH, _LOAD_WITHIN_S = "silent", 30.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination.

    Attributes:
        client: a name in `CLIENTS`.
        case: what is wrong, a name in `FAULTS`.
        deadline_s: seconds.
        blocking: asked without an event loop.
        stream: asked for a stream.
        with_second: whether there is a healthy second endpoint.
        warmed: whether the client had made healthy calls before.
    """

    client: str
    case: str
    deadline_s: float
    blocking: bool
    stream: bool
    with_second: bool
    warmed: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a cell.

    Attributes:
        cell: the cell.
        seconds: until the user had the whole answer or an error; until it was given up where it had neither.
        outcome: ``right``, ``wrong`` (an answer, but not the right one), ``error`` or ``none`` (given up).
        error: the error's class.
        detail: the error's text.
        content: whether the user had seen a part of an answer.
        attempts: requests that arrived at an endpoint (one that refuses connections, or has no host, sees none).
        extra_calls: model calls beyond the first that the library above made by itself; None: cannot be told.
        starved_s: the longest that one thread of the bench waited for a core meanwhile, seconds.
    """

    cell: Cell
    seconds: float
    outcome: str
    error: str
    detail: str
    content: bool
    attempts: int
    extra_calls: int | None
    starved_s: float

    @property
    def counts(self) -> bool:
        """Whether the bench had the cores it needed: a result says little otherwise."""
        return self.starved_s <= SHORT_OF_CORES_S


@dataclass(frozen=True, slots=True)
class Options:
    """What to try.

    Attributes:
        deadlines_s: deadlines, seconds.
        clients: names in `CLIENTS`.
        cases: names in `FAULTS`.
        at_once: cells that run side by side.
        warmed: whether ours is tried without knowledge of the endpoints (False), with it (True), or both ways.
        patience: a cell is given up after this many deadlines, and five seconds.
    """

    deadlines_s: tuple[float, ...] = (2.0,)
    clients: tuple[str, ...] = tuple(CLIENTS)
    cases: tuple[str, ...] = tuple(FAULTS)
    at_once: int = 24
    warmed: tuple[bool, ...] = (False, True)
    patience: float = 10.0


@dataclass(frozen=True, slots=True)
class Faults:
    """All results, and why clients are missing."""

    options: Options
    results: tuple[Result, ...]
    missing: dict[str, str]


def broken_bars(result: Result, *, grace_s: float = GRACE_S) -> list[str]:
    """Which promises a result of ours breaks: in time, never wrong, right where it can be, no call beyond the first."""
    cell, broken = result.cell, []
    if result.seconds > cell.deadline_s + grace_s:
        broken.append(f"ended {result.seconds - cell.deadline_s:.2f} s after the deadline")
    if result.outcome == "wrong":
        broken.append("the answer is wrong")
    elif must_be_right(result):
        if result.outcome != "right":
            broken.append(f"{result.outcome} {result.error}".strip() + " although the second endpoint is healthy")
        elif result.seconds > cell.deadline_s:
            broken.append("the right answer came late")
    if result.extra_calls:
        broken.append(f"{result.extra_calls} calls more than the user made")
    return broken


def must_be_right(result: Result) -> bool:
    """Whether the second endpoint could answer: it is there, and no part of another answer had been delivered."""
    return result.cell.with_second and (not result.content or result.outcome == "right")


def _cells(options: Options, client: str) -> Iterator[Cell]:
    """Every combination that makes sense: the plain SDK knows no second endpoint, and only ours learns."""
    for deadline_s in options.deadlines_s:
        for case in options.cases:
            for shape in range(4):
                yield from _variants(options, client, case, deadline_s, bool(shape & 1), bool(shape & 2))


def _variants(
    options: Options, client: str, case: str, deadline_s: float, blocking: bool, stream: bool
) -> Iterator[Cell]:
    for with_second in (False,) if client == "openai" else (False, True):
        for warmed in options.warmed if client == OURS else (False,):
            if FAULTS[case].fault is not None or not warmed:  # a host that does not exist was never healthy
                yield Cell(client, case, deadline_s, blocking, stream, with_second, warmed)


class BenchFailed(AgentschedError):
    """A client's process died; what it had to say is on stderr."""


Progress = Callable[[str, int, int], None]
"""Told the client, how many of its cells are done, and how many there are."""


def run_faults(options: Options, progress: Progress = lambda client, done, total: None) -> Faults:
    """Try every cell of every client.

    Args:
        options: see `Options`.
        progress: see `Progress`.

    Raises:
        ConfigError: a client or a case is unknown, or the emulated pool does not start.
        BenchFailed: a client's process died.
    """
    _check("clients", options.clients, tuple(CLIENTS))
    _check("cases", options.cases, tuple(FAULTS))
    results: list[Result] = []
    missing: dict[str, str] = {}
    for name in options.clients:
        found = _in_child(options, name, progress)
        if isinstance(found, str):
            missing[name] = found
        else:
            results += found
    return Faults(options, tuple(results), missing)


def _check(field: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    for name in given:
        if name not in allowed:
            raise ConfigError("unknown", field=field, given=name, allowed=", ".join(allowed))


def _in_child(options: Options, client: str, progress: Progress) -> list[Result] | str:
    """`run_client` in a new process; why it cannot run, where its package is missing."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(options, client, theirs), name=f"bench-{client}")
    process.start()
    theirs.close()
    try:
        while True:
            message = ours.recv()
            if not isinstance(message, tuple):
                break
            progress(client, *message)
    except EOFError:
        raise BenchFailed(f"the process that tried {client} ended before its work was done") from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(message, ConfigError):
        raise message
    found: list[Result] | str = message
    return found


def _child(options: Options, client: str, parent: Connection) -> None:
    try:
        parent.send(run_client(options, client, lambda done, total: parent.send((done, total))))
    except Missing as error:
        parent.send(str(error))
    except ConfigError as error:
        parent.send(ConfigError(str(error)))


def run_client(
    options: Options, client: str, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Result]:
    """Try every cell of one client, in this process.

    Raises:
        Missing: its package is not installed.
        ConfigError: the emulated pool does not start.
    """
    clients = CLIENTS[client]()
    cells = list(_cells(options, client))
    stuck = sum(cell.blocking and client != OURS and cell.case in ENDLESS for cell in cells)
    lanes = min(len(cells), options.at_once + stuck + _SPARE_LANES)
    with start_pool(lanes_config(lanes)) as process, _Quiet():
        bench = _Bench(options, clients, lanes_of(process), Control(process.control_url, timeout_s=30.0), progress)
        return asyncio.run(bench.run(cells))


class _Quiet:
    """Keeps what the clients log about the faults, which are the point here, off the screen."""

    _NAMES = ("asyncio", "agentsched", "LiteLLM", "LiteLLM Router")

    def __enter__(self) -> None:
        self._levels = {name: logging.getLogger(name).level for name in self._NAMES}
        for name in self._NAMES:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)

    def __exit__(self, *error: object) -> None:
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)


class _Bench:
    def __init__(
        self,
        options: Options,
        clients: Clients,
        lanes: Sequence[Lane],
        control: Control,
        progress: Callable[[int, int], None],
    ) -> None:
        self._options, self._clients, self._control, self._progress = options, clients, control, progress
        self._lanes: asyncio.Queue[Lane] = asyncio.Queue()
        for lane in lanes:
            self._lanes.put_nowait(lane)

    async def run(self, cells: Sequence[Cell]) -> list[Result]:
        """All cells, so many at once."""
        await self._load()
        results: list[Result] = []
        waiting = iter(enumerate(cells))

        async def work() -> None:
            for number, cell in waiting:
                results.append(await self._try(number, cell))
                self._progress(len(results), len(cells))

        await asyncio.gather(*(work() for _ in range(self._options.at_once)))
        order = {cell: number for number, cell in enumerate(cells)}
        return sorted(results, key=lambda result: order[result.cell])

    async def _load(self) -> None:
        """Healthy calls first: what a client imports at its first call is not what is measured here."""
        lane = await self._lanes.get()
        for stream in (False, True):
            trial = Trial(lane, FAULTS[_LOADED_WITH], _LOAD_WITHIN_S, stream, with_second=True)
            client = self._clients.client(trial)
            await self._ask(client, 0, Seen())
            await self._ask_in_thread(client, 0, Seen())
            client.close()
        self._lanes.put_nowait(lane)

    async def _try(self, number: int, cell: Cell) -> Result:
        """One cell; once more, up to a limit, where other work on this machine was in its way."""
        for _ in range(_MOST_TRIES):
            lane = await self._lanes.get()
            trial = Trial(lane, FAULTS[cell.case], cell.deadline_s, cell.stream, cell.with_second)
            client = self._clients.client(trial)
            await asyncio.to_thread(self._prepare, trial, client, number, warmed=cell.warmed)
            result = await self._measure(lane, client, number, cell)
            client.close()
            await asyncio.to_thread(self._control.clear, lane.first)
            if not (cell.blocking and result.outcome == "none"):  # else its thread still asks there
                self._lanes.put_nowait(lane)
            if result.counts:
                break
        return result

    async def _measure(self, lane: Lane, client: Client, number: int, cell: Cell) -> Result:
        received = await asyncio.to_thread(self._received, lane)
        seen, waits = Seen(), waits_for_cores_s()
        limit_s = self._options.patience * cell.deadline_s + 5.0
        started = clock.monotonic()
        asked = self._ask_in_thread(client, number, seen) if cell.blocking else self._ask(client, number, seen)
        try:
            failure = await asyncio.wait_for(asked, limit_s)
            ended = True
        except TimeoutError:
            failure, ended = None, False
        seconds = clock.monotonic() - started
        starved_s = longest_wait_s(waits, waits_for_cores_s())
        attempts = await asyncio.to_thread(self._received, lane) - received
        outcome = "error" if failure is not None else "none"
        if ended and failure is None:
            outcome = "right" if seen.text == question(number).answer else "wrong"
        extra = None if seen.calls is None else max(0, seen.calls - 1)
        return Result(cell, seconds, outcome, *_told(failure), bool(seen.text), attempts, extra, starved_s)

    def _prepare(self, trial: Trial, client: Client, number: int, *, warmed: bool) -> None:
        if warmed and client.warm is not None:
            client.warm(question(-1 - number))  # another one: what a prefix cache holds would be cheating
        if trial.case.fault is not None:
            self._control.inject(trial.lane.first, trial.case.fault(trial.deadline_s))

    def _received(self, lane: Lane) -> int:
        return sum(self._control.load(name)["received"] for name in (lane.first, lane.second))

    @staticmethod
    async def _ask(client: Client, number: int, seen: Seen) -> Exception | None:
        try:
            await client.ask(question(number), seen)
        except Exception as error:  # noqa: BLE001 - whatever a client raises is what its user gets
            return error
        return None

    @staticmethod
    async def _ask_in_thread(client: Client, number: int, seen: Seen) -> Exception | None:
        """In a daemon thread: a client that never ends must not keep the bench from ending."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Exception | None] = loop.create_future()

        def tell(failure: Exception | None) -> None:
            if not done.done():
                done.set_result(failure)

        def ask() -> None:
            failure: Exception | None = None
            try:
                client.ask_blocking(question(number), seen)
            except Exception as error:  # noqa: BLE001 - whatever a client raises is what its user gets
                failure = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(tell, failure)

        threading.Thread(target=ask, name="bench-faults", daemon=True).start()
        return await done


def _told(error: Exception | None) -> tuple[str, str]:
    return ("", "") if error is None else (type(error).__name__, str(error)[:_MOST_DETAIL])
