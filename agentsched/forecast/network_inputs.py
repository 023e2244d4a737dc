"""What the trained forecasters of output lengths look at, as one vector of numbers."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import ModelCall
from agentsched.forecast.features import WORD_BUCKETS, word_buckets

__all__ = ["GENERATED_AT", "INPUTS", "NAME_BUCKETS", "network_inputs"]

Array = NDArray[np.float64]

_ANSWERS = 3
_COUNTS = 4 + _ANSWERS
_NUMBERS = _COUNTS + 2 + _ANSWERS
GENERATED_AT = 0
"""Where the vector holds log(1 + tokens generated so far)."""

NAME_BUCKETS = 64
"""Buckets that steps, the steps before them, and models are hashed into, each kind its own."""

INPUTS = _NUMBERS + 3 * NAME_BUCKETS + WORD_BUCKETS
"""Length of the vector."""

_TO_UNIT = 1.0 / 10.0
"""Logarithms of token counts come to about one by this."""


def network_inputs(call: ModelCall, answers: Sequence[tuple[str, int]], own: int | None, generated: int = 0) -> Array:
    """The vector of a call, shape (INPUTS,); about 10 us.

    Args:
        call: the call; its ``features`` are read if it has any.
        answers: what the run was answered before it, newest last.
        own: output tokens of the run's last answer of the same step; None: there was none.
        generated: tokens of this call's answer so far.
    """
    known = min(_ANSWERS, len(answers))
    counts = [generated, call.input_tokens, call.call_index, own or 0, *(answers[-1 - k][1] for k in range(known))]
    made = np.zeros(INPUTS)
    made[: len(counts)] = np.log1p(counts)
    made[:_COUNTS] *= _TO_UNIT
    made[_COUNTS] = 1.0
    made[_COUNTS + 1] = own is not None
    made[_COUNTS + 2 : _COUNTS + 2 + known] = 1.0
    last = answers[-1][0] if answers else ""
    for kind, name in enumerate((f"{call.workflow}\0{call.step}", f"{call.workflow}\0{last}", call.model)):
        made[_NUMBERS + kind * NAME_BUCKETS + zlib.crc32(name.encode("utf-8", "surrogatepass")) % NAME_BUCKETS] = 1.0
    if call.features:
        buckets = word_buckets(call.features)
        made[INPUTS - WORD_BUCKETS + buckets] = 1.0 / np.sqrt(buckets.size)
    return made
