"""What an embedded pool consists of: the configuration of its endpoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from agentsched.emulator.faults import Fault
from agentsched.engine.instance import Scheduling
from agentsched.engine.profile import DisaggregatedProfile, EngineProfile, HardwareProfile, HostedProfile
from agentsched.engine.profiles import load_profile, profile_from_mapping
from agentsched.errors import ConfigError
from agentsched.settings.document import Document, read_document
from agentsched.settings.json_schema import properties_in
from agentsched.settings.load import in_order, text_of
from agentsched.settings.problems import SettingsError
from agentsched.settings.validation import Format, mistakes

__all__ = ["EmulatedEndpoint", "EmulatorConfig", "Lengths", "PoolPrice", "load_config"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False)


class Lengths(_Strict):
    """How long answers are when nothing in the request says so: lognormal, drawn from the prompt itself.

    Attributes:
        median_tokens: median of the lognormal.
        sigma: its sigma.
        min_tokens: shortest answer.
        max_tokens: longest answer.
    """

    median_tokens: float = Field(default=120.0, gt=0)
    sigma: float = Field(default=0.6, ge=0, le=10)
    min_tokens: int = Field(default=1, ge=1)
    max_tokens: int = Field(default=4096, ge=1)

    @model_validator(mode="after")
    def _possible(self) -> Lengths:
        if self.min_tokens > self.max_tokens:
            raise ConfigError("out of range", field="lengths.max_tokens", allowed=f"{self.min_tokens} or more")
        return self


class PoolPrice(_Strict):
    """USD per million tokens, told in the pool's ``pool.yaml``."""

    input: float = Field(default=0.0, ge=0)
    output: float = Field(default=0.0, ge=0)


class EmulatedEndpoint(_Strict):
    """One endpoint of the pool.

    Attributes:
        name: unique within the pool.
        profile: how fast it is: the name of a profile, a profile, or a mapping of its fields.
        model: the model name it serves; the generated words depend on it.
        kind: the dialect it speaks; vllm knows ``priority`` and ``continue_final_message`` and has ``/metrics``, openai
            refuses body fields that OpenAI does not know.
        seed: seeds latency draws (hosted profiles) and fault probabilities; never the words.
        port: port to listen on; 0 takes a free one.
        api_key: the key that requests must carry; None accepts any.
        requests_per_minute: 429 above it; None takes the profile's limit, if it has one.
        tokens_per_minute: the same for tokens.
        scheduling: order of the waiting queue.
        max_waiting: requests that it may hold beyond its slots before it answers 503; None is no limit.
        lengths: output lengths when the request does not say.
        faults: faults that act from the start.
        max_concurrency: told in ``pool.yaml``; None tells the profile's slots.
        price: told in ``pool.yaml``.
        quality: told in ``pool.yaml``.
    """

    name: str
    profile: HardwareProfile | HostedProfile | DisaggregatedProfile
    model: str = Field(default="emulated-model", min_length=1)
    kind: Literal["vllm", "openai"] = "vllm"
    seed: int = Field(default=0, ge=0)
    port: int = Field(default=0, ge=0, le=65535)
    api_key: str | None = None
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    scheduling: Scheduling = "lower_first"
    max_waiting: int | None = Field(default=None, ge=0)
    lengths: Lengths = Lengths()
    faults: tuple[Fault, ...] = ()
    max_concurrency: int | None = Field(default=None, ge=1)
    price: PoolPrice = PoolPrice()
    quality: float = Field(default=1.0, ge=0, le=1)

    @field_validator("name")
    @classmethod
    def _fit_for_addresses(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise ConfigError("not fit for an address", allowed="letters, digits, dots, hyphens and underscores")
        return name

    @field_validator("profile", mode="before")
    @classmethod
    def _resolve_profile(cls, value: Any) -> Any:
        if isinstance(value, str):
            return load_profile(value)
        if isinstance(value, dict):
            return profile_from_mapping({"name": "inline", **value})
        if isinstance(value, EngineProfile):
            return value
        raise ConfigError("neither a name nor a mapping", allowed="the name of a profile, or a mapping of figures")

    @property
    def engine_profile(self) -> EngineProfile:
        """The profile, typed as any kind."""
        return self.profile


class EmulatorConfig(_Strict):
    """A whole pool.

    Attributes:
        endpoints: its endpoints; names are unique.
        host: address to listen on.
        control_port: port of the control server; 0 takes a free one.
        time_scale: how many times faster than real time the engines run.
    """

    endpoints: tuple[EmulatedEndpoint, ...]
    host: str = "127.0.0.1"
    control_port: int = Field(default=0, ge=0, le=65535)
    time_scale: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> EmulatorConfig:
        if not self.endpoints:
            raise ConfigError("empty", field="endpoints", allowed="at least one entry")
        seen: dict[str, int] = {}
        for number, endpoint in enumerate(self.endpoints):
            if seen.setdefault(endpoint.name, number) != number:
                message = f"the name is used twice, first by endpoints[{seen[endpoint.name]}]"
                raise ConfigError(
                    message, field=f"endpoints[{number}].name", given=endpoint.name, allowed="a unique name"
                )
        return self

    @classmethod
    def of(cls, endpoints: Sequence[EmulatedEndpoint], **settings: Any) -> EmulatorConfig:
        """Build a configuration from endpoints and further fields.

        Raises:
            ConfigError: a field does not fit.
        """
        return _validated(Document({"endpoints": tuple(endpoints), **settings}))


def load_config(path: str | Path) -> EmulatorConfig:
    """Read a pool from a YAML file.

    Raises:
        SettingsError: a `ConfigError` that lists everything that is wrong, with file, line and key.
        ConfigError: the file cannot be read.
    """
    named = Path(path)
    return _validated(read_document(text_of(named), file=str(path), needed="`endpoints:`"))


def _validated(document: Document) -> EmulatorConfig:
    try:
        return EmulatorConfig.model_validate(document.data)
    except ValidationError as error:
        problems = in_order(document, mistakes(document, error, _FORMAT))
    raise SettingsError(problems)


@cache
def _schema() -> dict[str, Any]:
    return EmulatorConfig.model_json_schema()


_FORMAT = Format(
    lambda loc: properties_in(_schema(), loc), {("endpoints",): "a list of endpoints, each with name and profile"}
)
