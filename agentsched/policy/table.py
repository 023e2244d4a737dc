"""Names of policies in configuration files, and what makes them. A new policy is one file and one line here."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from agentsched.core.protocols import Policy
from agentsched.errors import ConfigError
from agentsched.policy.deadline_aware import DeadlineAware
from agentsched.policy.drawn import PowerOfTwo, Random
from agentsched.policy.fused import Fused
from agentsched.policy.just_enough import JustEnough
from agentsched.policy.least_outstanding import LeastOutstanding, SpeedWeightedLeastOutstanding
from agentsched.policy.litellm import LiteLLMLatency, LiteLLMShuffle
from agentsched.policy.peak_ewma import PeakEwma
from agentsched.policy.prefix_affinity import PrefixAffinity
from agentsched.policy.round_robin import RoundRobin
from agentsched.policy.shortest_completion import ShortestExpectedCompletion
from agentsched.policy.tail_aware import TailAware

__all__ = ["POLICIES", "make_policy"]

POLICIES: Mapping[str, Callable[..., Policy]] = {
    Random.name: Random,
    RoundRobin.name: RoundRobin,
    PowerOfTwo.name: PowerOfTwo,
    LeastOutstanding.name: LeastOutstanding,
    SpeedWeightedLeastOutstanding.name: SpeedWeightedLeastOutstanding,
    PeakEwma.name: PeakEwma,
    LiteLLMLatency.name: LiteLLMLatency,
    LiteLLMShuffle.name: LiteLLMShuffle,
    PrefixAffinity.name: PrefixAffinity,
    ShortestExpectedCompletion.name: ShortestExpectedCompletion,
    DeadlineAware.name: DeadlineAware,
    JustEnough.name: JustEnough,
    Fused.name: Fused,
    TailAware.name: TailAware,
}


def make_policy(name: str, options: Mapping[str, Any] | None = None) -> Policy:
    """The policy of this name with these options.

    Raises:
        ConfigError: the name or an option is unknown.
    """
    factory = POLICIES.get(name)
    if factory is None:
        raise ConfigError("unknown policy", field="policy.name", given=name, allowed=", ".join(sorted(POLICIES)))
    known = signature(factory).parameters
    for option in options or {}:
        if option not in known:
            raise ConfigError(
                "unknown option",
                field=f"policy.{option}",
                given=(options or {})[option],
                allowed=", ".join(known) or f"none: {name} takes no option",
            )
    return factory(**(options or {}))
