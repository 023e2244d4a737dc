"""The format of the configuration file, version 1, as a whole. The descriptions are what an editor shows."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from agentsched.core.endpoint import Pool
from agentsched.core.rules import Rules
from agentsched.errors import ConfigError
from agentsched.policy.table import POLICIES, make_policy
from agentsched.settings.endpoint_format import EndpointFile, GroupFile
from agentsched.settings.environment import REFERENCE_PATTERN
from agentsched.settings.fields import Bytes, Count, Flag, Seconds, Text, WholeOrZero, plain, seconds_schema
from agentsched.settings.paths import anchored
from agentsched.settings.problems import Unquoted
from agentsched.settings.rule_format import AdmissionFile, BreakerFile, HedgeFile, RetryFile, SkipFile, StreamFile
from agentsched.settings.section import Section
from agentsched.settings.values import InterceptSettings, LearningSettings, LogSettings, PolicySettings, StateSettings

__all__ = ["PoolFile"]

_LOG, _STATE, _LEARNING = LogSettings(), StateSettings(), LearningSettings()


class PolicyFile(BaseModel):
    """Which policy places the calls; every further key is an option of it."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, use_attribute_docstrings=True)

    name: Annotated[
        Text,
        Field(
            json_schema_extra={
                "pattern": rf"^({'|'.join(sorted(POLICIES))}|\w+(\.\w+)+)$",
                "examples": [*sorted(POLICIES)],
            }
        ),
    ] = PolicySettings().name
    """The policy's name; or ``my_module.MyPolicy``, a class of one's own."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for option, value in (self.model_extra or {}).items():
            if not isinstance(value, (bool, int, float, str)):
                allowed = "a number, a text, true or false"
                raise ConfigError("not an option's value", field=f"policy.{option}", allowed=allowed)
        make_policy(self.name, self._options())
        return self

    def _options(self) -> dict[str, Any]:
        return {option: plain(value) for option, value in (self.model_extra or {}).items()}

    def core(self) -> PolicySettings:
        """As the rest of agentsched knows it."""
        return PolicySettings(self.name, self._options())


_REDIS_SCHEMES = ("redis", "rediss", "unix")
_SHORTEST_INTERVAL_S, _LONGEST_INTERVAL_S = 0.05, 60.0
_TEXT_OR_OFF = {"anyOf": [{"type": "string", "minLength": 1}, {"const": False}]}


def _interval(value: float) -> float:
    if not _SHORTEST_INTERVAL_S <= value <= _LONGEST_INTERVAL_S:
        raise ConfigError("out of range", allowed=f"from {_SHORTEST_INTERVAL_S:g} s to {_LONGEST_INTERVAL_S:g} s")
    return value


Interval = Annotated[
    Seconds,
    AfterValidator(_interval),
    WithJsonSchema(seconds_schema(minimum=_SHORTEST_INTERVAL_S, maximum=_LONGEST_INTERVAL_S)),
]


def _off(value: object) -> object:
    return "off" if value is False else value  # as YAML reads off


def _needs(backend: str, url: dict[str, Any]) -> dict[str, Any]:
    return {
        "if": {"properties": {"backend": {"const": backend}}, "required": ["backend"]},
        "then": {"properties": {"url": url}, "required": ["url"]},
    }


class StateFile(Section):
    """Where several processes tell each other what they do at the endpoints."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {
                    "if": {"properties": {"backend": {"enum": ["memory", None]}}},
                    "then": {"properties": {"url": {"type": "null"}}},
                },
                _needs("sqlite", {"type": "string"}),
                _needs(
                    "redis", {"pattern": rf"^({'|'.join(_REDIS_SCHEMES)})://|{REFERENCE_PATTERN}", "type": "string"}
                ),
            ]
        }
    )

    backend: Literal["memory", "sqlite", "redis"] = _STATE.backend
    """memory: nowhere, every process for itself; sqlite: processes on one machine; redis: processes on several."""
    url: Text | None = None
    """The path of the SQLite file, or the address of the Redis server (redis://, rediss:// or unix://)."""
    interval: Interval = _STATE.interval_s
    """How often they tell each other."""
    clients: Count = _STATE.clients
    """How many processes use the endpoints: those that do not tell what they do are supposed to do as this one does."""
    profiles: Annotated[Text, BeforeValidator(_off), WithJsonSchema(_TEXT_OR_OFF)] | None = None
    """The file that keeps what is learned for the next process, or off; by default one in the user's cache folder."""

    @model_validator(mode="after")
    def _has_its_address(self) -> Self:
        hidden = Unquoted("not shown")
        if self.backend == "memory" and self.url is not None:
            allowed = "leave it out, or set backend"
            raise ConfigError("the memory backend has no address", field="state.url", given=hidden, allowed=allowed)
        if self.backend == "sqlite" and (self.url is None or "://" in self.url):
            allowed = "the path of a file on a disk of this machine"
            raise ConfigError("not the path of a file", field="state.url", given=hidden, allowed=allowed)
        if self.backend == "redis" and (self.url is None or not self._of_redis(self.url)):
            allowed = "redis://[user:password@]host[:port][/database], rediss://... or unix://path"
            raise ConfigError("not the address of a Redis server", field="state.url", given=hidden, allowed=allowed)
        return self

    @staticmethod
    def _of_redis(url: str) -> bool:
        try:
            parts = urlsplit(url)
            _ = parts.port  # raises ValueError when it is no number
        except ValueError:
            return False
        return parts.scheme in _REDIS_SCHEMES and bool(parts.path if parts.scheme == "unix" else parts.hostname)

    def core(self, folder: Path | None) -> StateSettings:
        """As the rest of agentsched knows it; a relative path starts at ``folder``, where there is one."""
        url = str(anchored(self.url, folder)) if self.backend == "sqlite" else self.url
        profiles = self.profiles
        if profiles not in (None, "off"):
            profiles = str(anchored(profiles, folder))
        return StateSettings(self.backend, url, self.interval, profiles, self.clients)


class LogFile(Section):
    """The decision log (JSONL). Paths are relative to this file."""

    path: str | None = None
    """The log file; no log is written when left out."""
    max_bytes: Bytes = _LOG.max_bytes
    """Size at which it is rotated, e.g. 64 MiB."""
    backups: WholeOrZero = _LOG.backups
    """Rotated files that are kept."""
    prompts: Flag = _LOG.prompts
    """Whether the head of each prompt is logged."""
    record_events: str | None = None
    """A file that takes every event handed to the scheduler, for exact replay."""

    def core(self, folder: Path | None) -> LogSettings:
        """As the rest of agentsched knows it; relative paths start at ``folder``, where there is one."""
        return LogSettings(
            path=anchored(self.path, folder),
            max_bytes=self.max_bytes,
            backups=self.backups,
            prompts=self.prompts,
            record_events=anchored(self.record_events, folder),
        )


class LearningFile(Section):
    """What is learned in the background beyond what is counted."""

    train: Annotated[
        Literal["off", "network", "experts"],
        BeforeValidator(_off),
        WithJsonSchema({"enum": ["off", "network", "experts", False]}),
    ] = _LEARNING.train
    """A forecaster of output lengths that is trained with torch, which has to be installed, and forecasts where it does
    best."""
    budget: Seconds = _LEARNING.budget_s
    """For how long it is trained at a time."""

    def core(self) -> LearningSettings:
        """As the rest of agentsched knows it."""
        return LearningSettings(self.train, self.budget)


class InterceptFile(Section):
    """What is intercepted."""

    custom_transports: Flag = False
    """Whether calls of clients with a transport of the user's own (a mock, a recorder) are scheduled too."""

    def core(self) -> InterceptSettings:
        """As the rest of agentsched knows it."""
        return InterceptSettings(self.custom_transports)


def _group_of_list(value: object) -> object:
    return {"endpoints": value} if isinstance(value, list) else value


class PoolFile(Section):
    """The configuration of agentsched: the endpoints, and the rules by which they are used."""

    version: Literal[1]
    """The version of this format: 1."""
    endpoints: Annotated[list[EndpointFile], Field(min_length=1)]
    """The servers that may be called."""
    groups: dict[Text, Annotated[GroupFile, BeforeValidator(_group_of_list)]] = Field(default_factory=dict)
    """Requested model name -> which endpoints may answer; "*" catches every other name. A name without a group is
    served by the endpoints whose model equals it."""
    policy: PolicyFile = PolicyFile()
    retry: RetryFile = RetryFile()
    breaker: BreakerFile = BreakerFile()
    stream: StreamFile = StreamFile()
    hedge: HedgeFile = HedgeFile()
    admission: AdmissionFile = AdmissionFile()
    skip: SkipFile = SkipFile()
    state: StateFile = StateFile()
    log: LogFile = LogFile()
    learning: LearningFile = LearningFile()
    intercept: InterceptFile = InterceptFile()

    def pool(self, folder: Path | None) -> Pool:
        """The pool it describes; relative paths start at ``folder``, where there is one.

        Raises:
            ConfigError: names that are used twice or unknown.
        """
        groups = {model: group.core() for model, group in self.groups.items()}
        return Pool([endpoint.core(folder) for endpoint in self.endpoints], groups)

    def rules(self) -> Rules:
        """The rules it describes."""
        return Rules(
            retry=self.retry.core(),
            breaker=self.breaker.core(),
            stream=self.stream.core(),
            hedge=self.hedge.core(),
            admission=self.admission.core(),
            skip=self.skip.core(),
        )
