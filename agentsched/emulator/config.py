"""What an embedded pool consists of: the configuration of its endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from agentsched.emulator.faults import Fault
from agentsched.engine.instance import Scheduling
from agentsched.engine.profile import DisaggregatedProfile, EngineProfile, HardwareProfile, HostedProfile
from agentsched.engine.profiles import load_profile, profile_from_mapping
from agentsched.errors import ConfigError

__all__ = ["EmulatedEndpoint", "EmulatorConfig", "Lengths", "PoolPrice", "load_config"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Lengths(_Strict):
    """How long answers are when nothing in the request says so: lognormal, drawn from the prompt itself.

    Attributes:
        median_tokens: median of the lognormal.
        sigma: its sigma.
        min_tokens: shortest answer.
        max_tokens: longest answer.
    """

    median_tokens: float = Field(default=120.0, gt=0)
    sigma: float = Field(default=0.6, ge=0)
    min_tokens: int = Field(default=1, ge=1)
    max_tokens: int = Field(default=4096, ge=1)


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

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")
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

    @field_validator("profile", mode="before")
    @classmethod
    def _resolve_profile(cls, value: Any) -> Any:
        if isinstance(value, str):
            return load_profile(value)
        if isinstance(value, dict):
            return profile_from_mapping({"name": "inline", **value})
        return value

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

    endpoints: tuple[EmulatedEndpoint, ...] = Field(min_length=1)
    host: str = "127.0.0.1"
    control_port: int = Field(default=0, ge=0, le=65535)
    time_scale: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _unique(self) -> EmulatorConfig:
        names = [endpoint.name for endpoint in self.endpoints]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two endpoints are named {twice[0]!r}")
        return self

    @classmethod
    def of(cls, endpoints: Sequence[EmulatedEndpoint], **settings: Any) -> EmulatorConfig:
        """Build a configuration from endpoints and further fields.

        Raises:
            ConfigError: a field does not fit.
        """
        return _validate({"endpoints": tuple(endpoints), **settings}, file=None)


def load_config(path: str | Path) -> EmulatorConfig:
    """Read a pool from a YAML file.

    Raises:
        ConfigError: the file cannot be read or a field does not fit; says which.
    """
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        raise ConfigError(f"is not YAML: {error}", file=str(path), line=line) from error
    if not isinstance(data, dict):
        raise ConfigError("must be a mapping with the key 'endpoints'", file=str(path), given=type(data).__name__)
    return _validate(data, file=str(path))


def _validate(data: dict[str, Any], *, file: str | None) -> EmulatorConfig:
    try:
        return EmulatorConfig.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        given = first["input"] if not isinstance(first["input"], dict) else None
        raise ConfigError(first["msg"], field=field, given=given, file=file) from None
