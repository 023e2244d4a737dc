"""Whose turn it is among calls that nobody gave a deadline: the tenant's that was served least."""

import math

__all__ = ["AttainedService"]

_FORGOTTEN_S = 300.0
"""Service is forgotten with this time constant, seconds: who was idle has saved nothing up for ever."""

_MOST_TENANTS = 1024


class AttainedService:
    """Seconds of service per tenant, each divided by 2^priority: least attained service first, weighted."""

    def __init__(self) -> None:
        self._served: dict[str, tuple[float, float]] = {}

    def of(self, tenant: str, now: float) -> float:
        """What the tenant has had lately, weighted seconds."""
        seconds, at = self._served.get(tenant, (0.0, now))
        return seconds * math.exp((at - now) / _FORGOTTEN_S)

    def add(self, tenant: str, seconds: float, priority: int, now: float) -> None:
        """A call of this tenant was served for so long."""
        had = self.of(tenant, now)
        self._served.pop(tenant, None)  # to the end: the one whose service is oldest goes first
        self._served[tenant] = (had + seconds * 2.0**-priority, now)
        if len(self._served) > _MOST_TENANTS:
            del self._served[next(iter(self._served))]
