"""One arm's load generator, a process of its own: sends the workload and says when each workflow ended.

Reads one JSON line (`Order`), says ``ready`` when it is warm, waits for a line, and then writes one JSON line per
workflow and a last one about itself. Arrivals are open-loop: a workflow starts when it is due, however many are still
running, and its latency counts from that instant.
"""

import asyncio
import itertools
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b

from langchain_openai import ChatOpenAI
from pydantic import TypeAdapter

import agentsched
from agentsched import clock
from agentsched.demo.cases import Case, draw_workload, warm_up_case
from agentsched.demo.graph import Agent, build_agent
from agentsched.demo.plan import Arm, Plan
from agentsched.demo.pool import FASTEST, MODEL
from agentsched.demo.results import ClientReport, Ended, Outcome
from agentsched.errors import DeadlineExceeded

__all__ = ["WORKFLOW", "Order", "main"]

WORKFLOW = "research desk"
_WARM_UP = "warm-up"

_LEAD_S = 0.2
"""Between the word to begin and the first arrival, seconds."""
_LAG_EVERY_S = 0.02
_TRANSPORT_S = 600.0
"""What a client that sets no timeout gets from the SDK; longer than any arm."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to do.

    Attributes:
        plan: the comparison.
        arm: which arm.
        urls: the endpoints' base URLs, by name.
        pool_file: the ``pool.yaml`` of the decorated arm.
    """

    plan: Plan
    arm: Arm
    urls: dict[str, str]
    pool_file: str


class _Clients:
    """Chooses the client of each call: what an undecorated program can do."""

    def __init__(self, order: Order) -> None:
        names = order.urls if order.arm == "round robin" else (FASTEST,)
        self._next = itertools.cycle([_client(order.urls[name]) for name in names])
        self.calls = 0

    def __call__(self) -> ChatOpenAI:
        self.calls += 1
        return next(self._next)


def _client(url: str) -> ChatOpenAI:
    return ChatOpenAI(base_url=url, model=MODEL, api_key="none", timeout=_TRANSPORT_S)  # type: ignore[arg-type]


def _decorated(agent: Agent, order: Order, name: str) -> Agent:
    """The whole difference between the arms: the agent of the third is decorated."""
    if order.arm != "agentsched":
        return agent
    slo = agentsched.SLO(deadline=order.plan.deadline_s)
    return agentsched.workflow(slo=slo, name=name, pool=order.pool_file)(agent)


async def _run(order: Order, tell: Callable[[object], None], go: Callable[[], object]) -> None:
    clients = _Clients(order)
    agent = build_agent(clients)
    with suppress(DeadlineExceeded):  # with a very short deadline: it is warm nevertheless
        await _decorated(agent, order, _WARM_UP)(warm_up_case())
    tell({"ready": True})
    await asyncio.to_thread(go)
    clients.calls = 0
    workload = draw_workload(order.plan.seed, order.plan.workflows, order.plan.rate_per_s)
    lags: list[float] = []
    watching = asyncio.create_task(_watch_lag(lags))
    began, cpu = clock.monotonic() + _LEAD_S, clock.cpu()
    measured = _decorated(agent, order, WORKFLOW)
    async with asyncio.TaskGroup() as running:
        for case, arrival in zip(workload.cases, workload.arrivals_s, strict=True):
            await asyncio.sleep(began + arrival - clock.monotonic())
            running.create_task(_serve(measured, case, began, arrival, order.plan.patience_s, tell))
    watching.cancel()
    tell(asdict(ClientReport.of(lags, clients.calls, clock.cpu() - cpu, clock.monotonic() - began)))


async def _serve(
    agent: Agent, case: Case, began: float, arrival: float, patience_s: float, tell: Callable[[object], None]
) -> None:
    answer, outcome, error = "", Outcome.ANSWERED, ""
    due = began + arrival
    try:
        async with asyncio.timeout(due + patience_s - clock.monotonic()) as patience:
            answer = await agent(case)
    except DeadlineExceeded:
        outcome = Outcome.DEADLINE
    except Exception as caught:  # noqa: BLE001  # whatever the agent fails with is a result of the comparison
        outcome = Outcome.GAVE_UP if patience.expired() else Outcome.FAILED
        error = "" if patience.expired() else repr(caught)[:300]
    latency = clock.monotonic() - due
    digest = blake2b(answer.encode(), digest_size=8).hexdigest() if answer else ""
    tell(asdict(Ended(case.number, arrival, latency, outcome, digest, error)))


async def _watch_lag(lags: list[float]) -> None:
    """How late this process's event loop is: what its own work adds to every latency it measures."""
    while True:
        due = clock.monotonic() + _LAG_EVERY_S
        await asyncio.sleep(_LAG_EVERY_S)
        lags.append(max(0.0, clock.monotonic() - due))


def main() -> None:
    """Carry out the order on standard input."""

    def tell(message: object) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    order = TypeAdapter(Order).validate_json(sys.stdin.readline())
    asyncio.run(_run(order, tell, sys.stdin.readline))
    agentsched.uninstrument()


if __name__ == "__main__":
    main()
