"""What the parts of a scenario file have in common."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agentsched.errors import ConfigError
from agentsched.settings.fields import NUMERIC, Seconds

__all__ = ["Bursts", "Interval", "Part", "Sigma", "Slower"]

_SHORTEST_S = 0.001

Sigma = Annotated[float, Field(ge=0, le=10), NUMERIC]
"""A standard deviation of a logarithm: at 10, one draw in three is off by a factor of 20,000 and more."""

Slower = Annotated[float, Field(gt=0, le=1000), NUMERIC]
"""How many times longer something takes; what is a thousand times slower is down."""

Bursts = Annotated[float, Field(gt=0, le=30), NUMERIC]
"""A coefficient of variation: beyond it nearly all gaps are nothing, and the rest longer than any simulation."""


def _not_too_often(seconds: float) -> float:
    if seconds < _SHORTEST_S:
        raise ConfigError("out of range", allowed="1ms or more")
    return seconds


Interval = Annotated[Seconds, AfterValidator(_not_too_often)]
"""Seconds between two events of a kind, or that something lasts: a simulation does nothing else where they come all the
time, and late on a clock of 64 bits nothing shorter passes."""


class Part(BaseModel):
    """A mapping of the file; the descriptions of its keys are what an editor shows."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
