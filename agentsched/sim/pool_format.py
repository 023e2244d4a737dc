"""The format of a scenario's pool, and of what goes wrong with it."""

from dataclasses import MISSING, fields
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, Field, WithJsonSchema

from agentsched.engine.profile import (
    DisaggregatedProfile,
    EngineProfile,
    HardwareProfile,
    HostedProfile,
    ProfileBasis,
)
from agentsched.engine.profiles import all_profiles, load_profile, profile_from_mapping
from agentsched.errors import ConfigError
from agentsched.settings.endpoint_format import PriceFile
from agentsched.settings.fields import Count, Flag, SecondsOrZero, Share, Text
from agentsched.settings.problems import Unquoted
from agentsched.sim.format_fields import Interval, Part, Slower

__all__ = ["Endpoints", "Faults", "engine_profile"]


def _usable_profile(value: object) -> object:
    profile = engine_profile(value)
    try:
        profile.prior()
    except ConfigError as error:
        what = (error.field or "").removeprefix("profile.")
        message = f"clients cannot reckon with the {what} that follows from it"
        allowed = "figures for which it lies between 1e-9 and 1e9"
        raise ConfigError(message, given=Unquoted(f"{error.given:g}"), allowed=allowed) from error
    return value


def engine_profile(value: object) -> EngineProfile:
    """The profile of a name or of a mapping of figures.

    Raises:
        ConfigError: there is none of that name, or a figure is wrong.
    """
    if isinstance(value, str):
        return load_profile(value)
    if not isinstance(value, dict):
        raise ConfigError("neither a name nor a mapping", allowed="the name of a profile, or a mapping of figures")
    return profile_from_mapping({"name": "own", "basis": "scenario", **value})


def _figures_schema(kind: type[HardwareProfile] | type[HostedProfile] | type[DisaggregatedProfile]) -> dict[str, Any]:
    """The JSON Schema of a mapping of figures; keys that may be left out may also stand without a value."""
    instances = sorted(name for name, one in all_profiles().items() if isinstance(one, HardwareProfile))
    properties: dict[str, Any] = {}
    for field in fields(kind):
        annotation = str(field.type)
        if annotation == "HardwareProfile":
            properties[field.name] = {
                "anyOf": [{"type": "string", "enum": instances}, _figures_schema(HardwareProfile)]
            }
        elif annotation == "ProfileBasis":
            properties[field.name] = {"enum": [*get_args(ProfileBasis), None]}
        else:
            plain = "string" if annotation == "str" else "integer" if annotation.startswith("int") else "number"
            properties[field.name] = {"type": plain if field.default is MISSING else [plain, "null"]}
    needed = [field.name for field in fields(kind) if field.default is MISSING and field.name != "name"]
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": needed}


_PROFILE_SCHEMA = {
    "anyOf": [
        {"type": "string", "enum": sorted(all_profiles())},
        *map(_figures_schema, (HardwareProfile, HostedProfile, DisaggregatedProfile)),
    ],
    "description": "The name of an engine profile, or its figures (see agentsched.engine.profile).",
}


class Endpoints(Part):
    """One or more equal endpoints."""

    name: Text
    """What results call it; several are numbered: name-1, name-2, ..."""
    count: Count = 1
    """How many of them there are."""
    profile: Annotated[object, AfterValidator(_usable_profile), WithJsonSchema(_PROFILE_SCHEMA)]
    """How fast it is and what it can hold."""
    price: PriceFile = PriceFile()
    """USD per million tokens."""
    quality: Share = 1.0
    """From 0 to 1, compared with what a call demands."""
    network: SecondsOrZero | None = None
    """Network time each way; the scenario's when left out."""
    max_concurrency: Count | None = None
    """Calls that each client may have in flight there; the profile's slots when left out, unbounded at a hosted API."""
    faults: Flag = True
    """Whether the scenario's faults befall it."""
    models: Annotated[list[Text], Field(min_length=1)] | None = None
    """The model names it serves, as recorded calls ask for them; whatever is asked for when left out."""

    @property
    def engine(self) -> EngineProfile:
        """Its profile."""
        return engine_profile(self.profile)

    @property
    def hosted(self) -> bool:
        """Whether it is a hosted API."""
        return isinstance(self.engine, HostedProfile)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the single endpoints."""
        return (self.name,) if self.count == 1 else tuple(f"{self.name}-{k + 1}" for k in range(self.count))


class Slowdown(Part):
    """At random instants an endpoint becomes slow for a while."""

    factor: Slower
    """How many times longer everything takes meanwhile."""
    duration: Interval
    """How long it lasts."""
    every: Interval
    """Mean time between two at one endpoint."""


class Failure(Part):
    """At random instants an endpoint loses everything it holds and is down for a while."""

    duration: Interval
    """How long it is down."""
    every: Interval
    """Mean time between two at one endpoint."""


class Planned(Part):
    """At a given instant some endpoints fail or become slow for a while."""

    endpoints: Annotated[list[Text], Field(min_length=1)]
    """Whose: names as results have them, or the name of a group of several, which stands for all of them."""
    at: SecondsOrZero
    """When it begins."""
    duration: Interval
    """How long it lasts."""
    factor: Slower | None = None
    """How many times longer everything takes meanwhile; left out, they lose everything they hold and are down."""


class Faults(Part):
    """What goes wrong: for each endpoint on its own, as a Poisson process, and as planned."""

    slowdown: Slowdown | None = None
    """Leave it out for none."""
    failure: Failure | None = None
    """Leave it out for none."""
    planned: list[Planned] = Field(default_factory=list)
    """Faults at given instants."""
