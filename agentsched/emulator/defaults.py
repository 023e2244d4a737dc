"""The pool that is served when nobody says which."""

from __future__ import annotations

from agentsched.emulator.config import EmulatedEndpoint, EmulatorConfig, PoolPrice

__all__ = ["DEFAULT_MODEL", "default_config"]

DEFAULT_MODEL = "emulated-8b"


def default_config(*, time_scale: float = 1.0) -> EmulatorConfig:
    """Return four endpoints of one model on unequal hardware."""
    prices = {"v100": 0.30, "a40": 0.28, "a800": 0.40, "h800": 0.60}
    endpoints = tuple(
        EmulatedEndpoint(
            name=gpu,
            profile=f"study-8b-{gpu}",  # type: ignore[arg-type]
            model=DEFAULT_MODEL,
            seed=seed,
            price=PoolPrice(input=1000 * usd / 6, output=1000 * usd),
        )
        for seed, (gpu, usd) in enumerate(prices.items())
    )
    return EmulatorConfig(endpoints=endpoints, time_scale=time_scale)
