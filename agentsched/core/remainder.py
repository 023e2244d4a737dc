"""What still follows a call in its run: the history that a forecast may look at, and the forecast itself."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agentsched.core.forecast import QUANTILES, QuantileForecast
from agentsched.errors import ConfigError

__all__ = ["ANSWERS_KEPT", "RemainderForecast", "RunHistory"]

ANSWERS_KEPT = 8
"""Answers of a run that its history tells one by one."""

Array = NDArray[np.float64]

_NOTHING: Array = np.zeros(QUANTILES)
_NOTHING.flags.writeable = False


@dataclass(slots=True, eq=False)
class RunHistory:
    """What the scheduler has seen of one run so far. The ledger keeps it; predictors read it and change nothing.

    Attributes:
        steps: the step of every call, in order of arrival; the call that is being forecast stands last.
        counts: how often each step has come so far, that call included.
        ended: calls that are over.
        input_tokens, output_tokens: of the calls that were answered.
        answers: step and output tokens of the latest answers, newest last, at most `ANSWERS_KEPT`.
        last_output: the output tokens of the latest answer of each step.
        tool_s: seconds between calls, as far as they were seen.
    """

    steps: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    ended: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tool_s: float = 0.0
    answers: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=ANSWERS_KEPT))
    last_output: dict[str, int] = field(default_factory=dict)

    def arrived(self, step: str, tool_s: float) -> None:
        """A call of this step was made, ``tool_s`` seconds after what it waited for."""
        self.steps.append(step)
        self.counts[step] = self.counts.get(step, 0) + 1
        self.tool_s += tool_s

    def left_out(self, step: str, tool_s: float) -> None:
        """A call of this step was not made after all, as its step was left out: as if it had never arrived."""
        del self.steps[len(self.steps) - 1 - self.steps[::-1].index(step)]
        self.counts[step] -= 1
        self.tool_s -= tool_s

    def answered(self, step: str, input_tokens: int, output_tokens: int) -> None:
        """A call of this step was answered."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.answers.append((step, output_tokens))
        self.last_output[step] = output_tokens


@dataclass(frozen=True, slots=True, eq=False)
class RemainderForecast:
    """The work on the critical path from the end of a call to the end of its run, as joint samples.

    Element k of all four arrays is one equally likely future; in no particular order, least of all an ascending one, so
    that adding sample k of something else is the sum of independent quantities.

    Attributes (all float64, shape (QUANTILES,)):
        output_tokens: tokens still to be decoded one after another.
        prompt_tokens: prompt tokens still to be read one after another.
        calls: calls still to be made one after another.
        tool_s: seconds of the agent's own work between them.
    """

    output_tokens: Array
    prompt_tokens: Array
    calls: Array
    tool_s: Array

    def __post_init__(self) -> None:
        for name in ("output_tokens", "prompt_tokens", "calls", "tool_s"):
            values: Array = getattr(self, name)
            if values.shape != (QUANTILES,):
                raise ConfigError(
                    "wrong shape", field=f"remainder.{name}", given=values.shape, allowed=f"({QUANTILES},)"
                )
            values.flags.writeable = False

    @classmethod
    def of_seconds(cls, seconds: QuantileForecast) -> "RemainderForecast":
        """A remainder of which only the time is known, whatever it is spent on."""
        return cls(_NOTHING, _NOTHING, _NOTHING, seconds.values[_SHUFFLED])

    def seconds(self, *, tpot_s: float, prefill_tokens_per_s: float, ttft_s: float) -> Array:
        """The time each future takes at this pace, seconds, shape (QUANTILES,).

        Args:
            tpot_s: seconds per output token.
            prefill_tokens_per_s: prompt tokens read per second.
            ttft_s: time to first token of a short prompt, seconds, paid once per call.
        """
        total: Array = self.output_tokens * tpot_s
        total += self.prompt_tokens * (1.0 / prefill_tokens_per_s)
        total += self.calls * ttft_s
        total += self.tool_s
        return total


_SHUFFLED: NDArray[np.intp] = np.argsort((np.arange(QUANTILES) * 13 + 3) % QUANTILES)
"""A fixed permutation, another one than those of lengths and of noise."""
