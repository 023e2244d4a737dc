"""The rules of the configuration file, version 1. The descriptions are what an editor shows."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, WithJsonSchema

from agentsched.core.rules import AdmissionRules, BreakerRules, HedgeRules, RetryRules, SkipRules, StreamRules
from agentsched.settings.fields import Count, NumberOrZero, Seconds, SecondsOrZero, Share
from agentsched.settings.section import Section

__all__ = ["AdmissionFile", "BreakerFile", "HedgeFile", "RetryFile", "SkipFile", "StreamFile"]

_RETRY, _BREAKER, _STREAM, _HEDGE = RetryRules(), BreakerRules(), StreamRules(), HedgeRules()


class RetryFile(Section):
    """When a failed attempt is followed by another."""

    max_attempts: Count = _RETRY.max_attempts
    """Attempts per call, the first included."""
    budget: NumberOrZero = _RETRY.budget
    """Retries allowed as a share of all calls, so that a retry storm stops."""
    reserve: NumberOrZero = _RETRY.reserve
    """Retries saved up at the start, so that few calls may still retry."""
    backoff: Seconds = _RETRY.backoff_s
    """Wait before the same endpoint is tried again, doubled each time."""
    max_backoff: Seconds = _RETRY.max_backoff_s
    """Longest such wait."""
    max_wait: Seconds = _RETRY.max_wait_s
    """How long a call may wait at a time for a limit or a breaker that has neither a deadline nor a timeout of its
    client's, as the openai SDK has one of 600 s; for a slot as long as it takes."""

    def core(self) -> RetryRules:
        """As the rest of agentsched knows it."""
        return RetryRules(
            max_attempts=self.max_attempts,
            budget=self.budget,
            reserve=self.reserve,
            backoff_s=self.backoff,
            max_backoff_s=self.max_backoff,
            max_wait_s=self.max_wait,
        )


class BreakerFile(Section):
    """When an endpoint is left alone."""

    failures: Count = _BREAKER.failures
    """Failures in a row that open the breaker."""
    cooldown: Seconds = _BREAKER.cooldown_s
    """Time until one call may try it again; doubled at each failed trial."""
    max_cooldown: Seconds = _BREAKER.max_cooldown_s
    """Longest such time."""

    def core(self) -> BreakerRules:
        """As the rest of agentsched knows it."""
        return BreakerRules(failures=self.failures, cooldown_s=self.cooldown, max_cooldown_s=self.max_cooldown)


def _switch(value: object) -> object:
    """``true`` and ``false`` mean what they say here too."""
    return {True: "auto", False: "never"}.get(value, value) if isinstance(value, bool) else value


Switch = Annotated[
    Literal["auto", "never"],
    BeforeValidator(_switch),
    WithJsonSchema({"enum": ["auto", "never", True, False]}),
]


class StreamFile(Section):
    """The clocks of one attempt; each is also bounded by what is left of the call's budget."""

    connect_timeout: Seconds = _STREAM.connect_timeout
    """Time for a connection."""
    first_token_timeout: Seconds | None = _STREAM.first_token_timeout
    """Time to the first token; when left out, a silent attempt is left when an answer in time is likelier elsewhere."""
    idle_timeout: Seconds = _STREAM.idle_timeout
    """Time without a token once they flow."""
    upgrade: Switch = "auto"
    """Whether whole answers are asked for as streams where nothing is lost by it, so that silence shows sooner."""
    upgrade_from: SecondsOrZero = _STREAM.upgrade_from_s
    """Answers that are expected sooner are asked for as they are: a stream costs CPU for every token."""
    continuation: Switch = "auto"
    """Whether another endpoint may go on with a broken stream, where that can be done without changing what came."""

    def core(self) -> StreamRules:
        """As the rest of agentsched knows it."""
        return StreamRules(
            connect_timeout=self.connect_timeout,
            first_token_timeout=self.first_token_timeout,
            idle_timeout=self.idle_timeout,
            upgrade=self.upgrade == "auto",
            upgrade_from_s=self.upgrade_from,
            continuation=self.continuation == "auto",
        )


class AdmissionFile(Section):
    """Which runs are given up before their deadline, so that others meet theirs; always whole runs."""

    floor: Share = 0.0
    """A run whose first call finds a lower probability of meeting the deadline is not begun; 0: all are."""
    give_up: Share = 0.0
    """A run is given up when a further call finds a lower probability; 0: none is."""

    def core(self) -> AdmissionRules:
        """As the rest of agentsched knows it."""
        return AdmissionRules(self.floor, self.give_up)


class SkipFile(Section):
    """When an optional step is left out."""

    min_gain: Share = SkipRules().min_gain
    """Gain in the probability of meeting the deadline that leaving it out must exceed; 1: none is left out."""

    def core(self) -> SkipRules:
        """As the rest of agentsched knows it."""
        return SkipRules(self.min_gain)


class HedgeFile(Section):
    """How much may be spent on second tries that are not yet necessary."""

    max_extra: Share = _HEDGE.max_extra
    """Extra attempts as a share of all calls."""
    reserve: NumberOrZero = _HEDGE.reserve
    """Extra attempts saved up at the start, so that few calls may be hedged too."""
    min_gain: Share = _HEDGE.min_gain
    """Gain in the probability of meeting the deadline that leaving a silent endpoint must promise."""
    margin: Seconds = _HEDGE.margin_s
    """Time kept between the fallback's 95th percentile and the deadline."""
    max_moves: Share = _HEDGE.max_moves
    """Streams that crawl and go on elsewhere, as a share of all calls; 0: none."""
    max_waste: Share = _HEDGE.max_waste
    """Tokens that second tries may take, as a share of the tokens of all calls; 0: none."""

    def core(self) -> HedgeRules:
        """As the rest of agentsched knows it."""
        return HedgeRules(
            max_extra=self.max_extra,
            reserve=self.reserve,
            min_gain=self.min_gain,
            margin_s=self.margin,
            max_moves=self.max_moves,
            max_waste=self.max_waste,
        )
