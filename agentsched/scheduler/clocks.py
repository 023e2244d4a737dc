"""The clocks of a call and of its attempts: which have run out, and which runs out next."""

import numpy as np

from agentsched.core.call import Failure, FailureKind
from agentsched.core.rules import Rules, StreamRules
from agentsched.forecast.latency import completion_samples
from agentsched.policy.rectify import Silence
from agentsched.scheduler.call_state import AttemptState, CallState
from agentsched.scheduler.endpoint_table import EndpointTable
from agentsched.scheduler.placing import Placement

__all__ = ["long_due", "next_review", "overdue_attempt", "overdue_call", "silence"]

_REVIEW_EVERY_S = 0.5
"""How often a silent attempt is looked at again once it is late, seconds."""

_LATE = 1.5
"""An attempt is late, and looked at, from this multiple of its predicted first sign of life on."""

_SHORTEST_LOOK_S = 0.05
"""No look comes earlier than this after an attempt's start, seconds."""

_TTFT_SPREAD = 0.4
"""Log-standard-deviation of a TTFT around its prediction, taken from hosted endpoints."""


def overdue_call(state: CallState, now: float) -> Failure | None:
    """Why the whole call is over, if it is: the deadline, the caller's own timeout, or a wait without end."""
    call = state.call
    if call.deadline_at is not None and now >= call.deadline_at:
        return Failure(FailureKind.DEADLINE, f"the deadline passed {now - state.arrived_at:.2f} s after the call")
    if call.patience_s is not None and now >= _progress_at(state) + call.patience_s:
        return Failure(FailureKind.PATIENCE, f"nothing came for {call.patience_s:g} s, the caller's own timeout")
    return None


def _progress_at(state: CallState) -> float:
    """When the caller last got something: what its own timeout is counted from."""
    if state.delivered is None:
        return state.arrived_at
    attempt = state.attempts[state.delivered]
    return np.inf if attempt.paused else attempt.progress_at


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
        return np.inf if attempt.paused else attempt.progress_at + rules.idle_timeout
    if state.call.stream and rules.first_token_timeout is not None:
        return attempt.started_at + rules.first_token_timeout
    return np.inf


def next_review(state: CallState, table: EndpointTable, rules: Rules, now: float) -> float:
    """The next instant at which anything about this call may have to change; inf: none."""
    call = state.call
    at = np.inf if call.deadline_at is None else call.deadline_at
    if call.patience_s is not None:
        at = min(at, _progress_at(state) + call.patience_s)
    for attempt in state.attempts.values():
        at = min(at, _attempt_limit(state, attempt, rules.stream))
        if _may_be_left(state, attempt):
            at = min(at, _next_look(state, attempt, table, rules, now))
    return float(at)


def _may_be_left(state: CallState, attempt: AttemptState) -> bool:
    """Whether a second attempt could still replace this one."""
    alone = len(state.attempts) == 1 and attempt.first_at is None
    return alone and len(state.candidates) > 1 and state.call.repeatable


def _sign_s(state: CallState, attempt: AttemptState) -> float:
    """When a healthy attempt gives its first sign of life, by prediction, seconds after its start."""
    return attempt.predicted_ttft_s if state.call.stream else attempt.predicted_e2e_s


def long_due(state: CallState, attempt: AttemptState, now: float) -> bool:
    """Whether the attempt is silent although its first sign of life has been due for as long again."""
    return attempt.first_at is None and now - attempt.started_at > 2.0 * _sign_s(state, attempt)


def _next_look(state: CallState, attempt: AttemptState, table: EndpointTable, rules: Rules, now: float) -> float:
    look = attempt.started_at + max(_SHORTEST_LOOK_S, _LATE * _sign_s(state, attempt))
    if look <= now:
        look = now + _REVIEW_EVERY_S
    last = _last_call_at(state, attempt, table, rules)
    return min(look, last) if last > now else look


def _last_call_at(state: CallState, attempt: AttemptState, table: EndpointTable, rules: Rules) -> float:
    """The last instant at which the alternative still fits, by its 95th percentile; half-way where it never did."""
    if state.call.deadline_at is None:
        return np.inf
    slack = state.call.deadline_at - attempt.started_at
    rival_s = _fastest_rival_s(state, table, attempt.endpoint)
    return attempt.started_at + max(slack - rival_s - rules.hedge.margin_s, 0.5 * slack)


def _fastest_rival_s(state: CallState, table: EndpointTable, but: int) -> float:
    """The 95th percentile of the end-to-end time at the fastest other candidate, from what is known for long."""
    rivals = [i for i in state.candidates if i != but]
    pace = np.maximum(table.tpot_alone_s[rivals] * table.pace_scale[rivals], table.tpot_s[rivals])
    prefill = state.call.input_tokens / table.prefill_tokens_per_s[rivals]
    times = table.ttft_idle_s[rivals] + prefill + state.lengths.quantile(0.95) * pace
    return 1.25 * float(times.min())


def silence(
    state: CallState, attempt: AttemptState, rival: Placement, table: EndpointTable, rules: Rules, now: float
) -> Silence:
    """A silent attempt and its alternative as `judge_silence` wants them."""
    call, values = state.call, state.lengths.values
    completion = completion_samples(attempt.predicted_ttft_s, attempt.predicted_tpot_s, values)
    sign = completion
    if call.stream:
        spread = completion_samples(1.0, 0.0, values) - 1.0
        sign = attempt.predicted_ttft_s * np.exp(spread * (_TTFT_SPREAD / 0.15))
    slack, last_call = None, False
    if call.deadline_at is not None:
        slack = call.deadline_at - now
        last_call = now >= _last_call_at(state, attempt, table, rules) - 1e-3
    return Silence(
        waited_s=now - attempt.started_at,
        sign_samples=sign,
        completion_samples=completion,
        rival_samples=rival.samples,
        slack_s=slack,
        error_rate=float(table.error_rate[attempt.endpoint]),
        rival_error_rate=float(table.error_rate[rival.endpoint]),
        last_call=last_call,
    )
