"""Simulated runs made in earnest: the same plans, over HTTP, in real time, through the dispatcher that runs live."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from agentsched import clock
from agentsched.core.call import RunInfo
from agentsched.emulator.control import Control
from agentsched.endpoints.exchange import Exchange
from agentsched.errors import CallFailed, DeadlineExceeded
from agentsched.runtime import Runtime
from agentsched.scheduler.events import RunEnded, RunStarted
from agentsched.sim.agent import Manners, call_of
from agentsched.sim.plan import CallPlan, RunPlan
from agentsched.sim.replay.figures import Ended
from agentsched.sim.server import Befallen

__all__ = ["LiveRuns", "prompt_of"]

_LAG_EVERY_S = 0.02
_TEMPLATE_BYTES = len("<|user|>\n<|assistant|>")
"""What the emulator's chat template adds to a single message."""

_TOKEN_BYTES = 4


def prompt_of(run: RunPlan, k: int) -> str:
    """A message that makes a prompt of the planned tokens; those of a lineage begin alike, no others do."""
    plan = run.calls[k]
    size = max(1, _TOKEN_BYTES * plan.input_tokens - _TEMPLATE_BYTES)
    head = f"{run.index:08d}.{plan.lineage:04d} "
    return (head + "and " * (size // _TOKEN_BYTES + 1))[:size]


@dataclass(slots=True)
class LiveRuns:
    """Makes runs at a pool of emulated endpoints.

    Args:
        runtime: schedules and dispatches; its pool has the endpoints' addresses.
        manners: of the agents, as simulated.
        length_header: the request header by which an emulated endpoint is told the length of its answer.
        ended: called with each run's number when it is over.

    Attributes:
        lag_s: how late this process's event loop was, seconds: what its own work adds to every time it measures.
    """

    runtime: Runtime
    manners: Manners
    length_header: str
    ended: Callable[[int], None]
    lag_s: list[float] = field(default_factory=list)

    async def make(
        self, runs: Sequence[RunPlan], faults: Mapping[str, Sequence[Befallen]], control: Control
    ) -> list[Ended]:
        """Make all runs, each at its arrival, with these faults, and answer how each ended, in their order."""
        began = clock.monotonic() + 0.5
        background = [asyncio.create_task(self._watch_lag())]
        background += [
            asyncio.create_task(_befall(control, name, fault, began)) for name, some in faults.items() for fault in some
        ]
        try:
            async with asyncio.TaskGroup() as group:
                made = [group.create_task(self._run(plan, began)) for plan in runs]
            return [task.result() for task in made]
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)

    async def _watch_lag(self) -> None:
        while True:
            due = clock.monotonic() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            self.lag_s.append(max(0.0, clock.monotonic() - due))

    # -- one run -----------------------------------------------------------------------------------------------------

    async def _run(self, plan: RunPlan, began: float) -> Ended:
        arrival = began + plan.arrival_s
        due_at = None if plan.deadline_s is None else arrival + plan.deadline_s
        await _until(arrival)
        run_id, post = f"r{plan.index}", self.runtime.dispatcher.post
        cut_at = due_at if self.manners.cut_late else None
        on_late = "raise" if self.manners.cut_late else "ignore"
        post(RunStarted(RunInfo(run_id, plan.workflow, arrival, cut_at, plan.deadline_s, on_late=on_late)))
        outcome = await self._calls(plan, arrival, due_at, cut_at)
        now = clock.monotonic()
        if outcome == "ok" and due_at is not None and now > due_at:
            outcome = "late"
        post(RunEnded(run_id, outcome))
        self.ended(plan.index)
        met = None if due_at is None else outcome == "ok"
        return Ended(plan.workflow, now - arrival, met, None, outcome)

    async def _calls(self, plan: RunPlan, arrival: float, due_at: float | None, cut_at: float | None) -> str:
        loop = asyncio.get_running_loop()
        answered: list[asyncio.Future[float]] = [loop.create_future() for _ in plan.calls]
        try:
            async with (
                asyncio.timeout(None if cut_at is None else cut_at - clock.monotonic()),
                asyncio.TaskGroup() as all_,
            ):
                for k in range(len(plan.calls)):
                    all_.create_task(self._call(plan, k, arrival, due_at, answered))
            await asyncio.sleep(plan.tail_s)
        except TimeoutError:
            return "deadline"
        except ExceptionGroup as group:
            if group.split((DeadlineExceeded, CallFailed))[1] is not None:
                raise
            return "error" if group.subgroup(DeadlineExceeded) is None else "deadline"
        return "ok"

    async def _call(
        self, run: RunPlan, k: int, arrival: float, due_at: float | None, answered: Sequence[asyncio.Future[float]]
    ) -> None:
        plan = run.calls[k]
        ends = [await answered[parent] for parent in plan.parents]
        tools = [end + run.calls[parent].tool_s for end, parent in zip(ends, plan.parents, strict=True)]
        await _until(max(tools, default=arrival) + plan.wait_s)
        ready_at = max(ends, default=arrival)
        for attempt in range(self.manners.call_retries + 1):
            call_id = f"r{run.index}.{k}" + (f"+{attempt}" if attempt else "")
            now = clock.monotonic()
            call = call_of(run, k, call_id, self.manners, due_at=due_at, tool_s=now - ready_at)
            last = attempt == self.manners.call_retries
            with suppress(*(() if last else (CallFailed,))):
                reply = await self.runtime.dispatcher.send(call, self._exchange(run, k, plan, call.stream))
                if reply.stream is not None:
                    async for _ in reply.stream:  # type: ignore[union-attr]
                        pass
                if reply.status != 200:
                    raise CallFailed(f"an endpoint answered {reply.status}")
                answered[k].set_result(clock.monotonic())
                return

    def _exchange(self, run: RunPlan, k: int, plan: CallPlan, stream: bool) -> Exchange:
        body: dict[str, object] = {
            "model": plan.model,
            "messages": [{"role": "user", "content": prompt_of(run, k)}],
            "stream": stream,
        }
        headers = ((self.length_header, str(plan.output_tokens)),)
        return Exchange("chat/completions", body, json.dumps(body).encode(), headers, stream)


async def _until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - clock.monotonic()))


async def _befall(control: Control, name: str, fault: Befallen, began: float) -> None:
    await _until(began + fault.at)
    duration_s = fault.until - fault.at
    if fault.factor is None:
        await asyncio.to_thread(control.fail, name, duration_s)
    else:
        await asyncio.to_thread(control.slow_down, name, fault.factor, duration_s)
