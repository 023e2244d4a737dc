"""What a run will do if nobody hinders it: its calls with their true sizes, drawn before any policy has a say."""

from collections.abc import Sequence

from agentsched.core.value import value

__all__ = ["MODEL", "CallPlan", "Drawn", "RunPlan", "critical_path"]

MODEL = "model"
"""The model name that calls ask for where nobody says otherwise; every endpoint of a simulated pool serves it."""


@value()
class CallPlan:
    """One call of a run.

    Attributes:
        step: the step's name.
        input_tokens: prompt tokens.
        output_tokens: tokens the model will answer with, wherever it runs.
        tool_s: seconds of the agent's own work after the answer, before whatever follows.
        parents: numbers of the calls that must be over, tools included, before this one is made; all are smaller.
        lineage: prompts of the same lineage within a run begin alike: the shorter one is the longer one's prefix.
        min_quality: endpoints below it cannot serve the call.
        noise: a standard normal number, the error of whoever predicts this call's length.
        ideal_s: seconds of the call alone on the fastest endpoint that may serve it, network included.
        rest_s: seconds from its answer to the end of its run, if all goes ideally.
        wait_s: seconds of the agent's own work for this call alone, between the last of its parents and it.
        model: the requested model name.
        max_tokens: the caller's cap on the answer; None: none.
        stream: whether the caller reads a stream; None: as agents of the scenario do.
        needs: capabilities the endpoint must have.
        optional: the visits of optional steps that it belongs to, outermost first (`agentsched.core.optional`).
    """

    step: str
    input_tokens: int
    output_tokens: int
    tool_s: float
    parents: tuple[int, ...]
    lineage: int
    min_quality: float
    noise: float
    ideal_s: float
    rest_s: float
    wait_s: float = 0.0
    model: str = MODEL
    max_tokens: int | None = None
    stream: bool | None = None
    needs: frozenset[str] = frozenset()
    optional: tuple[str, ...] = ()


@value()
class RunPlan:
    """One run of a workflow.

    Attributes:
        index: its number, by arrival.
        workflow: the workflow's name.
        client: number of the client process that runs it.
        arrival_s: when it begins, seconds since the start.
        deadline_s: the time it is given, seconds; None: it has no deadline.
        ideal_s: its critical path with every call at its ideal and every tool, seconds.
        calls: at least one.
        tail_s: seconds of the agent's own work after the last answer; the run ends after it.
        priority, tenant, max_cost_usd: see `SLO`.
    """

    index: int
    workflow: str
    client: int
    arrival_s: float
    deadline_s: float | None
    ideal_s: float
    calls: tuple[CallPlan, ...]
    tail_s: float = 0.0
    priority: int = 0
    tenant: str = "default"
    max_cost_usd: float | None = None


@value()
class Drawn:
    """One run whose arrival, deadline and client are not yet settled.

    Attributes:
        recorded_deadline_s: what it was given when it was recorded, seconds; None: nothing.
        arrival_s: when it began when it was recorded, seconds since any instant; None: not told.

    The rest is as in `RunPlan`.
    """

    workflow: str
    ideal_s: float
    calls: tuple[CallPlan, ...]
    tail_s: float = 0.0
    recorded_deadline_s: float | None = None
    arrival_s: float | None = None
    priority: int = 0
    tenant: str = "default"
    max_cost_usd: float | None = None

    def plan(self, *, index: int, client: int, arrival_s: float, deadline_s: float | None) -> RunPlan:
        """The run, its arrival, deadline and client settled."""
        return RunPlan(
            index=index,
            workflow=self.workflow,
            client=client,
            arrival_s=arrival_s,
            deadline_s=deadline_s,
            ideal_s=self.ideal_s,
            calls=self.calls,
            tail_s=self.tail_s,
            priority=self.priority,
            tenant=self.tenant,
            max_cost_usd=self.max_cost_usd,
        )


def critical_path(
    times_s: Sequence[float],
    tools_s: Sequence[float],
    parents: Sequence[Sequence[int]],
    waits_s: Sequence[float] | None = None,
) -> tuple[float, list[float]]:
    """The length of a run and what follows each of its calls, when nothing waits but for its parents.

    The tool time after a call that nothing follows is not part of the run.

    Args:
        times_s: seconds of each call.
        tools_s: seconds after each call before what follows it.
        parents: for each call the numbers of those before it, all smaller than its own.
        waits_s: seconds before each call, after its parents and their tools; None: 0 for all.

    Returns:
        Seconds from the start to the last answer, and for each call seconds from its answer to the last one.
    """
    if waits_s is not None:
        times_s = [wait_s + time_s for wait_s, time_s in zip(waits_s, times_s, strict=True)]
    ends_s: list[float] = []
    for k, before in enumerate(parents):
        ends_s.append(max((ends_s[p] + tools_s[p] for p in before), default=0.0) + times_s[k])
    tails_s = [0.0] * len(times_s)
    for k in range(len(times_s) - 1, -1, -1):
        for p in parents[k]:
            tails_s[p] = max(tails_s[p], tools_s[p] + times_s[k] + tails_s[k])
    return max(ends_s), tails_s
