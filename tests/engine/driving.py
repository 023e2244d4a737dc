"""Driving an engine model on virtual time, and looking at what came out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from agentsched.engine import Rejection, Request, ServingModel


@dataclass(frozen=True)
class Submit:
    at_s: float
    request: Request


@dataclass(frozen=True)
class Abort:
    at_s: float
    request_id: str


@dataclass
class Run:
    """Everything that a run produced, per request."""

    token_times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    finished: dict[str, float] = field(default_factory=dict)
    aborted: dict[str, float] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    rejected: dict[str, Rejection] = field(default_factory=dict)
    cached: dict[str, int] = field(default_factory=dict)
    preempted: list[str] = field(default_factory=list)

    def ttft_s(self, request_id: str) -> float:
        return self.token_times[request_id][0]


def drive(
    model: ServingModel,
    operations: Iterable[Submit | Abort],
    *,
    stops: Literal["steps", "events"] = "steps",
    check: Callable[[], None] = lambda: None,
) -> Run:
    """Run the operations, in order of time, to the end of all work."""
    run = Run()
    for operation in sorted(operations, key=lambda operation: operation.at_s):
        _advance(model, operation.at_s, run, stops, check)
        if isinstance(operation, Submit):
            rejection = model.submit(operation.request, operation.at_s)
            if rejection is not None:
                run.rejected[operation.request.request_id] = rejection
        else:
            _collect(model, operation.at_s, run)
            if model.abort(operation.request_id, operation.at_s):
                run.aborted[operation.request_id] = operation.at_s
        check()
    _advance(model, float("inf"), run, stops, check)
    return run


def _advance(model: ServingModel, until: float, run: Run, stops: str, check: Callable[[], None]) -> None:
    step = model.next_step_at if stops == "steps" else model.next_event_at
    while (at := step()) is not None and at <= until:
        _collect(model, at, run)
        check()
    if until < float("inf"):
        _collect(model, until, run)


def _collect(model: ServingModel, now: float, run: Run) -> None:
    for emission in model.advance(now):
        for request_id in emission.decoded:
            run.token_times[request_id] += [emission.due_s(step) for step in range(1, emission.steps + 1)]
        for request_id, cached in zip(emission.prefilled, emission.cached_tokens, strict=True):
            run.token_times[request_id].append(emission.end_s)
            run.cached.setdefault(request_id, cached)
        for request_id in emission.finished:
            assert request_id not in run.finished, "finished twice"
            run.finished[request_id] = emission.end_s
        for request_id in emission.failed:
            run.failed[request_id] = emission.end_s
        run.preempted += emission.preempted
