"""What a workflow is asked to achieve: SLO, Deadline, Budget."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from agentsched.core.duration import Duration, parse_duration
from agentsched.errors import ConfigError

__all__ = ["SLO", "Budget", "Deadline", "OnLate"]

OnLate = Literal["raise", "degrade", "wrap_up", "partial", "ignore"]
"""What happens at, or on the way to, a deadline that will be missed; see `SLO`."""


@dataclass(frozen=True, slots=True, init=False)
class SLO:
    """The service level objective of one workflow.

    Args:
        deadline: time for the whole run, from its start to its result; None: no bound, lowest latency is sought.
        percentile: the share of runs that should meet the deadline, in (0, 1): reports and alarms compare with it.
        max_cost_usd: cap on the money one run may spend on model calls, those of runs inside it included that use the
            same pool, in USD: a call that is expected to cost more than is left is refused with a CostExceeded.
        min_quality: endpoints whose ``quality`` is below this are not used, in [0, 1].
        priority: p multiplies what this run's time is worth by 2**p; an integer, 0 is normal.
        tenant: whose run it is, for fairness and reports.
        reserve: time kept back for named steps, e.g. ``{"final": "3s"}``: earlier steps see that much less.
        on_late: ``raise`` a DeadlineExceeded at the deadline; ``ignore`` it and run on (the deadline then only guides
            decisions); ``partial``: return the best result so far (``agentsched.best_so_far``), raise if there is none.
            Two act before the deadline, once time is short, and raise at it: ``degrade`` lets endpoints below
            ``min_quality`` answer; ``wrap_up`` asks the model to finish and caps its answers by what there is time for.
            Time is short in the last quarter of it, and from half of it on if the run is forecast to be late.

    Raises:
        ConfigError: a value is not usable; it names the field.
    """

    deadline_s: float | None
    percentile: float
    max_cost_usd: float | None
    min_quality: float
    priority: int
    tenant: str
    reserve_s: Mapping[str, float] = field(hash=False)
    on_late: OnLate

    def __init__(
        self,
        deadline: Duration | None = None,
        *,
        percentile: float = 0.95,
        max_cost_usd: float | None = None,
        min_quality: float = 0.0,
        priority: int = 0,
        tenant: str = "default",
        reserve: Mapping[str, Duration] | None = None,
        on_late: OnLate = "raise",
    ) -> None:
        deadline_s = None if deadline is None else parse_duration(deadline, field="slo.deadline")
        _number("slo.percentile", percentile, above=0.0, below=1.0)
        if max_cost_usd is not None:
            _number("slo.max_cost_usd", max_cost_usd, above=0.0, below=math.inf)
        _number("slo.min_quality", min_quality, above=-1e-12, below=1.0 + 1e-12, allowed="a number from 0 to 1")
        if isinstance(priority, bool) or not isinstance(priority, int) or not -8 <= priority <= 8:
            raise ConfigError("not a priority", field="slo.priority", given=priority, allowed="an integer from -8 to 8")
        if not isinstance(tenant, str) or not tenant:
            raise ConfigError("not a tenant", field="slo.tenant", given=tenant, allowed="a non-empty name")
        if on_late not in get_args(OnLate):
            raise ConfigError("unknown", field="slo.on_late", given=on_late, allowed=", ".join(get_args(OnLate)))
        if reserve is not None and not isinstance(reserve, Mapping):
            raise ConfigError("not a mapping", field="slo.reserve", given=reserve, allowed='e.g. {"final": "3s"}')
        if not all(isinstance(step, str) and step for step in reserve or ()):
            allowed = 'names of steps, each a non-empty text, e.g. {"final": "3s"}'
            raise ConfigError("not the name of a step", field="slo.reserve", given=reserve, allowed=allowed)
        reserve_s = {
            step: parse_duration(time, field=f"slo.reserve[{step!r}]") for step, time in (reserve or {}).items()
        }
        if deadline_s is not None and sum(reserve_s.values()) >= deadline_s:
            raise ConfigError(
                "reserves the whole deadline", field="slo.reserve", given=dict(reserve or {}), allowed="less in sum"
            )
        values = (deadline_s, float(percentile), max_cost_usd, float(min_quality), priority, tenant, reserve_s, on_late)
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)


def _number(name: str, value: object, *, above: float, below: float, allowed: str | None = None) -> None:
    text = allowed or (f"a number above {above:g}" + (f" and below {below:g}" if math.isfinite(below) else ""))
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not above < value < below:
        raise ConfigError("out of range", field=name, given=value, allowed=text)


@dataclass(frozen=True, slots=True, order=True)
class Deadline:
    """An instant on this process's monotonic clock; orders by time, so ``min`` nests scopes."""

    at: float

    @classmethod
    def after(cls, duration_s: float, *, now: float) -> "Deadline":
        """The deadline that lies ``duration_s`` seconds after ``now``."""
        return cls(now + duration_s)

    def remaining(self, now: float) -> float:
        """Seconds left at ``now``; negative once it has passed."""
        return self.at - now

    def passed(self, now: float) -> bool:
        """Whether nothing is left at ``now``."""
        return now >= self.at


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left of a run: seconds (None: unbounded) and USD (None: unbounded)."""

    time_s: float | None = None
    cost_usd: float | None = None

    @property
    def spent(self) -> bool:
        """Whether time or money has run out."""
        return (self.time_s is not None and self.time_s <= 0) or (self.cost_usd is not None and self.cost_usd <= 0)
