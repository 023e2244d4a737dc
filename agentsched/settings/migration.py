"""A LiteLLM configuration as the text of a file of our own format, for a user who moves over."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentsched.errors import ConfigError
from agentsched.settings.document import Document, read_document
from agentsched.settings.dump import variable_for, yaml_text
from agentsched.settings.environment import resolve
from agentsched.settings.litellm import from_litellm, is_litellm
from agentsched.settings.load import in_order, text_of
from agentsched.settings.problems import SettingsError
from agentsched.settings.validation import validate

__all__ = ["Migration", "migrate_litellm"]


@dataclass(frozen=True, slots=True)
class Migration:
    """A converted configuration.

    Attributes:
        text: YAML of our own format. References to the environment are kept; keys are never written.
        warnings: what could not be carried over.
        variables: environment variables that replace keys which stood in the LiteLLM file itself: to be set.
    """

    text: str
    warnings: tuple[str, ...]
    variables: tuple[str, ...]


def migrate_litellm(path: Path) -> Migration:
    """Convert a LiteLLM ``config.yaml``; the environment variables it refers to need not be set.

    Raises:
        SettingsError: something in it cannot be used, or it is no LiteLLM configuration.
        ConfigError: it cannot be read.
    """
    document = read_document(text_of(path), file=str(path))
    if not is_litellm(document.data):
        raise SettingsError([ConfigError("is no LiteLLM configuration", file=str(path), allowed="a `model_list:`")])
    converted, warnings = from_litellm(document)
    data, missing = resolve(converted.data, os.environ)
    resolved = Document(data, converted.file, converted.root, converted.origins)
    _, problems = validate(resolved, frozenset(lack.loc for lack in missing))
    if problems:
        raise SettingsError(in_order(resolved, problems))
    assert isinstance(converted.data, dict)
    variables: list[str] = []
    endpoints = [_without_key(endpoint, variables) for endpoint in converted.data["endpoints"]]
    return Migration(yaml_text({**converted.data, "endpoints": endpoints}), warnings, tuple(variables))


def _without_key(endpoint: Mapping[str, object], variables: list[str]) -> dict[str, object]:
    made = dict(endpoint)
    key = made.get("api_key")
    if isinstance(key, str):
        slash = re.fullmatch(r"os\.environ/(\w+)", key)
        if slash is not None:
            made["api_key"] = f"${{{slash[1]}}}"
        elif not re.fullmatch(r"\$\{\w+(:-)?\}", key):
            variables.append(variable_for(str(made["name"])))
            made["api_key"] = f"${{{variables[-1]}}}"
    return made
