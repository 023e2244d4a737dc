"""Options of policies: refused when they are set, not when they are used."""

from agentsched.errors import ConfigError

__all__ = ["flag", "number", "whole"]


def number(option: str, value: object, low: float, high: float) -> float:
    """``value`` as a number from ``low`` to ``high``.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        allowed = f"a number from {low:g} on" if high > 1e300 else f"a number from {low:g} to {high:g}"
        raise ConfigError("out of range", field=f"policy.{option}", given=value, allowed=allowed)
    return float(value)


def whole(option: str, value: object) -> int:
    """``value`` as a whole number from 0 on that fits 64 bits.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise ConfigError("out of range", field=f"policy.{option}", given=value, allowed="a whole number from 0 on")
    return value


def flag(option: str, value: object) -> bool:
    """``value`` as true or false.

    Raises:
        ConfigError: it is neither.
    """
    if not isinstance(value, bool):
        raise ConfigError("neither true nor false", field=f"policy.{option}", given=value, allowed="true or false")
    return value
