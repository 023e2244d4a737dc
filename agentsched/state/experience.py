"""What outlives a process: past runs, from which every learner learns anew, structures of workflows, endpoint speeds.

A run is kept as its calls were told to the learners, without prompts and answers (of a prompt only its hashed words):
a learner of another version can make of it what it likes. Endpoints go by the keys of `agentsched.state.contents`:
no address and no credential is in the file.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from agentsched.core.call import ModelCall, RunInfo
from agentsched.core.records import CallEnded, RunClosed

__all__ = ["EndpointSpeed", "PastLessons", "packed_run", "unpacked_run"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class EndpointSpeed:
    """How fast an endpoint was when it was last seen; as in `agentsched.core.shared.EndpointKnowledge`.

    Attributes:
        key: the endpoint's key.
        name: its name in the configuration of whoever wrote it, for people.
        tpot_s, tpot_count: time per output token of a call that is alone, and answers it was learned from.
        ttft_idle_s, ttft_count: time to first token when idle, likewise.
        age_s: since it was written, seconds.
    """

    key: str
    name: str
    tpot_s: float
    tpot_count: float
    ttft_idle_s: float
    ttft_count: float
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PastLessons:
    """One run as the learners are told of it: its calls in the order in which they ended, then its end."""

    calls: tuple[CallEnded, ...]
    closed: RunClosed


def packed_run(calls: Sequence[CallEnded], closed: RunClosed) -> bytes:
    """A run in few bytes; instants become seconds since its start."""
    start = closed.run.started_at
    index = {record.call.call_id: record.call.call_index for record in calls}
    rows = [
        [
            record.call.step,
            record.call.model,
            record.call.call_index,
            [index[parent] for parent in record.call.parents if parent in index],
            round(record.arrived_at - start, 4),
            round(record.ended_at - start, 4),
            record.status,
            record.input_tokens,
            record.output_tokens,
            record.call.input_tokens,
            record.call.max_tokens,
            round(record.call.tool_s, 4),
            b64encode(record.call.features).decode("ascii"),
            *([list(record.call.optional)] if record.call.optional else []),
        ]
        for record in calls
    ]
    head = [_VERSION, closed.run.workflow, closed.outcome, round(closed.ended_at - start, 4)]
    return zlib.compress(orjson.dumps([head, rows]), 1)


def unpacked_run(packed: bytes, run_id: str) -> PastLessons:
    """What `packed_run` made, as a run of this name that began at 0.

    Raises:
        ValueError: it is not of that form, or of another version.
    """
    try:
        head, rows = orjson.loads(zlib.decompress(packed))
        version, workflow, outcome, took_s = head
        if version != _VERSION:
            raise ValueError(f"version {version}")
        calls = tuple(_call(row, run_id, workflow) for row in rows)
        run = RunInfo(run_id, str(workflow), 0.0)
        closed = RunClosed(run, float(took_s), str(outcome), len(calls), len(calls), 0, 0, 0.0)
    except (zlib.error, TypeError, KeyError) as error:
        raise ValueError(f"not a run: {error}") from error
    return PastLessons(calls, closed)


def _call(row: Sequence[Any], run_id: str, workflow: str) -> CallEnded:
    step, model, index, parents, arrived, ended, status, read, written, estimated, most, tool_s, features, *more = row
    place = int(index)
    call = ModelCall(
        call_id=f"{run_id}-{place}",
        run_id=run_id,
        workflow=workflow,
        step=str(step),
        call_index=place,
        model=str(model),
        input_tokens=int(estimated),
        max_tokens=None if most is None else int(most),
        parents=tuple(f"{run_id}-{int(parent)}" for parent in parents),
        tool_s=float(tool_s),
        features=b64decode(features, validate=True),
        optional=tuple(str(visit) for visit in more[0]) if more else (),
    )
    return CallEnded(
        call=call,
        arrived_at=float(arrived),
        ended_at=float(ended),
        status=str(status),
        endpoint=None,
        attempts=1,
        retries=0,
        queued_s=0.0,
        ttft_s=None,
        input_tokens=int(read),
        output_tokens=int(written),
        cached_input_tokens=None,
        cost_usd=0.0,
    )
