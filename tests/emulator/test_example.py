"""Minimal instances satisfy their schemas."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel, Field

from agentsched.emulator.example import minimal_instance


class _Leaf(BaseModel):
    name: str = Field(min_length=3)
    kind: str | None


class _Tree(BaseModel):
    leaves: list[_Leaf] = Field(min_length=2)
    best: _Leaf
    score: float = Field(gt=0, le=1)
    count: int = Field(ge=5)


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object"},
    {},
    {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": False},
    {"type": "array", "items": {"type": "string", "minLength": 5}, "minItems": 2},
    {"enum": ["red", "green"]},
    {"const": 7},
    {"type": ["string", "null"], "maxLength": 1},
    {"type": "number", "exclusiveMinimum": 2, "exclusiveMaximum": 3},
    {"type": "integer", "exclusiveMinimum": 2, "multipleOf": 5},
    {"type": "number", "maximum": -4},
    {"type": "boolean"},
    {"type": "null"},
    {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    {"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"required": ["b"]}], "type": "object"},
    {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string", "minLength": 1}}},
    _Tree.model_json_schema(),
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: str(schema)[:40])
def test_the_instance_is_valid(schema: dict[str, Any]) -> None:
    jsonschema.validate(minimal_instance(schema), schema)


def test_a_schema_that_contains_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert isinstance(minimal_instance(node), dict)
