"""Second thoughts about running attempts: what is known of one and of its alternative, and what becomes of it."""

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import Failure, FailureKind, Way
from agentsched.core.records import Review
from agentsched.core.rules import Rules
from agentsched.core.value import value
from agentsched.forecast.latency import completion_samples, lognormal_factors
from agentsched.policy.rectify import SURELY_DEAD, Judgement, Running, Verdict, judge_lull, judge_running, judge_silence
from agentsched.scheduler import clocks
from agentsched.scheduler.call_state import AttemptState, CallState
from agentsched.scheduler.going_on import draft_of, draft_way_at, partial_of, so_far, way_at
from agentsched.scheduler.ledger import Ledger
from agentsched.scheduler.placing import Placement, Placer
from agentsched.scheduler.retries import Retries
from agentsched.scheduler.retry_budget import ShareBudget, TokenBudget

__all__ = ["Rescue", "Thought"]

Array = NDArray[np.float64]

_BUSY_LOOK_S = 0.1
"""A busy endpoint that shall take over from a silent one is looked at this often once its time has come, seconds."""

_CALM = 2.0
"""A second attempt beside a healthy one is made only where it would take less than this multiple of its time on an idle
endpoint: under overload everybody is late, and more work is what nobody needs."""


_LEAST_IDLE_S = 1e-6
"""A profile may say that an answer takes no time at all, seconds."""

_LEAST_OUTLOOK = 0.8
"""Streams are moved while calls are expected to be in time with at least this probability on average: crawling is then
the trouble of one endpoint, not of all."""

_CALM_OUTLOOK, _MOST_STRAIN = 0.85, 1.3
"""A pool is overloaded if its calls expect to be in time with less than that probability, and to take more than that
multiple of what they would take on idle endpoints: a second attempt would take its place from a first one. Tight
deadlines alone are no overload, nor is a busy pool that is in time."""

_OUTLOOK_COUNT = 64.0
"""Calls over which both averages run."""


@value()
class Thought:
    """What to do about an attempt and why, with the place that would take over, and when to think again at the latest.

    ``why`` is empty where there was nothing to think about: its answer flows.
    """

    judgement: Judgement | None = None
    rival: Placement | None = None
    again_at: float = np.inf
    why: str = ""

    @property
    def verdict(self) -> Verdict:
        """What to do."""
        return Verdict.KEEP if self.judgement is None else self.judgement.verdict

    def review(self, attempt: AttemptState, now: float) -> Review:
        """The same for the log."""
        judged, verdict = self.judgement, self.verdict.value
        if judged is None:
            return Review(now, attempt.attempt_id, verdict, self.why)
        return Review(now, attempt.attempt_id, verdict, self.why, judged.p_stay, judged.p_switch, judged.p_dead)


_FLOWS = Thought()
_ALONE = Thought(why="no other endpoint may serve it")
_ONCE = Thought(why="it must not be sent twice")
_NO_TRY_LEFT = Thought(why="no further try is allowed")
_NO_RETRY_LEFT = Thought(why="the retry budget is spent")
_NOBODY_ABLE = Thought(why="nobody can go on with it")
_NO_ROOM = Thought(why="no other endpoint has room for it")


class Rescue:
    """Judges attempts of one pool, within its budgets. Starts and cancels nothing itself.

    Args:
        ledger: the books.
        placer: finds the alternative.
        rules: clocks and shares.
        retries: whether a call may be sent once more.
    """

    def __init__(self, ledger: Ledger, placer: Placer, rules: Rules, retries: Retries) -> None:
        hedge = rules.hedge
        self._ledger, self._placer, self._rules, self._retries = ledger, placer, rules, retries
        self.hedges = ShareBudget(hedge.max_extra, hedge.reserve)
        self.moves = ShareBudget(hedge.max_moves, hedge.reserve if hedge.max_moves > 0.0 else 0.0)
        self.waste = TokenBudget(hedge.max_waste, hedge.reserve)
        self._outlook = self._strain = 1.0

    def arrived(self, state: CallState) -> None:
        """A call arrived: budgets are shares of all calls."""
        self.hedges.deposit()
        self.moves.deposit()
        self.waste.deposit(_size(state))

    def placed(self, state: CallState, placement: Placement, p_meet: float | None) -> None:
        """A call was placed for the first time, and expects to be in time with this probability; None: at any time."""
        self._outlook += ((1.0 if p_meet is None else p_meet) - self._outlook) / _OUTLOOK_COUNT
        self._strain += (_strain(state, placement) - self._strain) / _OUTLOOK_COUNT

    @property
    def overloaded(self) -> bool:
        """Whether the pool has more work than it can do in time."""
        return self._outlook < _CALM_OUTLOOK and self._strain > _MOST_STRAIN

    def think(self, state: CallState, attempt: AttemptState, now: float) -> Thought:
        """Judge the only attempt of a call."""
        if len(state.attempts) != 1:
            return _FLOWS
        if attempt.first_at is not None and not self._stands_out(state, attempt, now):
            return _FLOWS
        if len(state.candidates) == 1:
            return _ALONE
        if not state.call.repeatable:
            return _ONCE
        if self._retries.attempts_left(state) <= 0:
            return _NO_TRY_LEFT
        return (self._of_silent if attempt.first_at is None else self._of_running)(state, attempt, now)

    def may_go_on(self, state: CallState) -> bool:
        """Whether a call whose two attempts are both surely dead may be sent to somebody else."""
        may_be_sent = (
            state.call.repeatable and self._retries.attempts_left(state) > 0 and self._retries.budget.available
        )
        tried = {attempt.endpoint for attempt in state.attempts.values()}
        return may_be_sent and not tried.issuperset(self._ledger.payable(state))

    # -- before the first token --------------------------------------------------------------------------------------

    def _of_silent(self, state: CallState, attempt: AttemptState, now: float) -> Thought:
        others = tuple(i for i in self._ledger.payable(state) if i != attempt.endpoint)
        rival = self._placer.place(state, others, clocks.call_ends_at(state), now) if others else None
        if rival is None:
            return _NO_ROOM
        if rival.ready_in_s > 0.0:
            last_call = clocks.is_last_call(state, attempt, self._rules, now)
            return Thought(again_at=now + _BUSY_LOOK_S if last_call else np.inf, why="the best other endpoint is busy")
        barred = self._barred(state, rival)
        may_hedge = not barred
        silence = clocks.silence(state, attempt, rival, self._ledger.table, self._rules, now)
        judgement = judge_silence(silence, min_gain=self._rules.hedge.min_gain, may_hedge=may_hedge)
        if judgement.verdict.leaves and not self._retries.budget.available:
            verdict = Verdict.HEDGE if may_hedge else Verdict.KEEP
            judgement = Judgement(verdict, judgement.p_stay, judgement.p_switch, judgement.p_dead)
            barred = barred or _NO_RETRY_LEFT.why
        return Thought(judgement, rival, why=_reason(judgement, barred))

    def _barred(self, state: CallState, rival: Placement) -> str:
        """Why no second attempt may run beside this one; empty: it may."""
        if not self.hedges.available:
            return "the share of second attempts is spent"
        if not self.waste.affords(_size(state)):
            return "the tokens for second attempts are spent"
        if self.overloaded:
            return "the pool is overloaded"
        return "the other endpoint is overloaded" if _strain(state, rival) > _CALM else ""

    def hedged(self, state: CallState) -> None:
        """A second attempt was started beside the first."""
        self.hedges.take()
        self.waste.take(_size(state))

    # -- after it ----------------------------------------------------------------------------------------------------

    def _stands_out(self, state: CallState, attempt: AttemptState, now: float) -> bool:
        """Whether a stream stands still or crawls, and its reader is not the reason."""
        still = attempt.slow_since is not None or clocks.stalled(attempt, now)
        return not attempt.paused and (still or clocks.lulls_at_last_call(state, attempt, self._rules, now))

    def _of_running(self, state: CallState, attempt: AttemptState, now: float) -> Thought:
        """A stream that stands still, or crawls: whether another endpoint would be done sooner."""
        if not self._retries.budget.available:
            return _NO_RETRY_LEFT
        if state.delivered is not None:
            partial = partial_of(state, attempt, self._rules, self._ledger.pool.endpoints)
            able = () if partial is None else partial.candidates
        else:
            able = state.candidates
        payable = self._ledger.payable(state)
        others = tuple(i for i in able if i != attempt.endpoint and i in payable)
        if not others:
            return _NOBODY_ABLE
        rival = self._placer.place(state, others, clocks.call_ends_at(state), now)
        if rival is None or rival.ready_in_s > 0.0:
            return _NO_ROOM
        running = self._running(state, attempt, rival, now)
        if not clocks.stalled(attempt, now) and clocks.lulls_at_last_call(state, attempt, self._rules, now):
            barred = self._barred(state, rival)
            judgement = judge_lull(running, may_hedge=not barred)
        else:
            barred = self._fixed(state, attempt, rival)
            judgement = judge_running(running, may_move=not barred)
        return Thought(judgement, rival, why=_reason(judgement, barred))

    def _fixed(self, state: CallState, attempt: AttemptState, rival: Placement) -> str:
        """Why a stream that still flows may not be moved; empty: it may."""
        if attempt.slow_since is None:
            return "its lull is too short to tell"
        if not (self.moves.available and self.waste.affords(_size(state))):
            return "the share of streams that move is spent"
        strained = self._outlook < _LEAST_OUTLOOK or _strain(state, rival) > _CALM
        return "it is not slow alone: the pool is overloaded" if strained else ""

    def leaves(self, state: CallState, attempt: AttemptState, p_dead: float, now: float) -> Failure:
        """The attempt is left: why, as its failure; leaving a stream that still flows is paid for."""
        if attempt.first_at is None:
            return Failure(FailureKind.SILENT, f"no sign of life for {now - attempt.started_at:.2f} s")
        if p_dead >= SURELY_DEAD or clocks.lulls_at_last_call(state, attempt, self._rules, now):
            return Failure(FailureKind.STALLED, f"no further token for {now - attempt.progress_at:.2f} s")
        self.moves.take()
        self.waste.take(_size(state))
        pace, usual = attempt.pace_s * 1e3, attempt.predicted_tpot_s * 1e3
        return Failure(FailureKind.SLOW, f"{pace:.0f} ms a token instead of {usual:.0f}")

    def _running(self, state: CallState, attempt: AttemptState, rival: Placement, now: float) -> Running:
        table, endpoints = self._ledger.table, self._ledger.pool.endpoints
        tokens = attempt.known_tokens + attempt.tokens
        lengths = state.lengths.above(float(tokens)).values
        left = np.maximum(0.0, lengths - tokens)
        spread = lognormal_factors(table.speeds.spread(attempt.endpoint))
        pace = max(attempt.pace_s, attempt.predicted_tpot_s)
        repeats = self._repeats(state, attempt, rival)
        return Running(
            lull_s=now - attempt.progress_at,
            usual_lull_s=clocks.usual_lull_s(attempt),
            slowness=pace / attempt.predicted_tpot_s,
            left_samples=left * pace * spread,
            rival_samples=completion_samples(
                rival.ttft_s, rival.tpot_s, lengths if repeats else left, table.speeds.spread(rival.endpoint)
            ),
            slack_s=_slack_s(state, rival, now),
            error_rate=table.gates.errors(attempt.endpoint, now),
            rival_error_rate=table.gates.errors(rival.endpoint, now),
            begun=state.delivered is not None or not repeats,
            degrades=endpoints[rival.endpoint].quality < endpoints[attempt.endpoint].quality,
        )

    def _repeats(self, state: CallState, attempt: AttemptState, rival: Placement) -> bool:
        """Whether the alternative would have to write again what has been written."""
        endpoints = self._ledger.pool.endpoints
        place, call = endpoints[rival.endpoint], state.call
        if state.delivered is None:
            draft = draft_of(state, attempt, self._rules, endpoints)
            return draft is None or draft_way_at(call, draft, place) is None
        return way_at(call, so_far(attempt, endpoints), place) is Way.REPLAY


def _reason(judgement: Judgement, barred: str) -> str:
    """The verdict's reason, for people; ``barred``: why something may not be done that would have been considered."""
    dead = judgement.p_dead >= SURELY_DEAD
    if judgement.verdict is Verdict.HEDGE:
        return "two attempts are likelier to be in time than one"
    if judgement.verdict.leaves:
        return "it is surely dead" if dead else "an answer in time is likelier elsewhere"
    if barred and not dead:
        return barred
    return "it is surely dead, but so is the hope for another" if dead else "it promises as much as another"


def _size(state: CallState) -> float:
    """Tokens that sending the call once more is expected to take."""
    return state.call.input_tokens + state.lengths.mean


def _strain(state: CallState, placement: Placement) -> float:
    """How long the call would take there, as a multiple of what it would take if the endpoint were idle."""
    situation, k = placement.situation, placement.position
    states, tokens = situation.states, state.lengths.mean
    uncached = max(0.0, state.call.input_tokens - situation.cached_tokens.item(k))
    idle_s = states.ttft_idle_s.item(k) + uncached / states.prefill_tokens_per_s.item(k)
    idle_s += tokens * states.tpot_alone_s.item(k)
    return (state.queued_s + placement.ttft_s + tokens * placement.tpot_s) / max(_LEAST_IDLE_S, idle_s)


def _slack_s(state: CallState, rival: Placement, now: float) -> Array | float | None:
    """Seconds until the answer is due, so that what follows it in its run still fits; None: it is due never."""
    situation, call = rival.situation, state.call
    if situation.slack_s is None:
        return None
    if situation.rest_s is None or state.run.run.due_at is None:
        return situation.slack_s
    left = np.minimum(state.run.run.due_at - now - situation.rest_s, situation.slack_s)
    # Where even nothing left would be late, the run is lost either way: what counts is then the call's own deadline.
    return left if float(left.max()) > 0.0 or call.deadline_at is None else call.deadline_at - now
