"""The fields of the decision log and of recorded traces, one table per kind of record, and their JSON Schema."""

from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "DECISION_FIELDS",
    "FIELDS",
    "REVIEW_FIELDS",
    "SCHEMA_VERSION",
    "SLO_FIELDS",
    "Field",
    "FieldKind",
    "RecordKind",
    "log_schema",
]

SCHEMA_VERSION = 1
"""Raised when the meaning of a field changes; new fields do not raise it, for readers keep what they do not know."""

RecordKind = Literal["run", "call", "attempt", "note", "feedback", "lost"]
FieldKind = Literal["id", "text", "number", "count", "flag", "texts", "ids", "slo", "decisions", "rivals", "reviews"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record: its JSON type, what it says, and whether a line without it is worthless.

    Kinds: ``id`` a text (readers take an integer too); ``number`` any finite number; ``count`` an integer from 0 on;
    ``ids`` a list of ids; the others as named. Every field that is not required may be null or absent.
    """

    name: str
    kind: FieldKind
    about: str
    required: bool = False


_RUN_ID = Field("run_id", "id", "The run it belongs to; unique among all processes that write the log.", True)
_WORKFLOW = Field("workflow", "text", "The workflow's name.")
_STEP = Field("step", "text", "The named place in the workflow.")
_TENANT = Field("tenant", "text", "Whose run it is.")
_AT = Field("at_s", "number", "When it began, seconds since the Unix epoch.")
_START = Field("start_s", "number", "When it began, seconds since the run's arrival.")
_DETAIL = Field("detail", "text", "What went wrong, for people; holds no secret.")
_INPUT = Field("input_tokens", "count", "Prompt tokens.")
_OUTPUT = Field("output_tokens", "count", "Generated tokens.")
_CACHED = Field("cached_input_tokens", "count", "Prompt tokens the server had in its prefix cache, as it said.")
_CAP = Field("max_tokens", "count", "The caller's cap on generated tokens.")
_COST = Field("cost_usd", "number", "What it cost, USD.")
_WASTED = Field("wasted_tokens", "count", "Tokens, prompt and output, beyond those of one unbroken answer.")
_WASTED_USD = Field("wasted_usd", "number", "What those cost, USD.")
_STREAM = Field("stream", "flag", "Whether the caller read a stream.")

SLO_FIELDS = (
    Field("deadline_s", "number", "Time for the whole run, seconds."),
    Field("percentile", "number", "The share of runs that should meet the deadline, in (0, 1)."),
    Field("max_cost_usd", "number", "Cap on the run's money, USD."),
    Field("min_quality", "number", "Endpoints of lower quality were no candidates, from 0 to 1."),
    Field("priority", "number", "Its time was worth 2**priority of a normal run's."),
    Field("on_late", "text", "What was to happen at the deadline."),
)

DECISION_FIELDS = (
    Field("attempt_id", "id", "The attempt it started."),
    Field("endpoint", "text", "Where the attempt was sent."),
    Field("why", "text", "first, retry, left, migrate, degrade, hedge or queued."),
    Field("policy", "text", "The policy that chose."),
    Field("after_s", "number", "When it was decided, seconds since the call's arrival."),
    Field("waited_s", "number", "How long the call had waited for it, seconds."),
    Field("slack_s", "number", "Seconds until the call's deadline; null: no deadline."),
    Field("p_meet", "number", "Probability of meeting the deadline, remainder included; null: no deadline."),
    Field("predicted_ttft_s", "number", "Predicted median time to first token, seconds."),
    Field("predicted_e2e_s", "number", "Predicted median time to the whole answer, seconds."),
    Field("predicted_e2e_p95_s", "number", "The same at the 95th percentile."),
    Field("predicted_output_tokens", "number", "Predicted median of the generated tokens."),
    Field("score", "number", "What the policy chose by; higher is better."),
    Field("rivals", "rivals", "The other candidates as [name, score], best first, at most 8."),
    Field("p_stay", "number", "Probability of an answer in time from the attempt it replaces or runs beside."),
    Field("p_switch", "number", "The same from this one, as they were compared; null: nothing was."),
)

REVIEW_FIELDS = (
    Field("attempt_id", "id", "The attempt it was about; empty: the call had none yet."),
    Field("after_s", "number", "When it was thought about, seconds since the call's arrival."),
    Field("verdict", "text", "keep, hedge, restart, migrate, degrade or skip."),
    Field("why", "text", "The reason for it."),
    Field(
        "p_stay",
        "number",
        "Probability of an answer in time from the attempt, or of the run with an optional step; null: none compared.",
    ),
    Field("p_switch", "number", "The same from the best alternative, or without the step."),
    Field("p_dead", "number", "Probability that the attempt would never have gone on."),
)

_RUN_FIELDS = (
    _RUN_ID,
    _WORKFLOW,
    Field("parent_run_id", "id", "The run it was started by, in this or another process."),
    _TENANT,
    Field("arrival_s", "number", "When the run began, seconds since the Unix epoch."),
    Field("deadline_s", "number", "Time for the whole run as the user asked for it, seconds."),
    Field(
        "bound_s", "number", "Time until it would have been stopped, seconds: outer scopes applied; null: unbounded."
    ),
    Field("slo", "slo", "What the run was asked to achieve."),
    Field("outcome", "text", "ok, late (it returned after its deadline), deadline (it was cut), error or cancelled."),
    Field("elapsed_s", "number", "Seconds from its arrival to its end."),
    Field("calls", "count", "Model calls."),
    Field("attempts", "count", "Tries of those calls at endpoints."),
    _INPUT,
    _OUTPUT,
    _COST,
    _WASTED,
    _WASTED_USD,
    Field("skipped", "texts", "The optional steps that it left out, each as often as it did."),
)

_CALL_FIELDS = (
    _RUN_ID,
    _WORKFLOW,
    _STEP,
    Field("call_id", "id", "Unique within its run."),
    Field("call_index", "count", "0-based position among the run's calls, by arrival."),
    Field("parents", "ids", "The calls whose answers it could have used: call_id or call_index of each."),
    _AT,
    _START,
    Field("tool_s", "number", "Time from the parents' end to this call's start, seconds."),
    Field("model", "text", "The requested model name."),
    Field("endpoint", "text", "Who answered; null: nobody."),
    Field("api", "text", "chat/completions, completions or responses."),
    _STREAM,
    _INPUT,
    Field("estimated_input_tokens", "count", "Prompt tokens as they were estimated when it was placed."),
    _CACHED,
    _OUTPUT,
    _CAP,
    Field("queued_s", "number", "Time without an attempt before it was answered, seconds."),
    Field("ttft_s", "number", "Time from its arrival to the first token, seconds; null: none was seen."),
    Field("e2e_s", "number", "Time from its arrival to its end, seconds."),
    Field("status", "text", "ok, skipped (its optional step was left out), or the kind of failure."),
    _DETAIL,
    Field("attempts", "count", "Tries at endpoints."),
    Field("retries", "count", "Tries after a failed one."),
    _COST,
    _WASTED,
    _WASTED_USD,
    Field("decisions", "decisions", "Where each attempt was sent and why, in order."),
    Field("reviews", "reviews", "Second thoughts about it, where verdict or reason changed; at most 8."),
    Field("slack_s", "number", "Seconds from its arrival to the instant by which it had to be answered."),
    Field("patience_s", "number", "The caller's own timeout, seconds."),
    Field("needs", "texts", "Capabilities the endpoint had to have."),
    Field("repeatable", "flag", "Whether it could be sent more than once."),
    Field("pinned", "text", "The only endpoint that could serve it."),
    Field("prefix", "id", "Hash of the prompt's leading part, hexadecimal; equal prefixes share a cache."),
    Field("min_quality", "number", "The endpoint quality it needed, in [0, 1]."),
    Field("priority", "number", "See SLO: its time is worth 2**priority."),
    _TENANT,
    Field("hinted_output_tokens", "count", "Generated tokens, as the user foretold."),
    Field("remaining_calls", "number", "Calls still to come in series, as the user foretold."),
    Field("optional", "texts", "The visits (step#number) of optional steps that it belonged to, outermost first."),
    Field("prompt", "text", "The head of its last message; only where logging prompts was switched on."),
)

_ATTEMPT_FIELDS = (
    _RUN_ID,
    Field("attempt_id", "id", "Unique within its run."),
    Field("call_id", "id", "The call it was a try of."),
    _WORKFLOW,
    _STEP,
    Field("endpoint", "text", "Where it was sent."),
    Field("model", "text", "The requested model name."),
    _AT,
    _START,
    Field("ttft_s", "number", "Time from its start to the first token, seconds; null: none came."),
    Field("e2e_s", "number", "Time from its start to its end, seconds."),
    _INPUT,
    _CACHED,
    _OUTPUT,
    _CAP,
    Field("status", "text", "ok, or the kind of failure."),
    _DETAIL,
    _STREAM,
    _COST,
    Field("predicted_ttft_s", "number", "Median time to first token predicted when it was placed, seconds."),
    Field("predicted_e2e_s", "number", "Median time to the whole answer predicted when it was placed, seconds."),
    Field("in_flight", "count", "Own calls at that endpoint when it started."),
    Field("continued_tokens", "count", "Output tokens of an earlier attempt that it went on from."),
)

FIELDS: dict[RecordKind, tuple[Field, ...]] = {
    "run": _RUN_FIELDS,
    "call": _CALL_FIELDS,
    "attempt": _ATTEMPT_FIELDS,
    "note": (
        _AT,
        Field("subject", "text", "What it is about, e.g. an endpoint's name."),
        Field("text", "text", "What an operator should know."),
    ),
    "feedback": (_RUN_ID, _AT, Field("score", "number", "How good the run's result was; higher is better.", True)),
    "lost": (_AT, Field("records", "count", "Records that could not be written since the last such line.", True)),
}
"""The fields of each kind of record, beside ``record`` and ``schema`` which every line has."""

_ABOUT: dict[RecordKind, str] = {
    "run": "One execution of a workflow; written when it ends.",
    "call": "One model call, whatever number of attempts it took; written when it ends.",
    "attempt": "One try of a call at one endpoint; written when it ends.",
    "note": "Something an operator should know.",
    "feedback": "How good a run's result was.",
    "lost": "The log could not keep up, or could not be written, for a while.",
}

_JSON_TYPES: dict[FieldKind, dict[str, Any]] = {
    "id": {"type": ["string", "integer", "null"]},
    "text": {"type": ["string", "null"]},
    "number": {"type": ["number", "null"]},
    "count": {"type": ["integer", "null"], "minimum": 0},
    "flag": {"type": ["boolean", "null"]},
    "texts": {"type": ["array", "null"], "items": {"type": "string"}},
    "ids": {"type": ["array", "null"], "items": {"type": ["string", "integer"]}},
    "rivals": {
        "type": ["array", "null"],
        "items": {"type": "array", "prefixItems": [{"type": "string"}, {"type": ["number", "null"]}]},
    },
}


def log_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that every line of a decision log, and of a recorded trace, satisfies.

    A trace that was recorded elsewhere needs no more than ``record``, ``schema`` and the required fields; what is
    missing is null, and fields that are not listed are allowed.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:agentsched:decision-log:{SCHEMA_VERSION}",
        "title": "agentsched decision log",
        "description": "One JSON object per line. Times in seconds, money in USD, lengths in tokens.",
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in FIELDS],
        "$defs": {
            **{kind: _record_schema(kind) for kind in FIELDS},
            "slo": _object_schema(SLO_FIELDS),
            "decision": _object_schema(DECISION_FIELDS),
            "review": _object_schema(REVIEW_FIELDS),
        },
    }


def _record_schema(kind: RecordKind) -> dict[str, Any]:
    schema = _object_schema(FIELDS[kind])
    head = {"record": {"const": kind}, "schema": {"const": SCHEMA_VERSION}}
    return {
        "description": _ABOUT[kind],
        "type": "object",
        "properties": head | schema["properties"],
        "required": ["record", "schema", *(field.name for field in FIELDS[kind] if field.required)],
    }


def _object_schema(fields: tuple[Field, ...]) -> dict[str, Any]:
    return {"type": ["object", "null"], "properties": {field.name: _field_schema(field) for field in fields}}


def _field_schema(field: Field) -> dict[str, Any]:
    if field.kind == "slo":
        schema: dict[str, Any] = {"$ref": "#/$defs/slo"}
    elif field.kind == "decisions":
        schema = {"type": ["array", "null"], "items": {"$ref": "#/$defs/decision"}}
    elif field.kind == "reviews":
        schema = {"type": ["array", "null"], "items": {"$ref": "#/$defs/review"}}
    else:
        schema = dict(_JSON_TYPES[field.kind])
    if field.required:
        schema["type"] = [name for name in schema["type"] if name != "null"]
    return {"description": field.about, **schema}
