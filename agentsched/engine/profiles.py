"""Named profiles, read from the JSON files beside this module; each entry says where its figures come from.

``profiles_fitted.json`` (measured GPUs, and assumed ones derived from them) is written by
``python -m agentsched.engine.fit TABLE.csv --write``; ``profiles_scenario.json`` holds a published study's figures.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from functools import cache
from importlib.resources import files
from typing import Any, get_args

from agentsched.engine.profile import (
    DisaggregatedProfile,
    EngineProfile,
    HardwareProfile,
    HostedProfile,
    ProfileBasis,
)
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


_MOST = 1e12
"""No figure of anything that runs comes near it; beyond it sums of them are no longer told apart."""


def profile_from_mapping(entry: dict[str, Any]) -> EngineProfile:
    """Build a profile from a mapping.

    One with ``ttft_median_s`` is a hosted API; one with ``prefill`` and ``decode``, each the name of an instance's
    profile or the mapping of one, is a pair; any other is an instance.

    Raises:
        ConfigError: a key is unknown, missing or out of range, or its value is of another kind.
    """
    kind: type[HardwareProfile] | type[HostedProfile] | type[DisaggregatedProfile]
    kind = HostedProfile if "ttft_median_s" in entry else HardwareProfile
    if "prefill" in entry or "decode" in entry:
        kind = DisaggregatedProfile
        entry = entry | {half: _half(entry[half], half) for half in ("prefill", "decode") if half in entry}
    kinds = {field.name: str(field.type) for field in fields(kind)}
    values = {key: value for key, value in entry.items() if key not in ("fit", "assumption")}
    for key in values:
        if key not in kinds:
            raise ConfigError("unknown key", field=f"profile.{key}", allowed=", ".join(sorted(kinds)))
    missing = [field.name for field in fields(kind) if field.default is MISSING and field.name not in values]
    if missing:
        raise ConfigError(f"incomplete profile: missing {', '.join(missing)}", field="profile")
    return kind(**{key: _checked(key, value, kinds[key]) for key, value in values.items()})


def _checked(key: str, value: Any, kind: str) -> Any:
    """The value of one key; ``kind`` is its annotation in the profile's class."""
    field = f"profile.{key}"
    if kind == "HardwareProfile" or (value is None and kind.endswith("None")):
        return value
    if kind == "str":
        if not isinstance(value, str):
            raise ConfigError("not a text", field=field, given=value, allowed="a text")
        return value
    if kind == "ProfileBasis":
        known = get_args(ProfileBasis)
        if value not in known:
            raise ConfigError("unknown", field=field, given=value, allowed=", ".join(known))
        return value
    number = "a whole number" if kind.startswith("int") else "a number"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise ConfigError(f"not {number}", field=field, given=value, allowed=f"{number} (no unit)")
    if not abs(value) < _MOST:
        raise ConfigError("out of range", field=field, given=value, allowed=f"less than {_MOST:g}")
    if not kind.startswith("int"):
        return value
    if value != int(value):
        raise ConfigError(f"not {number}", field=field, given=value, allowed=number)
    return int(value)


def _half(value: object, where: str) -> HardwareProfile:
    if not isinstance(value, (str, dict)):
        raise ConfigError("neither a name nor a mapping", field=f"profile.{where}", given=value)
    try:
        made = (
            load_profile(value)
            if isinstance(value, str)
            else profile_from_mapping({"name": where, "basis": "scenario", **value})
        )
    except ConfigError as error:
        field = f"profile.{where}{(error.field or '').removeprefix('profile')}"
        raise ConfigError(error.message, field=field, given=error.given, allowed=error.allowed) from error
    if not isinstance(made, HardwareProfile):
        raise ConfigError("not an instance", field=f"profile.{where}", given=made.name, allowed="an instance's profile")
    return made
