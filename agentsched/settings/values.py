"""What a configuration says, as the rest of agentsched sees it: frozen values, no trace of YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from agentsched.core.endpoint import Pool
from agentsched.core.rules import Rules

__all__ = [
    "InterceptSettings",
    "LearningSettings",
    "LogSettings",
    "OptionValue",
    "PolicySettings",
    "Settings",
    "StateSettings",
]

OptionValue = float | int | str | bool
"""What an option of a policy can be."""

DEFAULT_POLICY = "deadline_aware"


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Which policy places the calls, and its options."""

    name: str = DEFAULT_POLICY
    options: Mapping[str, OptionValue] = field(default_factory=lambda: MappingProxyType({}), hash=False)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The decision log.

    Attributes:
        path: the JSONL file; None: no log is written.
        max_bytes: size at which it is rotated, bytes.
        backups: rotated files that are kept.
        prompts: whether the head of each prompt is logged; off unless asked for, because prompts hold private data.
        record_events: file that takes every (event, now) handed to the scheduler, for exact replay; None: none.
    """

    path: Path | None = None
    max_bytes: int = 64 * 1024 * 1024
    backups: int = 3
    prompts: bool = False
    record_events: Path | None = None


@dataclass(frozen=True, slots=True)
class StateSettings:
    """Where several processes tell each other what they do at the endpoints.

    Attributes:
        backend: memory: nowhere, every process decides by what it sees itself; sqlite: in a file, for processes on one
            machine; redis: in a server, for processes on several.
        url: the path of the file, or the address of the server, which may hold its password; never shown.
        interval_s: how often they do, seconds.
        clients: how many processes use the endpoints, this one included: whose load nobody tells is supposed to be like
            one's own.
        profiles: the file in which what was learned outlives the process; ``off``: none; None: see `learned_path`.
    """

    backend: Literal["memory", "sqlite", "redis"] = "memory"
    url: str | None = field(default=None, repr=False)
    interval_s: float = 0.5
    profiles: str | None = None
    clients: int = 1


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """What is learned in the background beyond what is counted.

    Attributes:
        train: a forecaster of output lengths that is trained with torch, and forecasts where it does best.
        budget_s: for which it is trained at a time, seconds of one core.
    """

    train: Literal["off", "network", "experts"] = "off"
    budget_s: float = 20.0


@dataclass(frozen=True, slots=True)
class InterceptSettings:
    """What is intercepted.

    Attributes:
        custom_transports: whether calls of clients with a transport of the user's own (a mock, a recorder) are
            scheduled too; by default they pass through.
    """

    custom_transports: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """One configuration, complete and valid.

    Attributes:
        pool: endpoints and groups.
        policy: see `PolicySettings`.
        rules: retry, breaker, stream and hedge rules.
        log: see `LogSettings`.
        state: see `StateSettings`.
        learning: see `LearningSettings`.
        intercept: see `InterceptSettings`.
        warnings: what the source said and could not be carried over; also logged when it was read.
        source: the file it was read from; None when it came from Python.
        key_variables: endpoint name -> the environment variable that its ``api_key`` was read from.
        hardware: endpoint name -> the hardware profile that its configuration names.
    """

    pool: Pool
    policy: PolicySettings = PolicySettings()
    rules: Rules = field(default_factory=Rules)
    log: LogSettings = LogSettings()
    state: StateSettings = StateSettings()
    learning: LearningSettings = LearningSettings()
    intercept: InterceptSettings = InterceptSettings()
    warnings: tuple[str, ...] = field(default=(), compare=False)
    source: Path | None = field(default=None, compare=False)
    key_variables: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), compare=False, repr=False, hash=False
    )
    hardware: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), compare=False, repr=False, hash=False
    )
