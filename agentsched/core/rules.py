"""The configurable rules by which the scheduler retries, waits and gives up; every default is here and nowhere else."""

from dataclasses import dataclass, field

from agentsched.errors import ConfigError

__all__ = ["AdmissionRules", "BreakerRules", "HedgeRules", "RetryRules", "Rules", "StreamRules"]


def _check(where: str, values: dict[str, float | int | None], *, zero: frozenset[str] = frozenset()) -> None:
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0 or not value < 1e12:
            raise ConfigError("out of range", field=f"{where}.{name}", given=value, allowed="a positive number")
        if value == 0 and name not in zero:
            raise ConfigError("out of range", field=f"{where}.{name}", given=value, allowed="more than zero")


def _check_count(where: str, value: object) -> None:
    if not isinstance(value, int):
        raise ConfigError("not a count", field=where, given=value, allowed="an integer")


@dataclass(frozen=True, slots=True)
class RetryRules:
    """When a failed attempt is followed by another.

    Attributes:
        max_attempts: attempts per call, the first included, but for those that a rate limit refused.
        budget: retries allowed as a share of all calls (a retry storm stops here), plus ``reserve``.
        reserve: retries that are always saved up at the start, so that few calls may still retry.
        backoff_s: wait before the same endpoint is tried again, doubled each time, seconds.
        max_backoff_s: longest such wait, seconds.
        max_wait_s: how long a call that has neither a deadline nor a caller's timeout may wait at a time for a rate
            limit or a breaker, seconds; for a free slot it waits as long as it takes.
    """

    max_attempts: int = 4
    budget: float = 0.2
    reserve: float = 20.0
    backoff_s: float = 0.1
    max_backoff_s: float = 5.0
    max_wait_s: float = 60.0

    def __post_init__(self) -> None:
        _check("retry", {n: getattr(self, n) for n in self.__slots__}, zero=frozenset({"budget", "reserve"}))
        _check_count("retry.max_attempts", self.max_attempts)


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When an endpoint is left alone.

    Attributes:
        failures: failures in a row that open the breaker.
        cooldown_s: time until one call may probe it again, seconds; doubled at each failed probe.
        max_cooldown_s: longest such time, seconds.
    """

    failures: int = 5
    cooldown_s: float = 2.0
    max_cooldown_s: float = 60.0

    def __post_init__(self) -> None:
        _check("breaker", {n: getattr(self, n) for n in self.__slots__})
        _check_count("breaker.failures", self.failures)


@dataclass(frozen=True, slots=True)
class StreamRules:
    """The clocks of one attempt; each is also bounded by what is left of the call's budget.

    Attributes:
        connect_timeout: time for a connection, seconds.
        first_token_timeout: time to the first token of a stream, seconds; None: no fixed time, a silent attempt is
            left when that makes an answer in time likelier.
        idle_timeout: time without a token once they flow, seconds.
        upgrade: whether a whole answer may be asked for as a stream, so that silence shows token by token.
        upgrade_from_s: an answer that is expected sooner than this is asked for as it is, seconds: reading a stream
            costs CPU for every token, and silence would hardly show sooner than the answer.
        continuation: whether another attempt may go on with an answer of which the caller has the beginning.
    """

    connect_timeout: float = 5.0
    first_token_timeout: float | None = None
    idle_timeout: float = 30.0
    upgrade: bool = True
    upgrade_from_s: float = 1.0
    continuation: bool = True

    def __post_init__(self) -> None:
        clocks = ("connect_timeout", "first_token_timeout", "idle_timeout")
        _check("stream", {name: getattr(self, name) for name in clocks})
        given = self.upgrade_from_s
        if not 0.0 <= given < float("inf"):
            raise ConfigError("out of range", field="stream.upgrade_from", given=given, allowed="0 or more")


@dataclass(frozen=True, slots=True)
class HedgeRules:
    """How much may be spent on second tries that are not yet necessary.

    Attributes:
        max_extra: extra attempts as a share of all calls, plus ``reserve``.
        reserve: extra attempts that are always saved up at the start.
        min_gain: gain in the probability of meeting the deadline that leaving a silent endpoint must promise.
        margin_s: time kept between the end of the fallback's 95th percentile and the deadline, seconds.
        max_moves: streams that still flow, but too slowly, and go on elsewhere, as a share of all calls, plus
            ``reserve``; 0: none, whatever the reserve.
        max_waste: what such second tries and moves are expected to spend, as a share of the tokens of all calls, plus
            ``reserve`` calls; 0: none, whatever the reserve.
    """

    max_extra: float = 0.05
    reserve: float = 5.0
    min_gain: float = 0.15
    margin_s: float = 0.1
    max_moves: float = 0.01
    max_waste: float = 0.1

    def __post_init__(self) -> None:
        zero = frozenset({"max_extra", "max_moves", "max_waste", "min_gain", "reserve"})
        _check("hedge", {n: getattr(self, n) for n in self.__slots__}, zero=zero)


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """Which runs are given up before their deadline, so that others meet theirs; always whole runs. 0: none.

    Attributes:
        floor: a run whose first call finds a probability of meeting the deadline below this is not begun.
        give_up: one that has begun is given up when a further call finds it below this.
    """

    floor: float = 0.0
    give_up: float = 0.0

    def __post_init__(self) -> None:
        for name in ("floor", "give_up"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
                raise ConfigError("out of range", field=f"admission.{name}", given=value, allowed="from 0 to 1")


@dataclass(frozen=True, slots=True)
class SkipRules:
    """When an optional step is left out.

    Attributes:
        min_gain: gain in the probability of meeting the deadline that leaving it out must exceed; 1: none is left out.
    """

    min_gain: float = 0.35

    def __post_init__(self) -> None:
        value = self.min_gain
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
            raise ConfigError("out of range", field="skip.min_gain", given=value, allowed="from 0 to 1")


@dataclass(frozen=True, slots=True)
class Rules:
    """All of them."""

    retry: RetryRules = field(default_factory=RetryRules)
    breaker: BreakerRules = field(default_factory=BreakerRules)
    stream: StreamRules = field(default_factory=StreamRules)
    hedge: HedgeRules = field(default_factory=HedgeRules)
    admission: AdmissionRules = field(default_factory=AdmissionRules)
    skip: SkipRules = field(default_factory=SkipRules)
