"""From `Settings` back to the text of a configuration file; keys leave as references, never as values."""

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from agentsched.core.endpoint import Endpoint, Price, Profile, Tls
from agentsched.core.rules import AdmissionRules, BreakerRules, HedgeRules, RetryRules, SkipRules, StreamRules
from agentsched.settings.document import Dumper
from agentsched.settings.environment import escaped
from agentsched.settings.values import (
    InterceptSettings,
    LearningSettings,
    LogSettings,
    PolicySettings,
    Settings,
    StateSettings,
)

__all__ = ["STATE_URL_VARIABLE", "dump_settings", "key_variable", "profile_figures", "variable_for", "yaml_text"]

STATE_URL_VARIABLE = "AGENTSCHED_STATE_URL"
"""The environment variable from which a dumped file reads the address of a store that asks for a password."""


def dump_settings(settings: Settings) -> str:
    """Write settings as the YAML text of a configuration file.

    Loading the text gives equal settings, provided that the variables of `key_variable` hold the keys, and
    `STATE_URL_VARIABLE` the address of a store if that holds a password. Sections that
    say nothing but the defaults are left out. Paths are written as they are.
    """
    data: dict[str, object] = {
        "version": 1,
        "endpoints": [_endpoint(endpoint, settings) for endpoint in settings.pool.endpoints],
    }
    if settings.pool.groups:
        data["groups"] = {
            model: {"endpoints": [_literal(name) for name in group.endpoints], "min_quality": group.min_quality}
            for model, group in settings.pool.groups.items()
        }
    if settings.policy != PolicySettings():
        data["policy"] = {"name": _literal(settings.policy.name), **_literals(settings.policy.options)}
    rules = settings.rules
    sections: tuple[tuple[str, object, object], ...] = (
        ("retry", rules.retry, RetryRules()),
        ("breaker", rules.breaker, BreakerRules()),
        ("stream", rules.stream, StreamRules()),
        ("hedge", rules.hedge, HedgeRules()),
        ("admission", rules.admission, AdmissionRules()),
        ("skip", rules.skip, SkipRules()),
        ("state", settings.state, StateSettings()),
        ("log", settings.log, LogSettings()),
        ("learning", settings.learning, LearningSettings()),
        ("intercept", settings.intercept, InterceptSettings()),
    )
    for name, section, default in sections:
        values = _changed(section, default)
        if name == "state" and urlsplit(settings.state.url or "").password is not None:
            values["url"] = f"${{{STATE_URL_VARIABLE}}}"
        if values:
            data[name] = values
    return yaml_text(data)


def yaml_text(data: object) -> str:
    """Block-style YAML that the loader reads back as it was."""
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)


def key_variable(settings: Settings, name: str) -> str:
    """The environment variable from which the named endpoint's key is read by a dumped file.

    The one that it came from, or else one made from the endpoint's name: ``gpu-a`` -> ``GPU_A_API_KEY``.
    """
    return settings.key_variables.get(name) or variable_for(name)


def variable_for(name: str) -> str:
    """A name for the environment variable that holds the key of the named endpoint."""
    words = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    return f"{words}_API_KEY" if words[:1].isalpha() else f"ENDPOINT_{words}_API_KEY".replace("__", "_")


def profile_figures(profile: Profile) -> dict[str, float]:
    """A profile as the ``profile:`` mapping of a configuration file."""
    return {field.name: getattr(profile, field.name) for field in fields(profile)}


def _endpoint(endpoint: Endpoint, settings: Settings) -> dict[str, object]:
    made: dict[str, object] = {}
    for item in fields(endpoint):
        value = getattr(endpoint, item.name)
        if value is None or value == item.default:
            continue
        if item.name == "api_key":
            value = f"${{{key_variable(settings, endpoint.name)}}}"
        elif isinstance(value, Profile):
            value = profile_figures(value)
        elif isinstance(value, Price):
            value = {"input": value.input, "output": value.output}
        elif isinstance(value, Tls):
            value = _changed(value, Tls())
        elif isinstance(value, frozenset):
            value = sorted(value)
        elif isinstance(value, tuple):
            value = [_literal(one) for one in value]
        else:
            value = _literal(value)
        made[item.name] = value
    return made


def _changed(section: object, default: object) -> dict[str, object]:
    made: dict[str, object] = {}
    for item in fields(section):  # type: ignore[arg-type]  # each of them is a dataclass
        value = getattr(section, item.name)
        if value is None or value == getattr(default, item.name):
            continue
        if item.name.endswith(("_s", "_timeout")):
            value = _duration(value)
        made[item.name.removesuffix("_s")] = _literal(str(value) if isinstance(value, Path) else value)
    return made


def _duration(seconds: float) -> str | float:
    text = repr(float(seconds)).removesuffix(".0")
    return seconds if "e" in text else f"{text}s"


def _literals(options: Mapping[str, object]) -> dict[str, object]:
    return {name: _literal(value) for name, value in options.items()}


def _literal(value: object) -> object:
    return escaped(value) if isinstance(value, str) else value
