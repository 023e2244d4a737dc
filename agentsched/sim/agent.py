"""One run of a workflow: makes the calls of its plan when their parents are done, and knows when it is over."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agentsched.core.call import FailureKind, ModelCall, RunInfo, Way
from agentsched.core.records import CallEnded, RunClosed
from agentsched.sim.client import Client
from agentsched.sim.knowledge import Book
from agentsched.sim.outcome import RunResult
from agentsched.sim.plan import RunPlan
from agentsched.sim.timeline import Timeline

__all__ = ["Agent", "Manners", "call_of"]

_BLOCKS_PER_LINEAGE = 1 << 20
_LINEAGES_PER_RUN = 1 << 12

_SAME_S = 1e-9
"""Instants that are nearer to each other are one: the same seconds, added up in another order."""

_CONTINUABLE, _NOT_CONTINUABLE = frozenset({Way.PREFILL}), frozenset[Way]()
_PRESCRIBED = frozenset({"tools", "json_schema"})
"""Who needs one of these may get an answer of which no other attempt can take the beginning for its own."""

_FINAL = frozenset(
    {FailureKind.DEADLINE, FailureKind.CANCELLED, FailureKind.COST, FailureKind.INCAPABLE, FailureKind.SHED}
)
"""Failures after which asking again is of no use."""

_TOO_LATE = frozenset({FailureKind.DEADLINE, FailureKind.SHED})


@dataclass(frozen=True, slots=True)
class Manners:
    """What all agents of a scenario have in common.

    Attributes:
        streams: whether they read streams.
        cut_late: whether a run is cut at its deadline.
        call_retries: how often a call that was given up is made again.
        quality: the declared quality of each endpoint.
        continuable: whether an answer of which they have the beginning may be gone on with by another attempt, and a
            whole answer be asked for as a stream.
    """

    streams: bool
    cut_late: bool
    call_retries: int
    quality: Mapping[str, float]
    continuable: bool = False


def call_of(run: RunPlan, k: int, call_id: str, manners: Manners, *, due_at: float | None, tool_s: float) -> ModelCall:
    """What the agent of a run asks for with the call of this number.

    Args:
        run: its plan.
        k: the call's number.
        call_id: unique; another one for each time it is made.
        manners: the agent's.
        due_at: when the run should be done, on the clock of whoever schedules; None: it has no deadline.
        tool_s: seconds since the last of its parents was answered.
    """
    plan, run_id = run.calls[k], f"r{run.index}"
    continuable = manners.continuable and _PRESCRIBED.isdisjoint(plan.needs)
    return ModelCall(
        call_id=call_id,
        run_id=run_id,
        workflow=run.workflow,
        step=plan.step,
        call_index=k,
        model=plan.model,
        stream=manners.streams if plan.stream is None else plan.stream,
        input_tokens=plan.input_tokens,
        max_tokens=plan.max_tokens,
        needs=plan.needs,
        prefix=(run.index * _LINEAGES_PER_RUN + plan.lineage + 1) * _BLOCKS_PER_LINEAGE,
        deadline_at=due_at if manners.cut_late else None,
        due_at=due_at,
        min_quality=plan.min_quality,
        priority=run.priority,
        tenant=run.tenant,
        parents=tuple(f"{run_id}.{parent}" for parent in plan.parents),
        tool_s=tool_s,
        upgradable=manners.continuable,
        optional=plan.optional,
        continuable=_CONTINUABLE if continuable else _NOT_CONTINUABLE,
    )


class Agent:
    """Runs one plan at one client.

    Args:
        plan: what it does.
        manners: how.
        client: where its calls go.
        timeline: virtual time.
        book: is told which plan stands behind a call.
        done: takes the result, once.
    """

    __slots__ = (
        "_book",
        "_children",
        "_client",
        "_done",
        "_due_at",
        "_ended_at",
        "_free_at",
        "_left_out",
        "_manners",
        "_missing",
        "_numbers",
        "_outcome",
        "_plan",
        "_qualities",
        "_ready_at",
        "_retries_left",
        "_run_id",
        "_timeline",
        "_unanswered",
    )

    def __init__(
        self,
        plan: RunPlan,
        manners: Manners,
        client: Client,
        timeline: Timeline,
        book: Book,
        done: Callable[[RunResult], None],
    ) -> None:
        self._plan, self._manners, self._client, self._timeline = plan, manners, client, timeline
        self._book, self._done = book, done
        self._run_id = f"r{plan.index}"
        self._due_at = None if plan.deadline_s is None else plan.arrival_s + plan.deadline_s
        self._missing = [len(call.parents) for call in plan.calls]
        self._children: list[list[int]] = [[] for _ in plan.calls]
        for k, call in enumerate(plan.calls):
            for parent in call.parents:
                self._children[parent].append(k)
        self._free_at = [plan.arrival_s] * len(plan.calls)
        self._ready_at = [plan.arrival_s] * len(plan.calls)
        self._unanswered = len(plan.calls)
        self._numbers: dict[str, int] = {}
        self._retries_left = [manners.call_retries] * len(plan.calls)
        self._qualities: list[float] = []
        self._left_out: set[str] = set()
        self._outcome: str | None = None
        self._ended_at = 0.0

    def begin(self) -> None:
        """The run's instant has come."""
        cut_at = self._due_at if self._manners.cut_late else None
        plan = self._plan
        run = RunInfo(
            self._run_id,
            plan.workflow,
            plan.arrival_s,
            cut_at,
            plan.deadline_s,
            tenant=plan.tenant,
            max_cost_usd=plan.max_cost_usd,
            priority=plan.priority,
            on_late="raise" if self._manners.cut_late else "ignore",
        )
        self._client.begin_run(run, self)
        if cut_at is not None:
            self._timeline.at(cut_at, self._deadline)
        for k, call in enumerate(plan.calls):
            if call.parents:
                continue  # not by what is missing: calls that are left out at once let others go on meanwhile
            if call.wait_s == 0.0:
                self._ask(k)
            else:
                self._timeline.at(plan.arrival_s + call.wait_s, self._ask, k)

    def _ask(self, k: int) -> None:
        if self._outcome is not None:
            return
        plan = self._plan.calls[k]
        attempt = self._manners.call_retries - self._retries_left[k]
        call_id = f"{self._run_id}.{k}" if attempt == 0 else f"{self._run_id}.{k}+{attempt}"
        call = call_of(
            self._plan, k, call_id, self._manners, due_at=self._due_at, tool_s=self._timeline.now - self._ready_at[k]
        )
        self._numbers[call_id] = k
        self._book.open(call_id, plan)
        self._client.ask(call, plan, call.prefix, self)

    def left_out(self, visit: str) -> None:
        """A visit of an optional step is left out: none of its calls is made any more."""
        self._left_out.add(visit)

    def call_ended(self, call_id: str, ended: CallEnded) -> None:
        """One of its calls is over: go on, ask again, or give up."""
        self._book.close(call_id)
        k = self._numbers.pop(call_id)
        if self._outcome is not None:
            return
        if ended.status == "ok":
            assert ended.endpoint is not None
            self._qualities.append(self._manners.quality[ended.endpoint])
            self._go_on(k, self._plan.calls[k].tool_s)
        elif ended.status == FailureKind.SKIPPED:
            self._go_on(k, 0.0)
        elif ended.status in _FINAL or self._retries_left[k] == 0:
            self._end("deadline" if ended.status in _TOO_LATE else "error")
        else:
            self._retries_left[k] -= 1
            self._ask(k)

    def _go_on(self, k: int, tool_s: float) -> None:
        """Behind a call that was answered, or left out, with what only waited for that."""
        now = self._timeline.now
        self._unanswered -= 1
        if self._unanswered == 0:
            if self._plan.tail_s > 0.0:
                self._timeline.at(now + self._plan.tail_s, self._come_to_its_end)
            else:
                self._come_to_its_end()
            return
        free_at = now + tool_s
        for child in self._children[k]:
            self._free_at[child] = max(self._free_at[child], free_at)
            self._missing[child] -= 1
            self._ready_at[child] = now
            if self._missing[child] > 0:
                continue
            if self._left_out.isdisjoint(self._plan.calls[child].optional):
                self._timeline.at(self._free_at[child] + self._plan.calls[child].wait_s, self._ask, child)
            else:
                self._go_on(child, 0.0)

    def _come_to_its_end(self) -> None:
        if self._outcome is None:  # it may have been cut at its deadline meanwhile
            in_time = self._due_at is None or self._timeline.now <= self._due_at + _SAME_S
            self._end("ok" if in_time else "late")

    def _deadline(self) -> None:
        """The run is cut: the scheduler fails its open calls, and what is still at work on a tool ends here."""
        for call_id in tuple(self._numbers):
            if call_id in self._numbers:
                self._client.look(call_id)
        if self._outcome is None:
            self._end("deadline")

    def _end(self, outcome: str) -> None:
        self._outcome, self._ended_at = outcome, self._timeline.now
        self._client.end_run(self._run_id, outcome, tuple(self._numbers))

    def closed(self, record: RunClosed) -> None:
        """The run's books are closed."""
        plan = self._plan
        assert self._outcome is not None
        self._done(
            RunResult(
                index=plan.index,
                workflow=plan.workflow,
                client=plan.client,
                arrival_s=plan.arrival_s,
                ended_s=self._ended_at,
                deadline_s=plan.deadline_s,
                ideal_s=plan.ideal_s,
                outcome=self._outcome,
                calls=record.calls,
                attempts=record.attempts,
                input_tokens=record.input_tokens,
                output_tokens=record.output_tokens,
                cost_usd=record.cost_usd,
                quality=sum(self._qualities) / len(self._qualities) if self._qualities else None,
                skipped=len(record.skipped),
            )
        )
