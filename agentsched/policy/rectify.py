"""Second thoughts about a running attempt: keep it, try a second one beside it, or leave it for another endpoint."""

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SLOW",
    "SURELY_DEAD",
    "Judgement",
    "Running",
    "Silence",
    "Verdict",
    "judge_lull",
    "judge_running",
    "judge_silence",
    "longest_lull_s",
    "p_dead",
]

Array = NDArray[np.float64]

_BASE_FAULT = 0.02
"""Share of attempts assumed to fall silent for good on an endpoint without a record of errors."""

SURELY_DEAD = 0.9
"""From this probability on nothing is lost by cancelling the silent attempt."""


_LAST_CALL_GAIN = 0.02
"""What a second attempt must gain when it is now or never."""

_VAGUE = 3.0
"""Ratio of the 95th percentile to the median beyond which a forecast knows nothing."""


SLOW = 2.0
"""A stream whose tokens take this many times what was predicted for them is out of order, not just long."""

_MOVE_GAIN = 0.35
"""What leaving a stream that still flows must gain: its prompt is read a second time, which others pay for as well."""

_USUAL_LULLS = 3.0
"""Up to this multiple of the usual lull between tokens, a lull says nothing."""


class Verdict(Enum):
    """What to do about a running attempt. The last three leave it for another endpoint."""

    KEEP = "keep"
    HEDGE = "hedge"
    """Try a second one beside it."""
    RESTART = "restart"
    """Begin anew: the caller has nothing of the answer."""
    MIGRATE = "migrate"
    """Go on with the answer, of which the caller has the beginning."""
    DEGRADE = "degrade"
    """Either, at an endpoint of lower declared quality."""

    @property
    def leaves(self) -> bool:
        """Whether the attempt is given up."""
        return self in (Verdict.RESTART, Verdict.MIGRATE, Verdict.DEGRADE)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and what it rests on.

    Attributes:
        verdict: what to do.
        p_stay: probability of an answer in time from the attempt as it is.
        p_switch: the same from the alternative, were it started now.
        p_dead: probability that the attempt will never go on.
    """

    verdict: Verdict
    p_stay: float
    p_switch: float
    p_dead: float


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
        degrades: the alternative is of lower declared quality.
    """

    waited_s: float
    sign_samples: Array
    completion_samples: Array
    rival_samples: Array
    slack_s: float | None
    error_rate: float
    rival_error_rate: float
    last_call: bool
    degrades: bool = False


def p_dead(sign_samples: Array, waited_s: float, error_rate: float) -> float:
    """Probability that an attempt silent for ``waited_s`` will never answer, by Bayes' rule.

    Prior: 2 % plus half the recent error rate. Beyond the largest sample the survival of a healthy attempt falls
    exponentially with a scale of a fifth of that sample.
    """
    prior = _prior(error_rate)
    count = sign_samples.size
    alive = (float(np.count_nonzero(sign_samples > waited_s)) + 0.5) / (count + 1.0)
    largest = sign_samples.item(sign_samples.argmax())
    if waited_s > largest:
        alive *= float(np.exp(max(-50.0, (largest - waited_s) / max(0.02, 0.2 * largest))))
    return prior / (prior + (1.0 - prior) * alive)


def judge_silence(silence: Silence, *, min_gain: float, may_hedge: bool) -> Judgement:
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
    switch = _p_rival_healthy(silence.rival_error_rate) * (
        1.0 if silence.slack_s is None else _share(silence.rival_samples <= silence.slack_s)
    )
    return Judgement(_verdict(silence, stay, switch, dead, min_gain, may_hedge), stay, switch, dead)


def _verdict(silence: Silence, stay: float, switch: float, dead: float, min_gain: float, may_hedge: bool) -> Verdict:
    hedged = stay + switch - stay * switch
    if dead >= SURELY_DEAD:
        return _leaving(silence.degrades) if switch > stay or silence.last_call else Verdict.KEEP
    if not silence.last_call:
        return Verdict.HEDGE if may_hedge and hedged - stay >= min_gain else Verdict.KEEP
    vague = _is_vague(silence.rival_samples)
    if not may_hedge:
        pays = switch - stay >= min_gain or (vague and switch >= stay)
        return _leaving(silence.degrades) if pays else Verdict.KEEP
    return Verdict.HEDGE if hedged - stay >= (0.0 if vague else _LAST_CALL_GAIN) else Verdict.KEEP


def _leaving(degrades: bool, *, begun: bool = False) -> Verdict:
    return Verdict.DEGRADE if degrades else Verdict.MIGRATE if begun else Verdict.RESTART


def _p_rival_healthy(error_rate: float) -> float:
    return 1.0 - _prior(error_rate)


def _is_vague(samples: Array) -> bool:
    """Whether the 95th percentile is over three times the median: only a forecast that knows nothing is so wide."""
    return float(np.quantile(samples, 0.95)) > _VAGUE * float(np.median(samples))


def _p_healthy_in_time(silence: Silence) -> float:
    """P(answer in time | alive and still silent): those samples whose sign of life is still to come."""
    if silence.slack_s is None:
        return 1.0
    open_still = silence.sign_samples > silence.waited_s
    if not np.count_nonzero(open_still):
        return 0.5
    return _share(silence.completion_samples[open_still] <= silence.waited_s + silence.slack_s)


# -- attempts whose tokens flow, or flowed ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """An attempt that has given tokens, and its best alternative, seen at one instant.

    Attributes:
        lull_s: seconds since its last token.
        usual_lull_s: longest lull that is nothing out of the ordinary, seconds.
        slowness: its time per token as a multiple of what was predicted for it.
        left_samples: equally likely seconds until it is complete, at its own pace.
        rival_samples: the same for the alternative if started now: what must be read or written once more included.
        slack_s: shape like the samples or a number, seconds until the answer is due, aligned with neither; None: never.
        error_rate, rival_error_rate: recent error rates of both endpoints.
        begun: the caller has the beginning of the answer.
        degrades: the alternative is of lower declared quality.
    """

    lull_s: float
    usual_lull_s: float
    slowness: float
    left_samples: Array
    rival_samples: Array
    slack_s: Array | float | None
    error_rate: float
    rival_error_rate: float
    begun: bool
    degrades: bool = False


def longest_lull_s(usual_lull_s: float, error_rate: float) -> float:
    """From which lull on an attempt is surely dead, seconds: the inverse of what `judge_running` believes of lulls.

    P(dead) by Bayes' rule; a healthy attempt is silent for longer than three usual lulls with a probability that falls
    exponentially, with the usual lull as its scale.
    """
    prior = _prior(error_rate)
    odds = SURELY_DEAD / (1.0 - SURELY_DEAD) * (1.0 - prior) / prior
    return usual_lull_s * (_USUAL_LULLS + math.log(odds))


def judge_running(running: Running, *, may_move: bool) -> Judgement:
    """Compare going on with starting the alternative, by the probability of the whole answer in time.

    An attempt that is surely dead is left where the alternative is likelier. One that still flows is left only when it
    is out of order (`SLOW`) and leaving gains .35: the routing study found re-reading prompts the scarce resource.
    Without a deadline, "in time" is twice what the alternative takes.

    Args:
        running: the situation.
        may_move: whether a stream that still flows may be left: its budget.
    """
    stay, switch, dead = _odds(running)
    if dead >= SURELY_DEAD:
        leaves = switch >= stay
    else:
        leaves = may_move and running.slowness >= SLOW and switch - stay >= _MOVE_GAIN
    verdict = _leaving(running.degrades, begun=running.begun) if leaves else Verdict.KEEP
    return Judgement(verdict, stay, switch, dead)


def judge_lull(running: Running, *, may_hedge: bool) -> Judgement:
    """The last call of an attempt that stands still, of whose answer nobody has anything yet.

    The lull is too short to call it dead, but the alternative does not fit any more later on: it is tried beside the
    attempt, or in its place where only one may run and the alternative is clearly likelier.
    """
    stay, switch, dead = _odds(running)
    if may_hedge:
        verdict = Verdict.HEDGE if switch > 0.0 and stay < 1.0 else Verdict.KEEP
    else:
        verdict = _leaving(running.degrades) if switch - stay >= _MOVE_GAIN else Verdict.KEEP
    return Judgement(verdict, stay, switch, dead)


def _odds(running: Running) -> tuple[float, float, float]:
    """P(whole answer in time) from going on and from the alternative, and P(dead), by Bayes' rule on the lull."""
    prior = _prior(running.error_rate)
    excess = running.lull_s - _USUAL_LULLS * running.usual_lull_s
    alive = math.exp(max(-50.0, -excess / running.usual_lull_s)) if excess > 0.0 else 1.0
    dead = prior / (prior + (1.0 - prior) * alive) if excess > 0.0 else prior
    slack = 2.0 * float(np.median(running.rival_samples)) if running.slack_s is None else running.slack_s
    stay = (1.0 - dead) * _share(running.left_samples <= slack)
    switch = _p_rival_healthy(running.rival_error_rate) * _share(running.rival_samples <= slack)
    return stay, switch, dead


def _share(true: NDArray[np.bool_]) -> float:
    return np.count_nonzero(true) / true.size


def _prior(error_rate: float) -> float:
    return min(0.5, _BASE_FAULT + 0.5 * error_rate)
