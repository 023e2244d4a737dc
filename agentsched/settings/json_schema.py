"""The published JSON Schema of the configuration file."""

from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from agentsched.settings.environment import REFERENCE_PATTERN
from agentsched.settings.file_format import PoolFile

__all__ = ["Published", "or_without_value", "properties_at", "properties_in", "settings_schema"]

_REFERENCE: dict[str, Any] = {
    "description": "A text that refers to an environment variable: ${NAME}, ${NAME:-default} or os.environ/NAME.",
    "pattern": REFERENCE_PATTERN,
    "type": "string",
}
_TO_REFERENCE = {"$ref": "#/$defs/Reference"}
_CONSTRAINTS = ("pattern", "enum")


class Published(GenerateJsonSchema):
    """Without the made-up titles that pydantic gives to every property."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def settings_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the configuration file, for editors and other tools.

    Wherever a number, a flag, a URL or one of some names is asked for, a reference to an environment variable is
    allowed too, and wherever a key may be left out, it may stand without a value.
    """
    schema = PoolFile.model_json_schema(schema_generator=Published)
    groups = schema["properties"]["groups"]  # a list of names is short for a mapping that has nothing else
    names = schema["$defs"]["GroupFile"]["properties"]["endpoints"]
    groups["additionalProperties"] = {"anyOf": [groups["additionalProperties"], names, {"type": "null"}]}
    opened = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_with_references(or_without_value(schema))}
    opened["$defs"]["Reference"] = _REFERENCE
    opened["title"] = "agentsched pool configuration"
    return opened


def or_without_value(schema: dict[str, Any]) -> dict[str, Any]:
    """Let every key of a model's schema that may be left out also stand without a value, as it may in a file."""
    definitions = schema.get("$defs", {})
    for one in (schema, *definitions.values()):
        needed = one.get("required", ())
        for name, inner in one.get("properties", {}).items():
            if name not in needed:
                one["properties"][name] = _or_null(inner, definitions)
    return schema


def _or_null(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    null = {"type": "null"}
    if null in schema.get("anyOf", ()):
        return schema
    about: dict[str, Any] = {key: schema.pop(key) for key in ("default", "description") if key in schema}
    if "$ref" in schema:
        about.setdefault("description", definitions[schema["$ref"].rsplit("/", 1)[-1]]["description"])
    options = schema.pop("anyOf") if set(schema) == {"anyOf"} else [schema]
    return {"anyOf": [*options, null], **about}


def _with_references(schema: dict[str, Any]) -> dict[str, Any]:
    """Let every constrained scalar also be a text that holds a reference."""
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            made[key] = {name: _with_references(inner) for name, inner in value.items()}
        elif key in ("anyOf", "oneOf"):
            made["anyOf"] = _alternatives([_with_references(inner) for inner in value])
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            made[key] = _with_references(value)
        else:
            made[key] = value
    if made.get("type") in ("number", "integer", "boolean") or (
        made.get("type") == "string" and any(name in made for name in _CONSTRAINTS)
    ):
        about: dict[str, Any] = {key: made.pop(key) for key in ("description", "default") if key in made}
        return {"anyOf": [made, _TO_REFERENCE], **about}
    return made


def _alternatives(schemas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    flat: list[dict[str, Any]] = []
    for schema in schemas:
        for inner in schema["anyOf"] if set(schema) == {"anyOf"} else [schema]:
            if inner not in flat:
                flat.append(inner)
    return flat


@cache
def _cached_schema() -> dict[str, Any]:
    return settings_schema()


def properties_at(loc: tuple[str | int, ...]) -> frozenset[str]:
    """The keys that the mapping at ``loc`` of a configuration may have; empty: any, or it is no mapping."""
    return properties_in(_cached_schema(), loc)


def properties_in(schema: dict[str, Any], loc: tuple[str | int, ...]) -> frozenset[str]:
    """The keys that the mapping at ``loc`` of a document with this schema may have; empty: any, or it is no mapping."""
    definitions = schema.get("$defs", {})
    here = [schema]
    for part in loc:
        here = [inner for one in here for inner in _step(one, part, definitions)]
    return frozenset(name for one in here for name in one.get("properties", {}))


def _step(schema: dict[str, Any], part: str | int, definitions: dict[str, Any]) -> list[dict[str, Any]]:
    if isinstance(part, int):
        return _followed(schema.get("items"), definitions)
    if part in schema.get("properties", {}):
        return _followed(schema["properties"][part], definitions)
    return _followed(schema.get("additionalProperties"), definitions)


def _followed(schema: object, definitions: dict[str, Any]) -> list[dict[str, Any]]:
    if not isinstance(schema, dict):
        return []
    if "$ref" in schema:
        return _followed(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "anyOf" in schema:
        return [inner for one in schema["anyOf"] for inner in _followed(one, definitions)]
    return [schema]
