"""One framework, in the interpreter that has it: every way of calling a model, three runs at a time, all calls watched.

    python tests/frameworks/harness.py crewai        prints one JSON object per cell

A cell is one way of calling. It is executed by three decorated runs at once, each with a mark in its prompts. *Made*
are the model calls that reach an HTTP client; *caught* those of them that were scheduled; *attributed* those that were
scheduled in the run that their mark belongs to, and in a step of theirs.
"""

import asyncio
import importlib
import inspect
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "integrations")]

import agentsched as ags  # noqa: E402  # found by the path above
from agentsched.emulator.config import EmulatedEndpoint, EmulatorConfig  # noqa: E402
from agentsched.emulator.process import start_pool  # noqa: E402
from agentsched.runtime import configure, shutdown  # noqa: E402
from agentsched.settings import load_settings  # noqa: E402

MODEL = "gpt-4o-mini"
RUNS = 3
STEP = "cell"
MARK = re.compile(r"mark-\d+")
APIS = ("/chat/completions", "/responses", "/completions")

QUIET = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "DEFER_PYDANTIC_BUILD": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OPENAI_API_KEY": "k",
    "OTEL_SDK_DISABLED": "true",
}
"""By which the frameworks are told to report to nobody, and the SDK to have its classes whole before threads start."""

Sync = Callable[[str], object]
Async = Callable[[str], Coroutine[Any, Any, object]]


@dataclass
class Program:
    """What a framework's module offers; each function gets a prompt and makes at least one model call with it in.

    Attributes:
        name: as people write it.
        distribution: whose version is shown.
        steps: whether an adapter names the steps; if not, the harness names one, which must arrive at every call.
        sync, sync_stream, aio, aio_stream: one agent or model, called once, in that way.
        own: the framework's own ways of doing several things at once, by name: functions or coroutine functions.
        missing: why a way does not exist, by name.
    """

    name: str
    distribution: str
    steps: frozenset[str] = frozenset()
    sync: Sync | None = None
    sync_stream: Sync | None = None
    aio: Async | None = None
    aio_stream: Async | None = None
    own: dict[str, Sync | Async] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def cells(program: Program) -> Iterator[tuple[str, Sync | Async]]:
    """Each way of calling, and the ones that follow from it: threads, executors, tasks side by side."""
    ways = {"sync": program.sync, "sync stream": program.sync_stream}
    for name, call in ways.items():
        if call is not None:
            yield name, call
            yield f"{name}, threads", partial(_in_threads, call)
            yield f"{name}, executor", partial(_in_executor, call)
    tasks = {"async": program.aio, "async stream": program.aio_stream}
    for name, task in tasks.items():
        if task is not None:
            yield name, task
            yield f"{name}, gather", partial(_gathered, task)
    if program.sync is not None:
        yield "sync, to_thread", partial(_to_threads, program.sync)
    yield from program.own.items()


def _in_threads(call: Sync, prompt: str) -> None:
    threads = [threading.Thread(target=call, args=(prompt,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _in_executor(call: Sync, prompt: str) -> None:
    with ThreadPoolExecutor(2) as executor:
        list(executor.map(call, [prompt] * 2))


async def _gathered(call: Async, prompt: str) -> None:
    await asyncio.gather(*(call(prompt) for _ in range(2)))


async def _to_threads(call: Sync, prompt: str) -> None:
    await asyncio.gather(*(asyncio.to_thread(call, prompt) for _ in range(2)))


@dataclass
class Seen:
    """The calls of one cell: by mark, and (mark, run, step)."""

    made: Counter[str] = field(default_factory=Counter)
    caught: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def make(self, request: Any) -> None:
        if str(request.url.path).endswith(APIS):
            with self.lock:
                self.made[_mark_in(request.content)] += 1

    def catch(self, call: Any, exchange: Any) -> None:
        with self.lock:
            self.caught[_mark_in(json.dumps(exchange.body).encode()), call.run_id, call.step] += 1


def _mark_in(content: bytes) -> str:
    found = MARK.search(content.decode())
    return found.group() if found else "no mark"


@contextmanager
def watching(seen: Seen, runtime: Any) -> Iterator[None]:
    """Stand on top of what agentsched put into the HTTP clients, and in front of its dispatcher."""
    undo: list[Callable[[], None]] = []
    for library in ("httpx", "httpx2"):
        module = sys.modules.get(library)
        if module is not None:
            undo.append(_replace(module.Client, "send", lambda original: _counting(original, seen.make)))
            undo.append(_replace(module.AsyncClient, "send", lambda original: _counting(original, seen.make)))
    dispatcher = type(runtime.dispatcher)
    for name in ("send", "send_blocking"):
        undo.append(_replace(dispatcher, name, lambda original: _noting(original, seen.catch)))
    yield
    for each in reversed(undo):
        each()


def _replace(owner: type, name: str, make: Callable[[Any], Any]) -> Callable[[], None]:
    original = vars(owner)[name]
    setattr(owner, name, make(original))
    return lambda: setattr(owner, name, original)


def _counting(original: Any, note: Callable[[Any], None]) -> Any:
    def send(client: Any, request: Any, **options: Any) -> Any:
        note(request)
        return original(client, request, **options)

    return send


def _noting(original: Any, note: Callable[[Any, Any], None]) -> Any:
    def send(dispatcher: Any, call: Any, exchange: Any) -> Any:
        note(call, exchange)
        return original(dispatcher, call, exchange)

    return send


def execute(program: Program, name: str, call: Sync | Async, runtime: Any) -> dict[str, Any]:
    """One cell."""
    seen, run_of = Seen(), {}

    def enter(mark: str) -> None:
        run_of[mark] = ags.current().run_id
        if not program.steps:
            ags.step(STEP)

    @ags.workflow(slo="60s", name=f"{program.name} {name}")
    def run(mark: str) -> None:
        enter(mark)
        call(f"Say a word. {mark}")

    @ags.workflow(slo="60s", name=f"{program.name} {name}")
    async def arun(mark: str) -> None:
        enter(mark)
        await call(f"Say a word. {mark}")

    marks = [f"mark-{number}" for number in range(RUNS)]
    target = call.func if isinstance(call, partial) else call
    error = None
    with watching(seen, runtime):
        try:
            if inspect.iscoroutinefunction(target):
                asyncio.run(_all(arun, marks))
            else:
                with ThreadPoolExecutor(RUNS) as executor:
                    list(executor.map(run, marks))
        except Exception as problem:  # noqa: BLE001  # a framework may raise anything: that is this cell's result
            error = f"{type(problem).__name__}: {problem}"[:300]
    steps = program.steps or {STEP}
    attributed = sum(
        count for (mark, run_id, step), count in seen.caught.items() if run_of.get(mark) == run_id and step in steps
    )
    made, caught = seen.made.total(), seen.caught.total()
    if error is None and len(seen.made) < RUNS:
        error = "it made no call"
    others = sorted({step for _, _, step in seen.caught} - steps)
    return {
        "cell": name,
        "made": made,
        "caught": caught,
        "attributed": attributed,
        "error": error,
        **({"other_steps": others} if others else {}),
    }


async def _all(run: Callable[[str], Coroutine[Any, Any, None]], marks: list[str]) -> None:
    await asyncio.gather(*(run(mark) for mark in marks))


def main(name: str) -> None:
    """Execute all cells of one framework against an embedded pool; print one JSON object each."""
    os.environ.update(QUIET)
    os.environ["CREWAI_STORAGE_DIR"] = tempfile.mkdtemp()
    # Frameworks write to standard output as well.
    results = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    endpoints = tuple(EmulatedEndpoint(name=each, profile="llama3-8b-h100", model=MODEL) for each in ("a", "b"))
    with start_pool(EmulatorConfig(endpoints=endpoints, time_scale=100)) as pool:
        # Whatever is not caught reaches an endpoint all the same: it shows as made and not caught.
        os.environ["OPENAI_BASE_URL"] = os.environ["OPENAI_API_BASE"] = pool.url("a")
        program: Program = importlib.import_module(f"tests.frameworks.programs.{name}").PROGRAM
        _install_adapters(program)
        for library in ("httpx", "httpx2"):
            with suppress(ModuleNotFoundError):
                importlib.import_module(library)  # some frameworks load theirs at the first call
        runtime = configure(load_settings(_with_responses(pool.pool_config)))
        ags.instrument()  # before the harness stands on top of it
        head = {"framework": program.name, "version": version(program.distribution), "openai": version("openai")}
        for cell, call in cells(program):
            began = time.monotonic()
            result = execute(program, cell, call, runtime)
            print(json.dumps(head | result | {"seconds": round(time.monotonic() - began, 2)}), file=results)
        for cell, reason in program.missing.items():
            print(json.dumps(head | {"cell": cell, "missing": reason}), file=results)
        shutdown()


def _with_responses(config: dict[str, Any]) -> dict[str, Any]:
    """The pool's configuration, with what a user of the Responses API has to declare."""
    for endpoint in config["endpoints"]:
        endpoint["capabilities"] = ["stream", "tools", "json_schema", "logprobs", "completions", "n", "responses"]
    return config


def _install_adapters(program: Program) -> None:
    """In a checkout that nobody installed the entry points are missing."""
    if program.steps and not entry_points(group="agentsched.adapters"):
        for adapter in ("agentsched_autogen", "agentsched_crewai", "agentsched_langgraph"):
            importlib.import_module(adapter).install()


if __name__ == "__main__":
    main(sys.argv[1])
