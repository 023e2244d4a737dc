"""What a run will do if nobody hinders it: its calls with their true sizes, drawn before any policy has a say."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CallPlan", "RunPlan", "critical_path"]


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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
    """

    index: int
    workflow: str
    client: int
    arrival_s: float
    deadline_s: float | None
    ideal_s: float
    calls: tuple[CallPlan, ...]


def critical_path(
    times_s: Sequence[float], tools_s: Sequence[float], parents: Sequence[Sequence[int]]
) -> tuple[float, list[float]]:
    """The length of a run and what follows each of its calls, when nothing waits but for its parents.

    The tool time after a call that nothing follows is not part of the run.

    Args:
        times_s: seconds of each call.
        tools_s: seconds after each call before what follows it.
        parents: for each call the numbers of those before it, all smaller than its own.

    Returns:
        Seconds from the start to the last answer, and for each call seconds from its answer to the last one.
    """
    ends_s: list[float] = []
    for k, before in enumerate(parents):
        ends_s.append(max((ends_s[p] + tools_s[p] for p in before), default=0.0) + times_s[k])
    tails_s = [0.0] * len(times_s)
    for k in range(len(times_s) - 1, -1, -1):
        for p in parents[k]:
            tails_s[p] = max(tails_s[p], tools_s[p] + times_s[k] + tails_s[k])
    return max(ends_s), tails_s
