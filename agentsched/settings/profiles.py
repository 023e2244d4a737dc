"""What a ``profile:`` in a configuration stands for."""

from agentsched.core.endpoint import Profile
from agentsched.engine.profiles import all_profiles, load_profile

__all__ = ["profile_names", "profile_prior"]


def profile_names() -> tuple[str, ...]:
    """The names of the hardware profiles that this version knows, sorted."""
    return tuple(sorted(all_profiles()))


def profile_prior(name: str) -> Profile:
    """What may be believed at first of an endpoint on the named hardware.

    Raises:
        ConfigError: the name is unknown.
    """
    return load_profile(name).prior()
