"""What becomes of the time limits that users set in their frameworks: as they are, and inside a decorated run.

Every row is one program that asks one question, twice: first with nothing around it, then with
``@agentsched.workflow(slo=SLO(deadline=...))``, over a pool of the same endpoints. Each time the endpoints are new
ones, so that what the first program leaves behind is not counted for the second. Each row has a process of its own,
which is killed in the end: some frameworks leave threads behind.
"""

import asyncio
import inspect
import logging
import multiprocessing
import os
import queue
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory

from agentsched import api, clock
from agentsched.bench.packages import Missing
from agentsched.bench.promise_rows import KEY, MODEL, ROWS, UPSTREAMS, Places, Program, Row
from agentsched.bench.starvation import longest_wait_s, waits_for_cores_s
from agentsched.core.endpoint import Endpoint, Pool
from agentsched.core.slo import SLO
from agentsched.emulator.config import EmulatorConfig
from agentsched.emulator.process import PoolProcess, start_pool
from agentsched.errors import AgentschedError, ConfigError

__all__ = ["ARMS", "Options", "Promises", "Result", "RowFailed", "allowed_s", "run_promises", "run_row"]

PLAIN, DECORATED = ARMS = ("as it is", "decorated")

SHORT_OF_CORES_S = 0.1
"""A decorated program for which a thread waited longer for a core is tried again, seconds."""

_MOST_TRIES = 3
_MOST_DETAIL = 200
_WARM_WITHIN_S = 60.0

_QUIET = {
    "AGENTSCHED_PROFILES": "off",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OTEL_SDK_DISABLED": "true",
}
"""By which everybody is told to report to nobody, and to keep nothing for later."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to try.

    Attributes:
        rows: names in `ROWS`.
        patience_s: a program is given up after so many seconds.
    """

    rows: tuple[str, ...] = tuple(ROWS)
    patience_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a program.

    Attributes:
        row: name in `ROWS`.
        version: of the row's package.
        arm: one of `ARMS`.
        seconds: until the user had the whole answer or an error; until it was given up where there was neither.
        outcome: ``answer``, ``empty`` (an answer without a word), ``error`` or ``none`` (given up).
        error: the error's class.
        detail: the error's text.
        requests: how many had arrived at the endpoints by then.
        starved_s: the longest that one thread of the bench waited for a core meanwhile, seconds.
    """

    row: str
    version: str
    arm: str
    seconds: float
    outcome: str
    error: str
    detail: str
    requests: int
    starved_s: float

    @property
    def counts(self) -> bool:
        """Whether the bench had the cores it needed: a result says little otherwise."""
        return self.starved_s <= SHORT_OF_CORES_S


@dataclass(frozen=True, slots=True)
class Promises:
    """All results, and why rows are missing."""

    options: Options
    results: tuple[Result, ...]
    missing: dict[str, str]


class RowFailed(AgentschedError):
    """A row's process died, or its program failed on healthy endpoints."""


def allowed_s(row: Row) -> float:
    """When a decorated program must have ended, seconds: a tenth and 0.1 s after its deadline."""
    return row.deadline_s * 1.1 + 0.1


def run_promises(options: Options, progress: Callable[[str], None] = lambda text: None) -> Promises:
    """Try every row, one after the other.

    Args:
        options: see `Options`.
        progress: told what is done now.

    Raises:
        ConfigError: a row is unknown, or the emulated pool does not start.
        RowFailed: a row's process died, or its program fails on healthy endpoints.
    """
    for name in options.rows:
        if name not in ROWS:
            raise ConfigError("unknown", field="rows", given=name, allowed=", ".join(ROWS))
    results: list[Result] = []
    missing: dict[str, str] = {}
    with TemporaryDirectory(prefix="agentsched-bench-") as scratch:
        for number, name in enumerate(options.rows, start=1):
            progress(f"{name} ({number} of {len(options.rows)})")
            found = _in_child(name, options.patience_s, scratch)
            if isinstance(found, str):
                missing[name] = found
            else:
                results += found
    return Promises(options, tuple(results), missing)


def _in_child(name: str, patience_s: float, scratch: str) -> list[Result] | str:
    """`run_row` in a new process; why it cannot run, where its package is missing."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(name, patience_s, scratch, theirs), name=f"bench-{name}")
    process.start()
    theirs.close()
    try:
        found: list[Result] | str | AgentschedError = ours.recv()
    except EOFError:
        raise RowFailed(f"the process that tried {name} ended before its work was done") from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(found, AgentschedError):
        raise found
    return found


def _child(name: str, patience_s: float, scratch: str, parent: Connection) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what frameworks print has no place in a document on standard output
    warnings.simplefilter("ignore")
    os.environ.update(_QUIET, CREWAI_STORAGE_DIR=scratch)
    logging.disable(logging.CRITICAL)  # what everybody logs about the endpoints, whose behaviour is the point here
    try:
        parent.send(run_row(name, patience_s))
    except Missing as error:
        parent.send(str(error))
    except ConfigError as error:
        parent.send(ConfigError(str(error)))
    except RowFailed as error:
        parent.send(RowFailed(str(error)))


def run_row(name: str, patience_s: float) -> list[Result]:
    """Try one row both ways, in this process.

    Raises:
        Missing: its package is not installed.
        ConfigError: the emulated pool does not start.
        RowFailed: its program fails on healthy endpoints.
    """
    row = ROWS[name]
    try:
        released = version(row.package)
    except PackageNotFoundError:
        raise Missing(f"{row.package} is not installed") from None
    with start_pool(_emulated(row)) as process:
        bench = _Bench(row, released, process, patience_s)
        return [bench.plain(), bench.decorated()]


_WARM = "warm"
_PLACES = ("primary", "fallback")


def _emulated(row: Row) -> EmulatorConfig:
    """A healthy endpoint for the first calls, and for each arm those of the row."""
    endpoints = [UPSTREAMS["healthy"].endpoint(_WARM)]
    for arm in range(len(ARMS)):
        for place, kind in zip(_PLACES, (row.primary, row.fallback), strict=True):
            if kind is not None:
                endpoints.append(UPSTREAMS[kind].endpoint(f"{place}-{arm}"))
    return EmulatorConfig.of(endpoints)


class _Bench:
    def __init__(self, row: Row, released: str, process: PoolProcess, patience_s: float) -> None:
        self._row, self._version, self._process, self._patience_s = row, released, process, patience_s
        self._question = 0

    def plain(self) -> Result:
        """The program as it is."""
        self._warm(lambda program, urls: program)
        return self._measure(PLAIN, lambda program, urls: program)

    def decorated(self) -> Result:
        """The program decorated; once more, up to a limit, where other work on this machine was in its way."""
        self._warm(lambda program, urls: _decorate(program, urls, _WARM_WITHIN_S))
        for _ in range(_MOST_TRIES):
            result = self._measure(DECORATED, lambda program, urls: _decorate(program, urls, self._row.deadline_s))
            if result.counts:
                break
        return result

    def _warm(self, wrap: Callable[[Program, dict[str, str]], Program]) -> None:
        """A healthy call first: what is imported at the first call is not what is measured here."""
        url = self._process.url(_WARM)
        program = wrap(self._row.make(self._places(url, url)), {_WARM: url})
        _, outcome, error, detail = _ended(program, _WARM_WITHIN_S)
        if outcome != "answer":
            raise RowFailed(f"{self._row.name}: no answer from a healthy endpoint: {error} {detail}".rstrip())

    def _places(self, primary: str, fallback: str | None) -> Places:
        """Where to ask; no two questions are alike."""
        self._question += 1
        prompt = f"[[out={self._row.tokens}]] Case {self._question}. Which orders are late?"
        return Places(primary, fallback, prompt)

    def _measure(self, arm: str, wrap: Callable[[Program, dict[str, str]], Program]) -> Result:
        urls = dict(self._urls(arm))
        primary, *others = urls.values()
        program = wrap(self._row.make(self._places(primary, others[0] if others else None)), urls)
        before, waits = self._received(urls), waits_for_cores_s()
        seconds, outcome, error, detail = _ended(program, self._patience_s)
        starved_s = longest_wait_s(waits, waits_for_cores_s())
        requests = self._received(urls) - before
        return Result(self._row.name, self._version, arm, seconds, outcome, error, detail, requests, starved_s)

    def _urls(self, arm: str) -> Iterator[tuple[str, str]]:
        """This arm's endpoints and their base URLs, the primary first."""
        for place in _PLACES:
            name = f"{place}-{ARMS.index(arm)}"
            if name in self._process.urls:
                yield name, self._process.url(name)

    def _received(self, names: dict[str, str]) -> int:
        return sum(self._process.control.load(name)["received"] for name in names)


def _decorate(program: Program, urls: dict[str, str], deadline_s: float) -> Program:
    """All that a user adds, with a pool of its own that nothing is known about."""
    pool = Pool([Endpoint(name, url, MODEL, api_key=KEY) for name, url in urls.items()])
    return api.workflow(slo=SLO(deadline=deadline_s), name="promises", pool=pool)(program)


def _ended(program: Program, within_s: float) -> tuple[float, str, str, str]:
    """Seconds, outcome, error's class and text of a program, which runs in a thread: some never end."""
    done: queue.SimpleQueue[tuple[float, str, str, str]] = queue.SimpleQueue()
    work = _run_async if inspect.iscoroutinefunction(program) else _run
    threading.Thread(target=work, args=(program, done.put), name="bench-promises", daemon=True).start()
    try:
        return done.get(timeout=within_s)
    except queue.Empty:
        return within_s, "none", "", ""


Tell = Callable[[tuple[float, str, str, str]], None]


def _run(program: Program, tell: Tell) -> None:
    started = clock.monotonic()
    try:
        told = _answered(program())
    except Exception as error:  # noqa: BLE001 - whatever a program raises is what its user gets
        told = _failed(error)
    tell((clock.monotonic() - started, *told))


def _run_async(program: Program, tell: Tell) -> None:
    async def main() -> None:
        started = clock.monotonic()
        try:
            told = _answered(await program())
        except Exception as error:  # noqa: BLE001 - whatever a program raises is what its user gets
            told = _failed(error)
        tell((clock.monotonic() - started, *told))

    asyncio.run(main())


def _answered(text: str) -> tuple[str, str, str]:
    return ("answer" if text.strip() else "empty", "", "")


def _failed(error: Exception) -> tuple[str, str, str]:
    return "error", type(error).__name__, str(error)[:_MOST_DETAIL]
