"""Names of policies in configuration files, and what makes them. A new policy is one file and one line here."""

from collections.abc import Callable, Mapping
from importlib import import_module
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

__all__ = ["POLICIES", "make_policy", "policy_factory"]

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


def policy_factory(name: str) -> Callable[..., Policy]:
    """What makes the policies of this name: one of `POLICIES`, or, where there is a dot in it, ``module.Class``.

    Raises:
        ConfigError: there is none.
    """
    factory = POLICIES.get(name)
    if factory is not None:
        return factory
    module, dot, attribute = name.rpartition(".")
    allowed = f"{', '.join(sorted(POLICIES))}, or my_module.MyPolicy"
    if not dot:
        raise ConfigError("unknown policy", field="policy.name", given=name, allowed=allowed)
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"cannot be imported: {error}", field="policy.name", given=name, allowed=allowed) from error
    if not (callable(found) and callable(getattr(found, "choose", None))):
        raise ConfigError("is no class with a method choose", field="policy.name", given=name, allowed=allowed)
    made: Callable[..., Policy] = found
    return made


def make_policy(name: str, options: Mapping[str, Any] | None = None) -> Policy:
    """The policy of this name with these options.

    Raises:
        ConfigError: the name or an option is unknown.
    """
    factory = policy_factory(name)
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
