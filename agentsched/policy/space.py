"""What may be tuned of a policy: each declares it beside its options, as the class attribute ``space``."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Between", "OneOf", "Option", "Space"]

Option = bool | int | float | str
"""An option's value, as configuration files hold it."""


@dataclass(frozen=True, slots=True)
class Between:
    """A number from ``low`` to ``high``; with ``log`` its logarithm is what is spread evenly (``low`` is above 0)."""

    low: float
    high: float
    log: bool = False

    def at(self, fraction: float) -> float:
        """The value at a fraction from 0 to 1 of the way, to four digits: tuned values are read by people."""
        if self.log:
            value = self.low * math.exp(fraction * math.log(self.high / self.low))
        else:
            value = self.low + fraction * (self.high - self.low)
        return min(max(float(f"{value:.4g}"), self.low), self.high)


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some values."""

    values: tuple[Option, ...]

    def at(self, fraction: float) -> Option:
        """The value at a fraction from 0 to 1 of the list."""
        return self.values[min(int(fraction * len(self.values)), len(self.values) - 1)]


Space = Mapping[str, Between | OneOf]
"""Option -> what it may be."""
