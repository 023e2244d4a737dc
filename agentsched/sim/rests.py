"""What follows each call of a planned run, as work along its critical path."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agentsched.core.forecast import QUANTILES
from agentsched.core.remainder import RemainderForecast
from agentsched.sim.plan import CallPlan

__all__ = ["TOKENS_CALLS_SECONDS", "certain_rest", "last_calls", "rests_of", "typical_rest"]

TOKENS_CALLS_SECONDS = 4
"""Numbers in a rest: output tokens, prompt tokens that no cache holds, calls, seconds of the agent's own work."""

_MIXED: NDArray[np.intp] = np.argsort((np.arange(QUANTILES) * 13 + 3) % QUANTILES)
"""A fixed permutation: samples of a remainder are in no particular order."""


def rests_of(calls: Sequence[CallPlan], tail_s: float) -> NDArray[np.float64]:
    """The work on the critical path behind each call, shape (calls, 4), if all goes ideally.

    Args:
        calls: of one run; parents come before their children.
        tail_s: seconds of the agent's own work after the last answer.
    """
    rests = np.zeros((len(calls), TOKENS_CALLS_SECONDS))
    rests[:, 3] = tail_s
    slowest = [0.0] * len(calls)
    for k in range(len(calls) - 1, -1, -1):
        call = calls[k]
        for p in call.parents:
            between_s = calls[p].tool_s + call.wait_s
            time_s = between_s + call.ideal_s + call.rest_s
            if time_s > slowest[p]:
                slowest[p] = time_s
                rests[p] = rests[k]
                rests[p] += (call.output_tokens, _unread_tokens(calls, k), 1.0, between_s)
    return rests


def last_calls(calls: Sequence[CallPlan]) -> dict[str, int]:
    """The number of the last call of each visit of an optional step: what follows the step, follows that."""
    return {visit: k for k, call in enumerate(calls) for visit in call.optional}


def _unread_tokens(calls: Sequence[CallPlan], k: int) -> int:
    """Prompt tokens of call ``k`` that are not the beginning shared with a call it waits for."""
    call = calls[k]
    shared = (calls[p] for p in call.parents if calls[p].lineage == call.lineage)
    held = max((before.input_tokens + before.output_tokens for before in shared), default=0)
    return max(0, call.input_tokens - held)


def certain_rest(rest: NDArray[np.float64]) -> RemainderForecast:
    """The forecast of who knows the rest, shape (4,)."""
    return RemainderForecast(*np.repeat(rest, QUANTILES).reshape(TOKENS_CALLS_SECONDS, QUANTILES))


def typical_rest(rests: NDArray[np.float64], rests_s: NDArray[np.float64]) -> RemainderForecast:
    """The forecast of who has seen many such rests: evenly spread over their ideal times.

    Args:
        rests: shape (n, 4), n from 1 on.
        rests_s: shape (n,), the ideal seconds of each.
    """
    order = np.argsort(rests_s, kind="stable")
    places = ((np.arange(QUANTILES) + 0.5) / QUANTILES * len(order)).astype(np.intp)
    return RemainderForecast(*np.ascontiguousarray(rests[order[places]][_MIXED].T))
