"""Names of policies in configuration files, and what makes them. A new policy is one file and one line here."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from agentsched.core.protocols import Policy
from agentsched.errors import ConfigError
from agentsched.policy.least_outstanding import SpeedWeightedLeastOutstanding
from agentsched.policy.shortest_completion import ShortestExpectedCompletion

__all__ = ["POLICIES", "make_policy"]

POLICIES: Mapping[str, Callable[..., Policy]] = {
    SpeedWeightedLeastOutstanding.name: SpeedWeightedLeastOutstanding,
    ShortestExpectedCompletion.name: ShortestExpectedCompletion,
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
