"""Scenario files: reading them, those that are shipped, and their published JSON Schema."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agentsched.errors import ConfigError
from agentsched.settings.document import Document, document_of, read_document
from agentsched.settings.json_schema import Published, or_without_value, properties_in
from agentsched.settings.load import in_order, text_of
from agentsched.settings.problems import Loc, SettingsError, shown
from agentsched.settings.validation import Format, mistakes
from agentsched.sim.scenario import Scenario
from agentsched.sim.traces.drawing import trace_arrivals, trace_recording

__all__ = ["load_scenario", "scenario_schema", "shipped_scenarios"]

_BASE, _WORKFLOWS, _WORKLOAD = "base", "workflows", "workload"
_NEEDED = "`base: s1`, for example, and what is to be different; or `version: 1`, `name:`, `endpoints:` and so on"
_FOLDER = "agentsched.sim.scenarios"
_SUFFIX = ".yaml"


def shipped_scenarios() -> tuple[str, ...]:
    """The names of the scenarios that come with agentsched."""
    names = (item.name for item in files(_FOLDER).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def load_scenario(source: str | Path | Mapping[str, object]) -> Scenario:
    """Read a scenario.

    Args:
        source: the path of a YAML file, the name of a shipped scenario, or the content of a file as a mapping. A
            content with ``base:`` (a name, or a path relative to the file) takes from there what it does not say.

    Raises:
        SettingsError: a `ConfigError` that lists everything that is wrong, with file, line and key.
        ConfigError: the file cannot be read, or there is no scenario of this name; or a trace that it names cannot be
            read, with that file, the line and the field.
    """
    document, folder = _document(source, None)
    scenario = _validated(_on_base(document, folder, ()))
    if scenario.workload is not None:
        trace_recording(scenario.workload.trace)
        if scenario.workload.arrivals is not None:
            trace_arrivals(scenario.workload.arrivals)
    return scenario


def _document(source: str | Path | Mapping[str, object], folder: Path | None) -> tuple[Document, Path | None]:
    if isinstance(source, Mapping):
        return _with_paths(document_of(source), folder), folder
    text = str(source)
    if text in shipped_scenarios():
        file = f"{text}{_SUFFIX}"
        return read_document(files(_FOLDER).joinpath(file).read_text(encoding="utf-8"), file=file), None
    path = Path(text).expanduser() if folder is None else folder / Path(text).expanduser()
    if path.suffix not in (_SUFFIX, ".yml"):
        allowed = f"a YAML file, or one of {', '.join(shipped_scenarios())}"
        raise ConfigError("no such scenario", field="scenario", given=text, allowed=allowed)
    return _with_paths(read_document(text_of(path), file=str(path), needed=_NEEDED), path.parent), path.parent


def _with_paths(document: Document, folder: Path | None) -> Document:
    """Paths of traces as they are seen from here."""
    data = document.data
    workload = data.get(_WORKLOAD) if isinstance(data, Mapping) else None
    if folder is None or not isinstance(data, Mapping) or not isinstance(workload, Mapping):
        return document
    found = {
        key: str(folder / Path(value).expanduser())
        if key in ("trace", "arrivals") and isinstance(value, str)
        else value
        for key, value in workload.items()
    }
    return replace(document, data={**data, _WORKLOAD: found})


def _on_base(document: Document, folder: Path | None, above: tuple[str, ...]) -> Document:
    """The document with what it leaves out taken from its base: whole keys of the top level.

    Workflows and a workload stand in each other's place.
    """
    data = document.data
    if not isinstance(data, Mapping):
        raise SettingsError([document.problem((), "not a mapping", allowed="a scenario")])
    if _BASE not in data:
        return document
    name = data[_BASE]
    if not isinstance(name, str) or name in above:
        message = "a scenario cannot be its own base" if name in above else "not a text"
        raise SettingsError([document.problem((_BASE,), message, given=shown(name), allowed="a name, or a path")])
    try:
        base, base_folder = _document(name, folder)
    except ConfigError as error:
        if isinstance(error, SettingsError):
            raise
        problem = document.problem((_BASE,), error.message, given=shown(name), allowed=error.allowed)
        raise SettingsError([problem]) from error
    base = _on_base(base, base_folder, (*above, name))
    _validated(base)
    assert isinstance(base.data, Mapping)
    own = {key: value for key, value in data.items() if key != _BASE}
    left_out = {_WORKFLOWS} if _WORKLOAD in own else {_WORKLOAD} if _WORKFLOWS in own else set()
    taken = {key: value for key, value in base.data.items() if key not in left_out}
    return Document({**taken, **own}, document.file, document.root)


def _validated(document: Document) -> Scenario:
    try:
        return Scenario.model_validate(document.data)
    except ValidationError as error:
        problems = in_order(document, mistakes(document, error, _FORMAT))
    raise SettingsError(problems)


def scenario_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a scenario file, for editors and other tools."""
    schema = or_without_value(Scenario.model_json_schema(schema_generator=Published))
    needed = schema.pop("required")
    schema["properties"][_BASE] = {
        "description": "Another scenario, by name or by path: keys that are left out here are taken from it.",
        "type": "string",
    }
    either = [{"required": [*needed, key]} for key in (_WORKFLOWS, _WORKLOAD)]
    schema["anyOf"] = [*either, {"required": [_BASE]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "agentsched scenario"}


@cache
def _cached_schema() -> dict[str, Any]:
    return scenario_schema()


def _properties_at(loc: Loc) -> frozenset[str]:
    return properties_in(_cached_schema(), loc)


_FORMAT = Format(
    _properties_at,
    {
        ("version",): "1",
        ("endpoints",): "a list of endpoints, each with name and profile",
        ("workflows",): "a list of workflows, each with name, share and stages",
    },
)
