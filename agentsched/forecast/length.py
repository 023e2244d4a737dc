"""Output length from what the same step did before, with shrinkage toward wider groups while little was seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from agentsched.core.call import ModelCall
from agentsched.core.forecast import QuantileForecast

__all__ = ["PRIOR_OUTPUT_TOKENS", "EmpiricalLengths", "LengthKey", "length_keys"]

PRIOR_OUTPUT_TOKENS = QuantileForecast.lognormal(150.0, 1.0)
"""What is believed of any answer before one was seen: median 150 tokens, 90 % between 29 and 777."""

_HINT_SPREAD = 0.4
"""Log-standard-deviation around a length that the user hinted at."""

LengthKey = tuple[str, str, str]
"""(workflow, step, model); an empty text stands for "any"."""


def length_keys(workflow: str, step: str, model: str) -> tuple[LengthKey, ...]:
    """The groups a call belongs to, widest first: all, model, workflow, (workflow, step), (workflow, step, model).

    Each is there once, also where a part is unknown, that is, empty.
    """
    keys = (("", "", ""), ("", "", model), (workflow, "", ""), (workflow, step, ""), (workflow, step, model))
    return keys if workflow and step and model else tuple(dict.fromkeys(keys))


@dataclass(frozen=True, slots=True)
class EmpiricalLengths:
    """A snapshot of what was learned; the narrowest known group answers, already shrunk toward the wider ones."""

    groups: Mapping[LengthKey, QuantileForecast] = field(default_factory=lambda: MappingProxyType({}))

    def predict(self, call: ModelCall) -> QuantileForecast:
        """The forecast of the call's output tokens, not capped by its ``max_tokens``."""
        if call.hinted_output_tokens is not None:
            return QuantileForecast.lognormal(float(max(1, call.hinted_output_tokens)), _HINT_SPREAD)
        for key in reversed(length_keys(call.workflow, call.step, call.model)):
            known = self.groups.get(key)
            if known is not None:
                return known
        return PRIOR_OUTPUT_TOKENS
