"""What still follows a call in its run, from how such runs went before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from agentsched.core.call import ModelCall
from agentsched.core.forecast import QuantileForecast
from agentsched.core.remainder import RemainderForecast, RunHistory

__all__ = ["WHOLE_RUN", "EmpiricalRemainders", "RemainderKey"]

RemainderKey = tuple[str, str]
"""(workflow, step)."""

WHOLE_RUN = ""
"""Stands for the step before the first call: what follows it is the whole run."""


@dataclass(frozen=True, slots=True)
class EmpiricalRemainders:
    """A snapshot: for each (workflow, step) the seconds from the end of such a call to the end of its run."""

    groups: Mapping[RemainderKey, QuantileForecast] = field(default_factory=lambda: MappingProxyType({}))

    def predict(self, call: ModelCall, history: RunHistory) -> RemainderForecast | None:
        """The forecast for this call; None until such a run was seen to its end."""
        known = self.rest_s(call.workflow, call.step)
        return None if known is None else RemainderForecast.of_seconds(known)

    def rest_s(self, workflow: str, step: str) -> QuantileForecast | None:
        """The forecast of the seconds that follow a call of this step; None until such a run was seen to its end."""
        return self.groups.get((workflow, step))
