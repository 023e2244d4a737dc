"""The pool that is served when nobody says which."""

from __future__ import annotations

from agentsched.emulator.config import EmulatedEndpoint, EmulatorConfig, PoolPrice
from agentsched.engine.profiles import load_profile

__all__ = ["DEFAULT_MODEL", "default_config"]

DEFAULT_MODEL = "qwen3-32b"

_PRICES = {"l40s-tp2": 0.28, "rtx6000": 0.30, "a100-tp2": 0.40, "h200": 0.60}
"""USD per million output tokens, by hardware: invented, but dearer for faster; input costs a sixth."""


def default_config(*, time_scale: float = 1.0) -> EmulatorConfig:
    """Return four endpoints of one model on unequal hardware, at 20 to 50 ms per token alone.

    Args:
        time_scale: how many times faster than real time the engines run.
    """
    endpoints = tuple(
        EmulatedEndpoint(
            name=hardware,
            profile=load_profile(f"{DEFAULT_MODEL}-{hardware}"),
            model=DEFAULT_MODEL,
            seed=seed,
            price=PoolPrice(input=usd / 6, output=usd),
        )
        for seed, (hardware, usd) in enumerate(_PRICES.items())
    )
    return EmulatorConfig(endpoints=endpoints, time_scale=time_scale)
