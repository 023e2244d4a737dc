"""A minimal instance of a JSON schema: what an emulated model answers when it must answer in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["minimal_instance"]

_MAX_DEPTH = 32


def minimal_instance(schema: Mapping[str, Any]) -> Any:
    """Return a small value that the schema accepts: required properties only, shortest lists, least numbers.

    Understands type, enum, const, default, properties, required, items, anyOf, oneOf, allOf, $ref into the schema
    itself, and the bounds on numbers, texts and lists. Patterns and formats are not looked at.
    """
    return _instance(schema, schema, 0)


def _instance(schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "default" in schema:
        return schema["default"]
    if "$ref" in schema:
        return _instance(_resolve(str(schema["$ref"]), root), root, depth + 1)
    for word in ("anyOf", "oneOf"):
        if schema.get(word):
            return _instance(schema[word][0], root, depth + 1)
    if schema.get("allOf"):
        return _instance(_merged(schema, root), root, depth + 1)
    return _by_type(schema, root, depth)


def _by_type(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "object"
    if kind == "object":
        properties = schema.get("properties") or {}
        return {name: _instance(properties.get(name, {}), root, depth + 1) for name in schema.get("required", ())}
    if kind == "array":
        return [_instance(schema.get("items"), root, depth + 1) for _ in range(int(schema.get("minItems", 0)))]
    if kind in ("integer", "number"):
        return _least_number(schema, whole=kind == "integer")
    if kind == "string":
        return "a" * max(int(schema.get("minLength", 0)), min(2, int(schema.get("maxLength", 2))))
    return False if kind == "boolean" else None


def _least_number(schema: Mapping[str, Any], *, whole: bool) -> int | float:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None:
        value = low + 1 if whole and "exclusiveMinimum" in schema and "minimum" not in schema else low
        if not whole and "exclusiveMinimum" in schema:
            value = (low + high) / 2 if high is not None else low + 1
    elif high is not None and high <= 0:
        value = high - 1
    else:
        value = 0
    step = schema.get("multipleOf")
    if step:
        value = -(-value // step) * step
    return int(value) if whole else value


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    node: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            node = node.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(node, Mapping) else {}
    return node


def _merged(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        branch = _resolve(str(part["$ref"]), root) if isinstance(part, Mapping) and "$ref" in part else part
        if not isinstance(branch, Mapping):
            continue
        for key, value in branch.items():
            if key == "properties":
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required":
                merged[key] = [*merged.get(key, []), *value]
            else:
                merged.setdefault(key, value)
    return merged
