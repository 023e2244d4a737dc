"""One of several processes that use the same endpoints: makes its share of the runs and says how each ended.

Reads one JSON line (`Order`) and says ``ready``. Then, round by round: waits for a line, makes the runs of the round,
writes one JSON line for each, and one that says that the round is over. Arrivals are open-loop: a run starts when it is
due, however many are still running, and its time counts from that instant.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from pydantic import TypeAdapter

from agentsched import clock
from agentsched.core.call import ModelCall
from agentsched.core.slo import SLO
from agentsched.emulator.words import identity_of, words
from agentsched.endpoints.exchange import AsyncBody, Exchange
from agentsched.errors import AgentschedError
from agentsched.runtime import Runtime, configure
from agentsched.workflow.scope import Run

__all__ = ["Order", "Planned", "main"]

_LEAD_S = 0.3
"""Between the word to begin and the first arrival, seconds."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One run: when it arrives in its round, and its calls one after the other, each (prompt tokens, answer tokens)."""

    number: int
    arrival_s: float
    calls: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Order:
    """What to do: make the runs of each round, of ``model`` under this deadline, as the file ``pool_file`` says."""

    pool_file: str
    model: str
    deadline_s: float
    rounds: tuple[tuple[Planned, ...], ...]


async def _work(order: Order, tell: Callable[[object], None], go: Callable[[], object]) -> None:
    runtime = configure(order.pool_file)
    await _make(runtime, order, Planned(-1, 0.0, ((16, 2),)))  # imports, connects, joins the others
    tell({"ready": True})
    for number, runs in enumerate(order.rounds):
        await asyncio.to_thread(go)
        began = clock.monotonic() + _LEAD_S
        async with asyncio.TaskGroup() as running:
            for planned in runs:
                await asyncio.sleep(began + planned.arrival_s - clock.monotonic())
                running.create_task(_serve(runtime, order, planned, began, tell))
        tell({"round": number})
    runtime.close()


async def _serve(
    runtime: Runtime, order: Order, planned: Planned, began: float, tell: Callable[[object], None]
) -> None:
    failed = await _make(runtime, order, planned)
    took_s = clock.monotonic() - (began + planned.arrival_s)
    tell({"run": planned.number, "took_s": took_s, "failed": failed})


async def _make(runtime: Runtime, order: Order, planned: Planned) -> str:
    """Make one run; answers what it failed with, or nothing."""
    run = Run("shared", SLO(order.deadline_s), runtime=runtime)
    runtime.start_run(run)
    outcome, failed = "ok", ""
    try:
        for index, (prompt, answer) in enumerate(planned.calls):
            await _call(runtime, order, run, index, prompt, answer)
    except AgentschedError as error:
        outcome, failed = "error", type(error).__name__
    run.finished = True
    runtime.end_run(run, outcome)
    return failed


async def _call(runtime: Runtime, order: Order, run: Run, index: int, prompt: int, answer: int) -> None:
    text = "".join(words(identity_of("prompt", run.run_id, str(index)), prompt)) + f" [[out={answer}]]"
    body = {"model": order.model, "messages": [{"role": "user", "content": text}], "stream": True}
    call = ModelCall(
        call_id=f"{run.run_id}.{index}",
        run_id=run.run_id,
        workflow=run.workflow,
        step=f"step {index}",
        call_index=index,
        model=order.model,
        input_tokens=prompt,
        stream=True,
        deadline_at=run.limit_at,
    )
    exchange = Exchange("chat/completions", body, json.dumps(body).encode(), (), True)
    reply = await runtime.dispatcher.send(call, exchange)
    if reply.stream is None:
        raise AgentschedError(f"an answer of status {reply.status}, not a stream")
    async for _ in cast(AsyncBody, reply.stream):
        pass


def main() -> None:
    """Carry out the order on standard input."""

    def tell(message: object) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    order = TypeAdapter(Order).validate_json(sys.stdin.readline())
    with suppress(BrokenPipeError):
        asyncio.run(_work(order, tell, sys.stdin.readline))


if __name__ == "__main__":
    main()
