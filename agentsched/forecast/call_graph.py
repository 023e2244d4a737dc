"""A finished run as a graph of calls: where each call stood, and what lay on the critical path after it."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentsched.core.records import CallEnded

__all__ = ["WORK", "CallPlace", "in_order", "places", "work_after"]

Array = NDArray[np.float64]

WORK = ("output_tokens", "prompt_tokens", "calls", "tool_s")
"""The columns of work on a path, in the order of the fields of `RemainderForecast`."""

_NO_WORK = (0.0, 0.0, 0.0, 0.0)

_ROUNDING_S = 1e-6
"""Instants and the seconds between them do not add up to the last digit."""


@dataclass(frozen=True, slots=True)
class CallPlace:
    """Where a call stood in its run, as a predictor could have known when the call was made.

    Attributes:
        step: its step.
        previous: the step of the call that was made before it; empty: it was the first.
        position: calls made before it.
        count: how often its step had come, this call included.
        input_tokens: of its own prompt.
        output_so_far: output tokens of the run's calls that had been answered.
        features: what was looked at of its prompt, packed; may be empty.
    """

    step: str
    previous: str
    position: int
    count: int
    input_tokens: int
    output_so_far: int
    features: bytes


def in_order(calls: Sequence[CallEnded]) -> list[CallEnded]:
    """The calls by arrival."""
    return sorted(calls, key=lambda record: (record.arrived_at, record.call.call_index))


def places(calls: Sequence[CallEnded]) -> list[CallPlace]:
    """Where each of a run's calls stood; ``calls`` in the order of `in_order`."""
    counts: defaultdict[str, int] = defaultdict(int)
    answers = sorted((record.ended_at, record.output_tokens) for record in calls if record.status == "ok")
    result: list[CallPlace] = []
    answered = so_far = 0
    previous = ""
    for position, record in enumerate(calls):
        call = record.call
        while answered < len(answers) and answers[answered][0] <= record.arrived_at:
            so_far += answers[answered][1]
            answered += 1
        counts[call.step] += 1
        result.append(
            CallPlace(call.step, previous, position, counts[call.step], call.input_tokens, so_far, call.features)
        )
        previous = call.step
    return result


def work_after(calls: Sequence[CallEnded], ended_at: float) -> Array:
    """The work on the critical path after each call, shape (len(calls), 4), columns as in `WORK`.

    The critical path is the one that took longest, the agent's own work in between included. What came after the call
    that ended last, until the run's end, is the agent's own work.

    Args:
        calls: a run's calls in the order of `in_order`.
        ended_at: when the run ended.
    """
    children = _children(calls)
    last = max(range(len(calls)), key=lambda i: (calls[i].ended_at, i), default=0)
    took_s = [0.0] * len(calls)
    work: list[tuple[float, float, float, float]] = [_NO_WORK] * len(calls)
    for i in range(len(calls) - 1, -1, -1):
        if i == last:
            took_s[i] = max(0.0, ended_at - calls[i].ended_at)
            work[i] = (0.0, 0.0, 0.0, took_s[i])
        for child in children[i]:
            record, gap_s = calls[child], max(0.0, calls[child].call.tool_s)
            path_s = gap_s + max(0.0, record.ended_at - record.arrived_at) + took_s[child]
            if path_s >= took_s[i]:
                output, prompt, count, tool_s = work[child]
                took_s[i] = path_s
                work[i] = (record.output_tokens + output, record.input_tokens + prompt, 1.0 + count, gap_s + tool_s)
    return np.array(work, dtype=np.float64).reshape(len(calls), len(WORK))


def _children(calls: Sequence[CallEnded]) -> list[list[int]]:
    """Which calls each call was followed by: as lineage tells, else by whichever began after it had ended last.

    A call without parents that tells of time before it goes on from the run's start, or from what there was by then.
    """
    index = {record.call.call_id: i for i, record in enumerate(calls)}
    children: list[list[int]] = [[] for _ in calls]
    by_end = sorted(range(len(calls)), key=lambda i: calls[i].ended_at)
    ends_at = [calls[i].ended_at for i in by_end]
    for i, record in enumerate(calls):
        parents = {index[parent] for parent in record.call.parents if index.get(parent, i) < i}
        if not parents:
            since = record.arrived_at - max(0.0, record.call.tool_s) + _ROUNDING_S
            before = bisect_right(ends_at, since) - 1
            parents = {by_end[before]} if before >= 0 and by_end[before] < i else set()
        for parent in parents:
            children[parent].append(i)
    return children
