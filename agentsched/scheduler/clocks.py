"""The clocks of a call and of its attempts: which have run out, and which runs out next."""

import math

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import Failure, FailureKind
from agentsched.core.rules import Rules, StreamRules
from agentsched.forecast.latency import KNOWN_SPREAD, completion_samples, lognormal_factors
from agentsched.policy.rectify import SLOW, SURELY_DEAD, Silence, longest_lull_s, p_dead
from agentsched.scheduler.call_state import AttemptState, CallState
from agentsched.scheduler.endpoint_table import EndpointTable
from agentsched.scheduler.placing import Placement

__all__ = [
    "call_ends_at",
    "crawls",
    "dead_pair",
    "is_last_call",
    "lulls_at_last_call",
    "next_review",
    "outlasted",
    "overdue_attempt",
    "overdue_call",
    "silence",
    "stalled",
    "surely_dead",
    "usual_lull_s",
]

Array = NDArray[np.float64]

_REVIEW_EVERY_S = 0.5
"""How often a silent attempt is looked at again once it is late, seconds."""

_LATE = 1.5
"""An attempt is late, and looked at, from this multiple of its predicted first sign of life on."""

_SHORTEST_LOOK_S = 0.05
"""No look comes earlier than this after an attempt's start, seconds."""

_SHORTEST_LULL_S = 0.25
"""Progress is told every tenth of a second, and networks hiccup: shorter lulls mean nothing, seconds."""

_CRAWL_S = 1.0
"""For so long a stream must crawl before it is moved, seconds."""

_LULL_TOKENS = 4.0
"""Servers hold tokens back, and prompts of others are read between them: so many token times are no lull."""

_TTFT_SPREAD = 0.4
"""Log-standard-deviation of a TTFT around its prediction, taken from hosted endpoints."""

_STRANGER_SPREAD = math.log(3.0)
"""Log-standard-deviation of the speed of an endpoint never heard from: its profile may be off by a factor of three."""


def call_ends_at(state: CallState) -> float:
    """The instant at which the whole call is over if nothing comes: deadline or caller's patience; inf: never."""
    call = state.call
    at = math.inf if call.deadline_at is None else call.deadline_at
    return at if call.patience_s is None else min(at, _progress_at(state) + call.patience_s)


def overdue_call(state: CallState, now: float) -> Failure | None:
    """Why the whole call is over, if it is: the deadline, or the caller's own timeout."""
    call = state.call
    if call.deadline_at is not None and now >= call.deadline_at:
        return Failure(FailureKind.DEADLINE, f"the deadline passed {now - state.arrived_at:.2f} s after the call")
    if call.patience_s is not None and now >= _progress_at(state) + call.patience_s:
        return Failure(FailureKind.PATIENCE, f"nothing came for {call.patience_s:g} s, the caller's own timeout")
    return None


def _progress_at(state: CallState) -> float:
    """When the caller last got something: what its own timeout is counted from."""
    if state.delivered is None:
        return state.arrived_at if state.partial is None else state.partial.progress_at
    attempt = state.attempts[state.delivered]
    return math.inf if attempt.paused else attempt.progress_at


def overdue_attempt(state: CallState, attempt: AttemptState, rules: StreamRules, now: float) -> Failure | None:
    """Why this attempt is over, if it is: the configured first-token clock or the idle clock."""
    at = _attempt_limit(state, attempt, rules)
    if now < at:
        return None
    if attempt.first_at is None:
        return Failure(FailureKind.SILENT, f"no token for {now - attempt.started_at:.2f} s")
    return Failure(FailureKind.STALLED, f"no further token for {now - attempt.progress_at:.2f} s")


def _attempt_limit(state: CallState, attempt: AttemptState, rules: StreamRules) -> float:
    if attempt.first_at is not None:
        return math.inf if attempt.paused else attempt.progress_at + rules.idle_timeout
    if attempt.streams and rules.first_token_timeout is not None:
        return attempt.started_at + rules.first_token_timeout
    return math.inf


def next_review(state: CallState, rules: Rules, now: float) -> float:
    """The next instant at which anything about this trying or delivered call may have to change; inf: none."""
    soonest = call_ends_at(state)
    for attempt in state.attempts.values():
        at = _attempt_limit(state, attempt, rules.stream)
        if at < soonest:
            soonest = at
        if attempt.first_at is None:
            if _may_be_left(state, rules) or _third_may_come(state):
                at = _next_look(state, attempt, rules, now)
                if at < soonest:
                    soonest = at
        elif not attempt.paused and _may_be_left(state, rules):
            at = attempt.progress_at + _surely_stalled_s(attempt)
            soonest = min(soonest, at if at > now else now + _REVIEW_EVERY_S)
            if state.delivered is None:
                at = max(_last_call_at(state, attempt, rules), attempt.progress_at + usual_lull_s(attempt)) + 1e-3
                soonest = min(soonest, at if at > now else now + _REVIEW_EVERY_S)
    return soonest


# -- attempts that stand still ---------------------------------------------------------------------------------------


def usual_lull_s(attempt: AttemptState) -> float:
    """Longest lull between tokens that is nothing out of the ordinary: what it has shown already, or a few tokens."""
    pace = attempt.pace_s if attempt.pace_s > attempt.predicted_tpot_s else attempt.predicted_tpot_s
    lull_s = _LULL_TOKENS * pace
    if lull_s < _SHORTEST_LULL_S:
        lull_s = _SHORTEST_LULL_S
    return lull_s if lull_s > attempt.longest_lull_s else attempt.longest_lull_s


def crawls(attempt: AttemptState, now: float) -> bool:
    """Whether its tokens have been coming far too slowly for a while, not just while prompts of others were read."""
    if attempt.pace_s <= SLOW * attempt.predicted_tpot_s:
        attempt.slow_since = None
        return False
    if attempt.slow_since is None:
        attempt.slow_since = now
    return now - attempt.slow_since >= _CRAWL_S


def stalled(attempt: AttemptState, now: float) -> bool:
    """Whether it has stood still for so long that this is no lull."""
    return now - attempt.progress_at >= longest_lull_s(usual_lull_s(attempt), 0.0)


def lulls_at_last_call(state: CallState, attempt: AttemptState, rules: Rules, now: float) -> bool:
    """Whether nobody has anything of its answer, it stands still, and soon no alternative would fit any more."""
    still = state.delivered is None and now - attempt.progress_at >= usual_lull_s(attempt)
    return still and is_last_call(state, attempt, rules, now)


def _surely_stalled_s(attempt: AttemptState) -> float:
    return longest_lull_s(usual_lull_s(attempt), 0.0) + 1e-3


# -- silent attempts -------------------------------------------------------------------------------------------------


def _may_be_left(state: CallState, rules: Rules) -> bool:
    """Whether another attempt might still replace the only one; where the rules allow none, nobody thinks of it."""
    allowed = rules.retry.max_attempts > 1 and state.call.repeatable
    return allowed and len(state.attempts) == 1 and len(state.candidates) > 1


def _third_may_come(state: CallState) -> bool:
    """Whether there is somebody left to ask where two attempts run, of whom neither has won."""
    return state.delivered is None and len(state.candidates) > len(state.attempts) > 1


def _sign_s(attempt: AttemptState) -> float:
    """When a healthy attempt gives its first sign of life, by prediction, seconds after its start."""
    return attempt.predicted_ttft_s if attempt.streams else attempt.predicted_e2e_s


def _next_look(state: CallState, attempt: AttemptState, rules: Rules, now: float) -> float:
    look = attempt.started_at + max(_SHORTEST_LOOK_S, _LATE * _sign_s(attempt))
    if look <= now:
        look = now + _REVIEW_EVERY_S
    last = _last_call_at(state, attempt, rules)
    return min(look, last) if last > now else look


def _last_call_at(state: CallState, attempt: AttemptState, rules: Rules) -> float:
    """The last instant at which the alternative still fits, by its 95th percentile; half-way where it never did.

    It is put off until a healthy attempt would have given its sign of life, but not beyond the middle.
    """
    if state.call.deadline_at is None:
        return math.inf
    slack = state.call.deadline_at - attempt.started_at
    spare = slack - attempt.rival_q95_s - rules.hedge.margin_s
    if spare <= 0.0:
        return attempt.started_at + 0.5 * slack
    return attempt.started_at + max(spare, min(0.5 * slack, _sign_s(attempt)))


def is_last_call(state: CallState, attempt: AttemptState, rules: Rules, now: float) -> bool:
    """Whether the last instant at which the alternative still fits has come."""
    return now >= _last_call_at(state, attempt, rules) - 1e-3


def _healthy_samples(state: CallState, attempt: AttemptState, table: EndpointTable, now: float) -> tuple[Array, Array]:
    """Equally likely (first sign, whole answer) of a healthy attempt, seconds from its start.

    The fewer answers the endpoint has given so far, the less is its forecast believed; and the more silent endpoints
    the call has left already, for then it may be the call that takes long. First tokens that others have waited for in
    the meantime are waited for here as well.
    """
    doubt = state.left + 1.0 / (1.0 + table.speeds.heard[attempt.endpoint])
    spread = table.speeds.spread(attempt.endpoint)
    sigma = math.hypot(_STRANGER_SPREAD * math.sqrt(doubt), spread)
    whole = lognormal_factors(sigma) * completion_samples(
        attempt.predicted_ttft_s, attempt.predicted_tpot_s, state.lengths.values, KNOWN_SPREAD
    )
    if not attempt.streams:
        return whole, whole
    sign_s = max(attempt.predicted_ttft_s, attempt.unloaded_ttft_s + table.speeds.excess_s(attempt.endpoint, now))
    return sign_s * lognormal_factors(math.hypot(sigma, _TTFT_SPREAD)), whole


def silence(
    state: CallState, attempt: AttemptState, rival: Placement, table: EndpointTable, rules: Rules, now: float
) -> Silence:
    """A silent attempt and its alternative as `judge_silence` wants them."""
    sign, whole = _healthy_samples(state, attempt, table, now)
    slack, last_call = None, False
    if state.call.deadline_at is not None:
        slack = state.call.deadline_at - now
        last_call = is_last_call(state, attempt, rules, now)
    return Silence(
        waited_s=now - attempt.started_at,
        sign_samples=sign,
        completion_samples=whole,
        rival_samples=rival.samples,
        slack_s=slack,
        error_rate=table.gates.errors(attempt.endpoint, now),
        rival_error_rate=table.gates.errors(rival.endpoint, now),
        last_call=last_call,
        degrades=table.endpoints[rival.endpoint].quality < table.endpoints[attempt.endpoint].quality,
    )


def surely_dead(state: CallState, attempt: AttemptState, table: EndpointTable, now: float) -> bool:
    """Whether the attempt has been silent for so long that its endpoint is to blame, by its forecast alone."""
    if attempt.first_at is not None:
        return False
    sign, _ = _healthy_samples(state, attempt, table, now)
    return p_dead(sign, now - attempt.started_at, table.gates.errors(attempt.endpoint, now)) >= SURELY_DEAD


def dead_pair(state: CallState, table: EndpointTable, now: float) -> AttemptState | None:
    """The older of two attempts that are both surely dead, while somebody else could be asked; None: there is hope."""
    if not _third_may_come(state):
        return None
    for attempt in state.attempts.values():
        still = attempt.first_at is not None and not attempt.paused and stalled(attempt, now)
        if not (still or surely_dead(state, attempt, table, now)):
            return None
    return min(state.attempts.values(), key=lambda attempt: attempt.started_at)


def outlasted(state: CallState, silent: AttemptState, winner: AttemptState, now: float) -> bool:
    """Whether an attempt was silent for twice as long as it should have been, by what the winner's sign of life took.

    The winner shows how far the forecasts of this very call are off, so a slow but healthy endpoint is not blamed.
    """
    if silent.first_at is not None:
        return False
    waited, taken = now - silent.started_at, now - winner.started_at
    return waited * _sign_s(winner) > 2.0 * taken * _sign_s(silent)
