"""Named profiles, read from the JSON files beside this module; each entry says where its figures come from.

``profiles_fitted.json`` (measured GPUs, and assumed ones derived from them) is written by
``python -m agentsched.engine.fit TABLE.csv --write``; ``profiles_scenario.json`` holds a published study's figures.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from functools import cache
from importlib.resources import files
from typing import Any

from agentsched.engine.profile import DisaggregatedProfile, EngineProfile, HardwareProfile, HostedProfile
from agentsched.errors import ConfigError

__all__ = ["all_profiles", "load_profile", "profile_from_mapping"]

_FILES = ("profiles_fitted.json", "profiles_scenario.json")


@cache
def all_profiles() -> dict[str, EngineProfile]:
    """Return every named profile, by name."""
    profiles: dict[str, EngineProfile] = {}
    for name in _FILES:
        data = json.loads(files("agentsched.engine").joinpath(name).read_text(encoding="utf-8"))
        profiles |= {entry["name"]: profile_from_mapping(entry) for entry in data["profiles"]}
    return profiles


def load_profile(name: str) -> EngineProfile:
    """Return the named profile.

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        return all_profiles()[name]
    except KeyError:
        allowed = ", ".join(sorted(all_profiles()))
        raise ConfigError("unknown hardware profile", field="profile", given=name, allowed=allowed) from None


_TEXTS = frozenset({"name", "basis", "source"})


def profile_from_mapping(entry: dict[str, Any]) -> EngineProfile:
    """Build a profile from a mapping.

    One with ``ttft_median_s`` is a hosted API; one with ``prefill`` and ``decode``, each the name of an instance's
    profile or the mapping of one, is a pair; any other is an instance.

    Raises:
        ConfigError: a key is unknown, missing or out of range.
    """
    kind: type[HardwareProfile] | type[HostedProfile] | type[DisaggregatedProfile]
    kind = HostedProfile if "ttft_median_s" in entry else HardwareProfile
    if "prefill" in entry or "decode" in entry:
        kind = DisaggregatedProfile
        entry = entry | {half: _half(entry[half], half) for half in ("prefill", "decode") if half in entry}
    known = {field.name for field in fields(kind)}
    values = {key: value for key, value in entry.items() if key not in ("fit", "assumption")}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError("unknown key", field="profile", given=unknown[0], allowed=", ".join(sorted(known)))
    missing = [field.name for field in fields(kind) if field.default is MISSING and field.name not in values]
    if missing:
        raise ConfigError(f"incomplete profile: missing {', '.join(missing)}", field="profile")
    try:
        return kind(**values)
    except TypeError as error:  # a text or a list where a number is compared with its bounds
        wrong = {key: value for key, value in values.items() if not isinstance(value, (int, float, HardwareProfile))}
        told = ", ".join(f"{key}: {value!r}" for key, value in wrong.items() if key not in _TEXTS)
        raise ConfigError(f"not a number: {told}", field="profile", allowed="numbers") from error


def _half(value: object, where: str) -> HardwareProfile:
    if isinstance(value, str):
        made: EngineProfile = load_profile(value)
    elif isinstance(value, dict):
        made = profile_from_mapping({"name": where, "basis": "scenario", **value})
    else:
        raise ConfigError("neither a name nor a mapping", field=f"profile.{where}", given=value)
    if not isinstance(made, HardwareProfile):
        raise ConfigError("not an instance", field=f"profile.{where}", given=made.name, allowed="an instance's profile")
    return made
