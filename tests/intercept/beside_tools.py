"""A workflow in a process in which another tool has replaced the same methods; executed by `test_beside_tools`.

    python beside_tools.py TOOL before|after|forked POOL.json      prints one JSON object

forked: in a worker that was forked from a program which has had a run already, as servers do that preload it.

POOL.json holds the configuration of a pool that runs elsewhere, and the address of one endpoint.
"""

import asyncio
import importlib
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOOL, ORDER, POOL = sys.argv[1:]


def otel() -> None:
    importlib.import_module("opentelemetry.instrumentation.threading").ThreadingInstrumentor().instrument()


def sentry() -> None:
    importlib.import_module("sentry_sdk").init(
        dsn="http://key@127.0.0.1:9/1", auto_enabling_integrations=False, transport=lambda _: None
    )


def gevent() -> None:
    importlib.import_module("gevent.monkey").patch_all()


start = {"otel": otel, "sentry": sentry, "gevent": gevent}[TOOL]
if ORDER == "before":
    start()

from openai import AsyncOpenAI, OpenAI  # noqa: E402

import agentsched as ags  # noqa: E402  # the tool comes first

pool = json.loads(Path(POOL).read_text(encoding="utf-8"))
ags.configure(pool["config"])
ags.instrument()
if ORDER == "after":
    start()

found: list[str | None] = []


def ask() -> None:
    run = ags.current()
    found.append(None if run is None else run.run_id)
    messages = [{"role": "user", "content": "Say a word. [[out=3]]"}]
    with OpenAI(base_url=pool["url"], api_key="k") as client:
        client.chat.completions.create(model="m", messages=messages)


async def ask_from_a_loop() -> None:
    """While this loop runs, another thread asks."""
    thread = threading.Thread(target=ask)
    thread.start()
    messages = [{"role": "user", "content": "Say a word. [[out=3]]"}]
    async with AsyncOpenAI(base_url=pool["url"], api_key="k") as client:
        await client.chat.completions.create(model="m", messages=messages)
    while thread.is_alive():  # noqa: ASYNC110 - joining it would stop the loop
        await asyncio.sleep(0.01)


@ags.workflow(slo="30s")
def answer() -> tuple[str, int]:
    ask()
    for thread in (threading.Thread(target=ask), threading.Timer(0.0, ask)):
        thread.start()
        thread.join()
    with ThreadPoolExecutor(2) as executor:
        list(executor.map(lambda _: ask(), range(2)))
    asyncio.run(ask_from_a_loop())
    return ags.current().run_id, len({decision.call_id for decision in ags.current().decisions})


@ags.workflow(slo="200ms")
def late() -> None:
    with OpenAI(base_url=pool["url"], api_key="k", max_retries=0) as client:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Go on. [[out=5000]]"}])


if ORDER == "forked":
    answer()
    worker = os.fork()
    if worker:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))
    start()
    found.clear()

run_id, calls = answer()
try:
    late()
    ended = "in time"
except ags.DeadlineExceeded:
    ended = "at the deadline"
print(json.dumps({"own": [each == run_id for each in found], "calls": calls, "late": ended}))
