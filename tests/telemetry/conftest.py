"""Records as the scheduler makes them, with every field that does not matter to the test filled in."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from agentsched.core.call import ModelCall, Observation, RunInfo
from agentsched.core.decision import Decision
from agentsched.core.records import CallEnded, RunClosed, RunOpened
from agentsched.telemetry.encoding import LogEncoder

OFFSET_S = 1_700_000_000.0


def _run(run_id: str = "r1", **over: Any) -> RunInfo:
    fields: dict[str, Any] = {"workflow": "answer", "started_at": 100.0, "deadline_at": 110.0, "deadline_s": 10.0}
    return RunInfo(run_id, **(fields | over))


def _call(call_id: str = "c1", **over: Any) -> ModelCall:
    fields = {"run_id": "r1", "workflow": "answer", "step": "plan", "call_index": 0, "model": "big", "input_tokens": 90}
    return ModelCall(call_id, **(fields | over))


def _decision(attempt_id: str = "a1", **over: Any) -> Decision:
    fields: dict[str, Any] = {
        "call_id": "c1",
        "run_id": "r1",
        "step": "plan",
        "at": 100.5,
        "endpoint": "a",
        "why": "first",
        "policy": "test",
        "slack_s": 9.5,
        "p_meet": 0.9,
        "ttft_s": 0.5,
        "e2e_s": 2.0,
        "e2e_p95_s": 3.0,
        "output_tokens": 100.0,
        "score": 0.9,
        "waited_s": 0.0,
        "rivals": (("b", 0.7),),
    }
    return Decision(attempt_id=attempt_id, **(fields | over))


def _attempt(attempt_id: str = "a1", **over: Any) -> Observation:
    fields: dict[str, Any] = {
        "call_id": "c1",
        "run_id": "r1",
        "workflow": "answer",
        "step": "plan",
        "endpoint": "a",
        "model": "big-a",
        "started_at": 100.5,
        "ttft_s": 0.5,
        "e2e_s": 2.0,
        "input_tokens": 90,
        "output_tokens": 100,
        "cached_input_tokens": None,
        "max_tokens": None,
        "status": "ok",
    }
    return Observation(attempt_id, **(fields | over))


def _call_ended(call: ModelCall | None = None, **over: Any) -> CallEnded:
    fields: dict[str, Any] = {
        "arrived_at": 100.5,
        "ended_at": 102.5,
        "status": "ok",
        "endpoint": "a",
        "attempts": 1,
        "retries": 0,
        "queued_s": 0.0,
        "ttft_s": 0.5,
        "input_tokens": 90,
        "output_tokens": 100,
        "cached_input_tokens": None,
        "cost_usd": 0.001,
    }
    return CallEnded(call or _call(), **(fields | over))


def _run_closed(run: RunInfo | None = None, **over: Any) -> RunClosed:
    fields: dict[str, Any] = {
        "ended_at": 103.0,
        "outcome": "ok",
        "calls": 1,
        "attempts": 1,
        "input_tokens": 90,
        "output_tokens": 100,
        "cost_usd": 0.001,
    }
    return RunClosed(run or _run(), **(fields | over))


@pytest.fixture
def make() -> SimpleNamespace:
    """Factories of every record; each takes the fields that matter as keywords."""
    return SimpleNamespace(
        run=_run,
        call=_call,
        decision=_decision,
        attempt=_attempt,
        call_ended=_call_ended,
        run_opened=lambda **over: RunOpened(_run(**over)),
        run_closed=_run_closed,
    )


@pytest.fixture
def encode() -> Callable[..., list[bytes]]:
    """Turns records into lines with a fresh encoder."""

    def lines(*records: object, prompts: bool = False) -> list[bytes]:
        encoder = LogEncoder(wall_offset_s=OFFSET_S, prompts=prompts)
        return [line for line in map(encoder.line, records) if line is not None]

    return lines
