"""A closed-loop load on one instance: so many callers, each asking again as soon as it is answered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentsched.engine.instance import Instance
from agentsched.engine.profile import HardwareProfile
from agentsched.engine.request import Request

__all__ = ["ClosedLoop", "closed_loop"]


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """What the callers saw, one figure per answer in order of completion.

    Attributes:
        ttft_s: time to first token, seconds.
        tpot_s: time per output token after the first, seconds.
        elapsed_s: duration of the whole run, seconds.
        output_tokens: tokens generated in it.
    """

    ttft_s: npt.NDArray[np.float64]
    tpot_s: npt.NDArray[np.float64]
    elapsed_s: float
    output_tokens: int


def closed_loop(
    profile: HardwareProfile,
    *,
    callers: int,
    prompt_tokens: int,
    output_tokens: int,
    rounds: int,
    shortest: float,
    rng: np.random.Generator,
) -> ClosedLoop:
    """Run ``callers * rounds`` requests, all callers starting at once, as serving benchmarks do.

    Args:
        profile: the instance.
        callers: requests in flight at any time.
        prompt_tokens: longest prompt.
        output_tokens: longest output, at least 2.
        rounds: requests per caller.
        shortest: shortest length as a share of the longest; lengths are uniform between. At 1 all callers stay in step.
        rng: draws the lengths.

    Raises:
        ValueError: a single request does not fit into the instance's memory.
    """
    total = callers * rounds
    prompts = np.maximum(1, (rng.uniform(shortest, 1.0, total) * prompt_tokens).astype(int))
    outputs = np.maximum(2, (rng.uniform(shortest, 1.0, total) * output_tokens).astype(int))
    instance = Instance(profile, detail=False)
    asked_s, first_s = np.zeros(total), np.full(total, -1.0)
    ttft_s: list[float] = []
    tpot_s: list[float] = []
    count = 0

    def ask(now: float) -> None:
        nonlocal count
        if count < total:
            refusal = instance.submit(Request(str(count), int(prompts[count]), int(outputs[count])), now)
            if refusal is not None:
                raise ValueError(refusal.detail)
            asked_s[count] = now
            count += 1

    now = 0.0
    for _ in range(callers):
        ask(now)
    while (at := instance.next_event_at()) is not None:
        now = at
        for emission in instance.advance(now):
            for name in emission.prefilled:
                if first_s[int(name)] < 0:  # a preempted request is prefilled again; its first token was before
                    first_s[int(name)] = emission.end_s
            for name in emission.finished:
                index = int(name)
                ttft_s.append(first_s[index] - asked_s[index])
                tpot_s.append((emission.end_s - first_s[index]) / (outputs[index] - 1))
                ask(now)
    return ClosedLoop(np.array(ttft_s), np.array(tpot_s), now, int(outputs.sum()))
