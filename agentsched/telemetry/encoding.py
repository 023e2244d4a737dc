"""Records of the scheduler, turned into the lines of the decision log."""

import math
from collections import OrderedDict
from collections.abc import Mapping
from json import JSONEncoder
from typing import Any, TypeVar

import numpy as np
import orjson

from agentsched.core.call import Observation
from agentsched.core.decision import Decision
from agentsched.core.records import CallEnded, Feedback, Note, Review, RunClosed, RunOpened
from agentsched.telemetry.schema import SCHEMA_VERSION

__all__ = ["LogEncoder"]

_T = TypeVar("_T")

_REMEMBERED = 10_000
"""Open runs and calls whose beginnings are kept until their ends come; the oldest are forgotten beyond that."""

_RIVALS = 8
"""Rivals of a decision that are written, best first: a pool of 512 would make lines of 10 kB."""


def _plain(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a record holds a {type(value).__name__}, which the log has no form for")


_to_ascii = JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain).encode


def _to_line(fields: Mapping[str, Any]) -> bytes:
    """The JSON and its line end, in ASCII whatever people write, so that nothing splits a line but its end.

    orjson takes a fifth of the standard library's time, which serves for the rest: text outside ASCII, half a surrogate
    pair, an integer of more than 64 bits.
    """
    try:
        line = orjson.dumps(fields, default=_plain, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        line = b"\xff"
    return line if line.isascii() else (_to_ascii(fields) + "\n").encode("ascii")


class LogEncoder:
    """Turns records into lines, in the order of their emission.

    It remembers when each run began, to tell times within it, and a call's decisions, which its line holds.

    Args:
        wall_offset_s: wall clock minus monotonic clock, seconds.
        prompts: whether the heads of prompts may be written.
    """

    def __init__(self, *, wall_offset_s: float, prompts: bool) -> None:
        self._offset_s, self._prompts = wall_offset_s, prompts
        self._began: OrderedDict[str, float] = OrderedDict()
        self._decided: OrderedDict[str, list[Decision]] = OrderedDict()

    def line(self, record: object) -> bytes | None:
        """The line of this record, with its line end; None for what is only remembered.

        Raises:
            TypeError: it is no record, or holds a value that has no form in JSON.
        """
        fields = self._fields(record)
        return None if fields is None else _to_line(fields)

    def lost_line(self, count: int, *, at: float) -> bytes:
        """The line that says how many records are missing; ``at`` is an instant on the monotonic clock."""
        fields = {"record": "lost", "schema": SCHEMA_VERSION, "at_s": self._wall(at), "records": count}
        return _to_line(fields)

    def _fields(self, record: object) -> Mapping[str, Any] | None:
        match record:
            case Decision():
                _remember(self._decided, record.call_id, self._decided.get(record.call_id, [])).append(record)
                return None
            case RunOpened():
                _remember(self._began, record.run.run_id, record.run.started_at)
                return None
            case Observation():
                return self._attempt(record)
            case CallEnded():
                return self._call(record)
            case RunClosed():
                return self._run(record)
            case Note():
                return self._note(record)
            case Feedback():
                return self._feedback(record)
            case _:
                raise TypeError(f"not a record of the decision log: {type(record).__name__}")

    def _run(self, ended: RunClosed) -> Mapping[str, Any]:
        run = ended.run
        return {
            "record": "run",
            "schema": SCHEMA_VERSION,
            "run_id": run.run_id,
            "workflow": run.workflow,
            "parent_run_id": run.parent_run_id,
            "tenant": run.tenant,
            "arrival_s": self._wall(run.started_at),
            "deadline_s": _number(run.deadline_s),
            "bound_s": None if run.deadline_at is None else _number(run.deadline_at - run.started_at),
            "slo": {
                "deadline_s": _number(run.deadline_s),
                "percentile": _number(run.percentile),
                "max_cost_usd": _money(run.max_cost_usd),
                "min_quality": _number(run.min_quality),
                "priority": run.priority,
                "on_late": run.on_late,
            },
            "outcome": ended.outcome,
            "elapsed_s": _number(ended.ended_at - run.started_at),
            "calls": ended.calls,
            "attempts": ended.attempts,
            "input_tokens": ended.input_tokens,
            "output_tokens": ended.output_tokens,
            "cost_usd": _money(ended.cost_usd),
            "wasted_tokens": ended.wasted_tokens,
            "wasted_usd": _money(ended.wasted_usd),
            "skipped": list(ended.skipped),
        }

    def _call(self, ended: CallEnded) -> Mapping[str, Any]:
        call, arrived_at = ended.call, ended.arrived_at
        due_at = call.deadline_at if call.due_at is None else call.due_at
        return {
            "record": "call",
            "schema": SCHEMA_VERSION,
            "run_id": call.run_id,
            "workflow": call.workflow,
            "step": call.step,
            "call_id": call.call_id,
            "call_index": call.call_index,
            "parents": list(call.parents),
            "at_s": self._wall(arrived_at),
            "start_s": self._within(call.run_id, arrived_at),
            "tool_s": _number(call.tool_s),
            "model": call.model,
            "endpoint": ended.endpoint,
            "api": call.api,
            "stream": call.stream,
            "input_tokens": ended.input_tokens,
            "estimated_input_tokens": call.input_tokens,
            "cached_input_tokens": ended.cached_input_tokens,
            "output_tokens": ended.output_tokens,
            "max_tokens": call.max_tokens,
            "queued_s": _number(ended.queued_s),
            "ttft_s": _number(ended.ttft_s),
            "e2e_s": _number(ended.ended_at - arrived_at),
            "status": ended.status,
            "detail": ended.detail or None,
            "attempts": ended.attempts,
            "retries": ended.retries,
            "cost_usd": _money(ended.cost_usd),
            "wasted_tokens": ended.wasted_tokens,
            "wasted_usd": _money(ended.wasted_usd),
            "decisions": [_decision(one, arrived_at) for one in self._decided.pop(call.call_id, ())],
            "reviews": [_review(one, arrived_at) for one in ended.reviews],
            "slack_s": None if due_at is None else _number(due_at - arrived_at),
            "patience_s": _number(call.patience_s),
            "needs": sorted(call.needs),
            "repeatable": call.repeatable,
            "pinned": call.pinned,
            "prefix": f"{call.prefix:x}" if call.prefix else None,
            "min_quality": _number(call.min_quality),
            "priority": call.priority,
            "tenant": call.tenant,
            "hinted_output_tokens": call.hinted_output_tokens,
            "remaining_calls": _number(call.remaining_calls),
            "optional": list(call.optional),
            "prompt": (call.prompt_head or None) if self._prompts else None,
        }

    def _attempt(self, seen: Observation) -> Mapping[str, Any]:
        return {
            "record": "attempt",
            "schema": SCHEMA_VERSION,
            "run_id": seen.run_id,
            "attempt_id": seen.attempt_id,
            "call_id": seen.call_id,
            "workflow": seen.workflow,
            "step": seen.step,
            "endpoint": seen.endpoint,
            "model": seen.model,
            "at_s": self._wall(seen.started_at),
            "start_s": self._within(seen.run_id, seen.started_at),
            "ttft_s": _number(seen.ttft_s),
            "e2e_s": _number(seen.e2e_s),
            "input_tokens": seen.input_tokens,
            "cached_input_tokens": seen.cached_input_tokens,
            "output_tokens": seen.output_tokens,
            "max_tokens": seen.max_tokens,
            "status": seen.status,
            "detail": seen.detail or None,
            "stream": seen.stream,
            "cost_usd": _money(seen.cost_usd),
            "predicted_ttft_s": _number(seen.predicted_ttft_s),
            "predicted_e2e_s": _number(seen.predicted_e2e_s),
            "in_flight": seen.in_flight,
            "continued_tokens": seen.continued_tokens,
        }

    def _note(self, note: Note) -> Mapping[str, Any]:
        return {
            "record": "note",
            "schema": SCHEMA_VERSION,
            "at_s": self._wall(note.at),
            "subject": note.subject,
            "text": note.text,
        }

    def _feedback(self, given: Feedback) -> Mapping[str, Any]:
        return {
            "record": "feedback",
            "schema": SCHEMA_VERSION,
            "run_id": given.run_id,
            "at_s": self._wall(given.at),
            "score": given.score,
        }

    def _wall(self, at: float) -> float | None:
        return _number(at + self._offset_s)

    def _within(self, run_id: str, at: float) -> float | None:
        began = self._began.get(run_id)
        return None if began is None else _number(at - began)


def _decision(decision: Decision, arrived_at: float) -> Mapping[str, Any]:
    return {
        "attempt_id": decision.attempt_id,
        "endpoint": decision.endpoint,
        "why": decision.why,
        "policy": decision.policy,
        "after_s": _number(decision.at - arrived_at),
        "waited_s": _number(decision.waited_s),
        "slack_s": _number(decision.slack_s),
        "p_meet": _number(decision.p_meet),
        "predicted_ttft_s": _number(decision.ttft_s),
        "predicted_e2e_s": _number(decision.e2e_s),
        "predicted_e2e_p95_s": _number(decision.e2e_p95_s),
        "predicted_output_tokens": _number(decision.output_tokens),
        "score": _number(decision.score),
        "rivals": [[name, _number(score)] for name, score in decision.rivals[:_RIVALS]],
        "p_stay": _number(decision.p_stay),
        "p_switch": _number(decision.p_switch),
    }


def _review(review: Review, arrived_at: float) -> Mapping[str, Any]:
    return {
        "attempt_id": review.attempt_id,
        "after_s": _number(review.at - arrived_at),
        "verdict": review.verdict,
        "why": review.why,
        "p_stay": _number(review.p_stay),
        "p_switch": _number(review.p_switch),
        "p_dead": _number(review.p_dead),
    }


def _number(value: float | None) -> float | None:
    """To the microsecond; what is not finite (a wait without end, say) is null, for JSON has no form for it."""
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _money(value: float | None) -> float | None:
    """To the billionth of a dollar: one token of a small model costs about 1e-8."""
    return None if value is None or not math.isfinite(value) else round(value, 9)


def _remember(memory: OrderedDict[str, _T], key: str, value: _T) -> _T:
    memory[key] = value
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
    return value
