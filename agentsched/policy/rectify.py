"""Second thoughts about an attempt that has not given a sign of life: keep waiting, try a second one, or leave it."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

__all__ = ["SURELY_DEAD", "Silence", "Verdict", "judge_silence", "p_dead"]

Array = NDArray[np.float64]

_BASE_FAULT = 0.02
"""Share of attempts assumed to fall silent for good on an endpoint without a record of errors."""

SURELY_DEAD = 0.9
"""From this probability on nothing is lost by cancelling the silent attempt."""


_LAST_CALL_GAIN = 0.02
"""What a second attempt must gain when it is now or never."""

_VAGUE = 3.0
"""Ratio of the 95th percentile to the median beyond which a forecast knows nothing."""


class Verdict(Enum):
    """What to do about a silent attempt."""

    KEEP = "keep"
    HEDGE = "hedge"
    RESTART = "restart"


@dataclass(frozen=True, slots=True, eq=False)
class Silence:
    """A silent attempt and its best alternative, seen at one instant.

    Attributes:
        waited_s: seconds since the attempt started.
        sign_samples: equally likely times, from the start, at which a healthy attempt gives its first sign, seconds.
        completion_samples: equally likely end-to-end times of a healthy attempt, seconds, aligned with sign_samples.
        rival_samples: equally likely end-to-end times of the best alternative, if started now, seconds.
        slack_s: seconds until the deadline, from now; None: no deadline.
        error_rate: the silent endpoint's recent error rate.
        rival_error_rate: the alternative's.
        last_call: this is the last instant at which the alternative fits before the deadline.
    """

    waited_s: float
    sign_samples: Array
    completion_samples: Array
    rival_samples: Array
    slack_s: float | None
    error_rate: float
    rival_error_rate: float
    last_call: bool


def p_dead(sign_samples: Array, waited_s: float, error_rate: float) -> float:
    """Probability that an attempt silent for ``waited_s`` will never answer, by Bayes' rule.

    Prior: 2 % plus half the recent error rate. Beyond the largest sample the survival of a healthy attempt falls
    exponentially with a scale of a fifth of that sample.
    """
    prior = min(0.5, _BASE_FAULT + 0.5 * error_rate)
    count = sign_samples.size
    alive = (float(np.count_nonzero(sign_samples > waited_s)) + 0.5) / (count + 1.0)
    largest = float(sign_samples.max())
    if waited_s > largest:
        alive *= float(np.exp(max(-50.0, (largest - waited_s) / max(0.02, 0.2 * largest))))
    return prior / (prior + (1.0 - prior) * alive)


def judge_silence(silence: Silence, *, min_gain: float, may_hedge: bool) -> Verdict:
    """Compare waiting on with starting the alternative, by the probability of an answer before the deadline.

    A second attempt beside the first pays from ``min_gain`` on; at the last call any gain pays, and where the forecast
    is too vague to tell even none. Where only one may run, a likely healthy one is given up at the last call alone, and
    for a real gain: what it has done so far would be lost.

    Args:
        silence: the situation.
        min_gain: the gain in that probability from which on an early second try pays.
        may_hedge: whether a second attempt may run beside the first (repeatable, within the hedge budget).
    """
    dead = p_dead(silence.sign_samples, silence.waited_s, silence.error_rate)
    stay = (1.0 - dead) * _p_healthy_in_time(silence)
    rival_healthy = 1.0 - min(0.5, _BASE_FAULT + 0.5 * silence.rival_error_rate)
    switch = rival_healthy * (
        1.0 if silence.slack_s is None else float(np.mean(silence.rival_samples <= silence.slack_s))
    )
    hedged = stay + switch - stay * switch
    if dead >= SURELY_DEAD:
        return Verdict.RESTART if switch > stay or silence.last_call else Verdict.KEEP
    vague = _is_vague(silence.rival_samples)
    if not may_hedge:
        pays = switch - stay >= min_gain or (vague and switch >= stay)
        return Verdict.RESTART if pays and silence.last_call else Verdict.KEEP
    least = min_gain if not silence.last_call else 0.0 if vague else _LAST_CALL_GAIN
    return Verdict.HEDGE if hedged - stay >= least else Verdict.KEEP


def _is_vague(samples: Array) -> bool:
    """Whether the 95th percentile is over three times the median: only a forecast that knows nothing is so wide."""
    return float(np.quantile(samples, 0.95)) > _VAGUE * float(np.median(samples))


def _p_healthy_in_time(silence: Silence) -> float:
    """P(answer in time | alive and still silent): those samples whose sign of life is still to come."""
    if silence.slack_s is None:
        return 1.0
    open_still = silence.sign_samples > silence.waited_s
    if not open_still.any():
        return 0.5
    in_time = silence.completion_samples[open_still] <= silence.waited_s + silence.slack_s
    return float(in_time.mean())
