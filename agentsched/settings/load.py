"""From a file, a mapping or a pool to `Settings`."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from agentsched.core.endpoint import Pool
from agentsched.errors import ConfigError
from agentsched.settings.document import Document, document_of, read_document
from agentsched.settings.environment import MissingVariable, Resolved, resolve
from agentsched.settings.file_format import PoolFile
from agentsched.settings.litellm import from_litellm, is_litellm
from agentsched.settings.problems import SettingsError
from agentsched.settings.validation import Problem, validate
from agentsched.settings.values import Settings

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_FILE",
    "from_environment",
    "in_order",
    "load_settings",
    "parse_settings",
    "text_of",
]

CONFIG_VARIABLE = "AGENTSCHED_CONFIG"
"""The environment variable that names the configuration file."""

DEFAULT_FILE = Path("pool.yaml")
"""What the commands read when nothing names a configuration. Programs do not: where one runs is chance."""

_log = logging.getLogger("agentsched")


def load_settings(source: str | Path | Mapping[str, object] | Pool | Settings | None = None) -> Settings:
    """Read a configuration.

    Args:
        source: a path of a YAML file (agentsched's own format, or a LiteLLM ``config.yaml``), the same content as a
            mapping, a `Pool` (everything else gets its defaults), `Settings` (returned as they are), or None: the
            file that ``AGENTSCHED_CONFIG`` names.

    Returns:
        The settings. What a LiteLLM file says that cannot be carried over is in ``warnings`` and was logged.

    Raises:
        SettingsError: a `ConfigError` that lists everything that is wrong, with file, line and key.
        ConfigError: the file cannot be read, or there is no configuration.
    """
    if isinstance(source, Settings):
        return source
    if isinstance(source, Pool):
        return Settings(source)
    if isinstance(source, (str, Path)):
        path = Path(source).expanduser()
        return parse_settings(text_of(path), path=path)
    if source is not None:
        return _settings_of(document_of(_mapping(source)), None)
    settings = from_environment()
    if settings is None:
        raise ConfigError(
            "no pool is configured",
            allowed=f"agentsched.configure(...), pool=..., or a file named by {CONFIG_VARIABLE}",
        )
    return settings


def _mapping(source: object) -> Mapping[str, object]:
    if isinstance(source, Mapping):
        return source
    kinds = "a path, a mapping, a Pool, Settings or None"
    raise ConfigError(f"cannot be read as a configuration: {type(source).__name__}", field="pool", allowed=kinds)


def from_environment() -> Settings | None:
    """The settings in the file that ``AGENTSCHED_CONFIG`` names; None when the variable is not set or empty.

    Raises:
        ConfigError: see `load_settings`.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if not named:
        return None
    path = Path(named).expanduser()
    return parse_settings(text_of(path, named_by=CONFIG_VARIABLE), path=path)


def parse_settings(text: str, *, path: Path, unset_ok: bool = False) -> Settings:
    """Read the text of a configuration file.

    Args:
        text: its content.
        path: names it in errors and anchors relative paths in it.
        unset_ok: whether variables may be unset that are nothing but texts, such as keys: for those who call nothing.

    Raises:
        SettingsError: see `load_settings`.
    """
    return _settings_of(read_document(text, file=str(path)), path, unset_ok)


def text_of(path: Path, *, named_by: str | None = None) -> str:
    """The text of a configuration file; ``named_by`` is the environment variable that names it, for the error.

    Raises:
        ConfigError: it is not there, not readable, or not UTF-8.
    """
    reason = ""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        reason = "not UTF-8 text"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    origin = f" ({named_by} names it)" if named_by else ""
    raise ConfigError(f"cannot be read: {reason}{origin}", file=str(path))


def _settings_of(document: Document, path: Path | None, unset_ok: bool = False) -> Settings:
    warnings: tuple[str, ...] = ()
    if is_litellm(document.data):
        document, warnings = from_litellm(document)
    data, missing = resolve(document.data, os.environ)
    document = Document(data, document.file, document.root, document.origins)
    content, problems = validate(document, frozenset(lack.loc for lack in missing))
    if content is None or not unset_ok:
        problems += [(lack.loc, _not_set(document, lack)) for lack in missing]
    if content is None or problems:
        raise SettingsError(in_order(document, problems))
    for warning in warnings:
        _log.warning("%s%s", f"{document.file}: " if document.file else "", warning)
    folder = None if path is None else path.parent
    return Settings(
        pool=content.pool(folder),
        policy=content.policy.core(),
        rules=content.rules(),
        log=content.log.core(folder),
        state=content.state.core(folder),
        learning=content.learning.core(),
        intercept=content.intercept.core(),
        warnings=warnings,
        source=path,
        key_variables=MappingProxyType(_key_variables(data, content)),
        hardware=MappingProxyType({one.name: one.profile for one in content.endpoints if isinstance(one.profile, str)}),
    )


def in_order(document: Document, problems: list[Problem]) -> list[ConfigError]:
    """The problems in the order of the file, each told once."""
    ordered = sorted(problems, key=lambda pair: document.line(document.origin(pair[0])) or 0)
    return list({str(problem): problem for _, problem in ordered}.values())


def _not_set(document: Document, lack: MissingVariable) -> ConfigError:
    allowed = f"a variable that is set, or a default: ${{{lack.name}:-...}}"
    return document.problem(lack.loc, f"the environment variable {lack.name} is not set", allowed=allowed)


def _key_variables(data: object, content: PoolFile) -> dict[str, str]:
    endpoints = data.get("endpoints", []) if isinstance(data, Mapping) else []
    variables: dict[str, str] = {}
    for written, endpoint in zip(endpoints, content.endpoints, strict=True):
        key = written.get("api_key")
        if isinstance(key, Resolved) and key.variable is not None:
            variables[endpoint.name] = key.variable
    return variables
