import json
from pathlib import Path

import jsonschema
import pytest

from agentsched.core.records import Feedback, Note
from agentsched.telemetry import parsing, run_log
from agentsched.telemetry.encoding import LogEncoder
from agentsched.telemetry.schema import DECISION_FIELDS, FIELDS, REVIEW_FIELDS, SLO_FIELDS, log_schema


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(log_schema())
    return jsonschema.Draft202012Validator(log_schema())


@pytest.fixture
def real_lines(make, encode):
    lost = LogEncoder(wall_offset_s=0.0, prompts=False).lost_line(3, at=5.0)
    return [
        json.loads(line)
        for line in (
            *encode(
                make.run_opened(),
                make.decision(p_meet=None, slack_s=None),
                make.attempt(status="left", ttft_s=None, detail="silent for 1.40 s"),
                make.call_ended(
                    make.call(needs=frozenset({"tools"}), prefix=255, parents=("c0",)), status="left", endpoint=None
                ),
                make.run_closed(),
                Note(1.0, "b", "breaker opened"),
                Feedback("r1", 1.0, 2.0),
            ),
            lost,
        )
    ]


def test_every_kind_of_real_line_satisfies_the_schema(validator, real_lines):
    assert {line["record"] for line in real_lines} == set(FIELDS)
    for line in real_lines:
        validator.validate(line)


def test_real_lines_hold_exactly_the_documented_fields(real_lines):
    for line in real_lines:
        assert set(line) - {"record", "schema"} == {field.name for field in FIELDS[line["record"]]}
        for decision in line.get("decisions", ()):
            assert set(decision) == {field.name for field in DECISION_FIELDS}
        if "slo" in line:
            assert set(line["slo"]) == {field.name for field in SLO_FIELDS}


def test_a_minimal_trace_and_unknown_fields_are_allowed(validator):
    validator.validate(
        {"record": "call", "schema": 1, "run_id": 7, "parents": [0, "c1"], "output_tokens": None, "mood": {}}
    )


@pytest.mark.parametrize(
    "line",
    [
        {"record": "call", "schema": 1},
        {"record": "call", "schema": 2, "run_id": "r"},
        {"record": "cal", "schema": 1, "run_id": "r"},
        {"record": "call", "schema": 1, "run_id": None},
        {"record": "call", "schema": 1, "run_id": "r", "ttft_s": "soon"},
        {"record": "call", "schema": 1, "run_id": "r", "output_tokens": -1},
        {"record": "call", "schema": 1, "run_id": "r", "decisions": [{"p_meet": "high"}]},
        {"record": "run", "schema": 1, "run_id": "r", "slo": {"percentile": "95"}},
    ],
)
def test_what_is_wrong_does_not_pass_and_the_reader_agrees(validator, line):
    assert not validator.is_valid(line)
    with pytest.raises(ValueError):
        parsing.parse_line(json.dumps(line))


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("run", run_log.RunLine),
        ("call", run_log.CallLog),
        ("attempt", run_log.AttemptLog),
        ("note", run_log.NoteLine),
        ("feedback", run_log.FeedbackLine),
        ("lost", run_log.LostLine),
    ],
)
def test_readers_get_every_field_by_its_name(kind, made):
    assert {field.name for field in FIELDS[kind]} | {"extra"} == set(made._fields)


def test_the_documentation_lists_every_field_as_it_is():
    text = (Path(__file__).parents[2] / "docs" / "decision-log.md").read_text()
    for fields in (*FIELDS.values(), SLO_FIELDS, DECISION_FIELDS, REVIEW_FIELDS):
        for field in fields:
            required = " (required)" if field.required else ""
            assert f"| `{field.name}`{required} | {field.kind} | {field.about} |" in text
