"""What becomes of running attempts: their tokens, their answers, their failures, and the clocks that run for them."""

import numpy as np

from agentsched.core.call import Failure, FailureKind, Handed, Usage
from agentsched.core.endpoint import Pool
from agentsched.core.records import Note
from agentsched.core.rules import Rules
from agentsched.policy.rectify import SURELY_DEAD, Verdict
from agentsched.scheduler import clocks
from agentsched.scheduler.actions import Cancel, Record
from agentsched.scheduler.call_state import AttemptState, CallState
from agentsched.scheduler.choosing import Choosing
from agentsched.scheduler.endings import Endings
from agentsched.scheduler.events import AttemptFailed, AttemptFinished, ReviewDue, StreamsProgressed, TokensProgressed
from agentsched.scheduler.going_on import break_off, keep_draft, refused_draft, still_able
from agentsched.scheduler.ledger import Ledger
from agentsched.scheduler.outbox import Outbox
from agentsched.scheduler.placing import Placer
from agentsched.scheduler.rescue import Rescue
from agentsched.scheduler.retries import Retries
from agentsched.scheduler.upgrades import Upgrades

__all__ = ["Attempts"]

_THINK_EVERY_S = 0.5
"""A stream that crawls is thought about at most this often, seconds."""


class Attempts:
    """Follows the attempts of one pool.

    Args:
        pool: the endpoints.
        ledger: the books.
        placer: tells which policy places calls.
        rules: clocks, going on.
        retries: whether a call may be sent once more.
        rescue: second thoughts.
        upgrades: learns which endpoints take whole answers as streams.
        choosing: finds the next place.
        endings: delivers, cancels, fails.
        outbox: takes the actions.
    """

    def __init__(
        self,
        pool: Pool,
        ledger: Ledger,
        placer: Placer,
        rules: Rules,
        retries: Retries,
        rescue: Rescue,
        upgrades: Upgrades,
        choosing: Choosing,
        endings: Endings,
        outbox: Outbox,
    ) -> None:
        self._pool, self._ledger, self._placer, self._rules, self._retries = pool, ledger, placer, rules, retries
        self._rescue, self._upgrades, self._choosing = rescue, upgrades, choosing
        self._endings, self._outbox = endings, outbox

    # -- tokens ------------------------------------------------------------------------------------------------------

    def progressed(self, event: TokensProgressed, now: float) -> None:
        """Tokens came."""
        self._progressed(event.attempt_id, event.output_tokens, now, now - event.age_s, event.paused, event.handed)

    def all_progressed(self, event: StreamsProgressed, now: float) -> None:
        """Tokens of several attempts came: the same as one after another.

        That goes for when stakes are worked out anew, too, and for places that one of them left: who waits gets them
        before the next one is thought about.
        """
        ledger = self._ledger
        for k, (attempt_id, tokens) in enumerate(event.tokens):
            self._progressed(attempt_id, tokens, now, now, False, Handed.TEXT)
            if k == 0:
                ledger.stakes.refresh(now, hurried=False)
            if ledger.freed:
                self._choosing.serve_waiting(now)

    def _progressed(self, attempt_id: str, tokens: int, now: float, at: float, paused: bool, handed: Handed) -> None:
        found = self._ledger.attempt(attempt_id)
        if found is None:
            return
        state, attempt = found
        was_paused, was_silent = attempt.paused, attempt.first_at is None
        self._ledger.lessons.saw_progress(attempt, tokens, at, paused=paused)
        attempt.handed = handed
        if state.first_at is None:
            state.first_at = now
        if state.delivered is None and state.call.stream:
            self._began_to_stream(state, attempt, now)
        elif was_silent and not state.call.stream:
            self._endings.beat(state, attempt, now)
            self._outbox.review_at(state, min(state.review_at, clocks.next_review(state, self._rules, now)), now)
        elif paused != was_paused:
            self._pause_changed(state, now)
        elif clocks.crawls(attempt, now) and now - attempt.thought_at >= _THINK_EVERY_S:
            self._think(state, attempt, now)  # its review stands, unless it was left

    def _pause_changed(self, state: CallState, now: float) -> None:
        overdue = clocks.overdue_call(state, now)
        if overdue is None:
            self._outbox.schedule_review(state, now)
        else:  # its review is late, and is not put off once more
            self._endings.fail(state, overdue, now)

    def _began_to_stream(self, state: CallState, attempt: AttemptState, now: float) -> None:
        """The first token for the caller, or the first after an attempt that broke off."""
        if state.partial is not None and attempt.handed is Handed.NOTHING:
            return  # it repeats what the caller has
        overdue = clocks.overdue_call(state, now)
        if overdue is not None:  # its review is late: a stream must not begin only to be cut
            self._endings.fail(state, overdue, now)
            return
        self._endings.deliver(state, attempt, now)
        self._outbox.schedule_review(state, now)

    # -- answers -----------------------------------------------------------------------------------------------------

    def finished(self, event: AttemptFinished, now: float) -> None:
        """A whole answer came."""
        found = self._ledger.attempt(event.attempt_id)
        if found is None:
            return
        state, attempt = found
        said = event.usage
        known = attempt.known_tokens
        usage = Usage(
            state.call.input_tokens + known if said.input_tokens is None else said.input_tokens,
            attempt.tokens if said.output_tokens is None else said.output_tokens,
            said.cached_input_tokens,
            said.decode_s,
        )
        if state.delivered is None:
            self._endings.deliver(state, attempt, now)
        self._learn(state, attempt, said, usage, now)
        self._endings.close(state, attempt, usage, None, now)
        if known:  # what was sent along as the beginning of the answer is output of the call, not prompt
            read, written = usage.input_tokens or 0, usage.output_tokens or 0
            usage = Usage(max(0, read - known), written + known, usage.cached_input_tokens)
        self._endings.end(state, "ok", now, winner=attempt, usage=usage)

    def _learn(self, state: CallState, attempt: AttemptState, said: Usage, usage: Usage, now: float) -> None:
        name = self._ledger.name(attempt.endpoint)
        lesson = self._upgrades.answered(state, attempt, said)
        if lesson is not None:
            self._outbox.note(name, lesson, now)
        if self._ledger.lessons.saw_answer(state, attempt, usage, now):
            self._note_coverage(now)
        if self._ledger.table.gates.succeeded(attempt.endpoint):
            self._outbox.note(name, "is back", now)

    def _note_coverage(self, now: float) -> None:
        fallback = self._placer.fallback
        if fallback is not None:
            lost = self._ledger.table.coverage.lost
            told = f"its forecasts no longer hold: {fallback.name} takes over" if lost else "its forecasts hold again"
            self._outbox.put(Record(Note(now, "policy", told)))

    # -- failures ----------------------------------------------------------------------------------------------------

    def failed(self, event: AttemptFailed, now: float) -> None:
        """An attempt came to a bad end by itself."""
        found = self._ledger.attempt(event.attempt_id)
        if found is not None:
            self._over(*found, event.failure, now)

    def _over(self, state: CallState, attempt: AttemptState, failure: Failure, now: float) -> None:
        """One attempt is over without an answer: blame, then hand over, wait for its rival, or try again."""
        i, delivered = attempt.endpoint, state.delivered == attempt.attempt_id
        ends_at = clocks.call_ends_at(state)
        self._endings.blame(i, failure, now)
        self._endings.close(state, attempt, None, failure, now)
        state.story.append(f"{self._ledger.name(i)}: {failure} after {now - attempt.started_at:.2f} s")
        state.last_failure = failure
        state.only_limits = state.only_limits and failure.kind is FailureKind.RATE_LIMITED
        state.left += failure.kind is FailureKind.SILENT
        state.left_quality = self._pool.endpoints[i].quality
        at_once = self._retries.avoid(state, attempt, failure, ends_at, now) or refused_draft(state, attempt, failure)
        keep_draft(state, attempt, self._rules, self._pool.endpoints)
        if delivered and not break_off(state, attempt, self._rules, self._pool.endpoints):
            self._endings.fail(state, failure, now)
        elif state.attempts:  # its rival may still answer, also where this one was refused
            self._await_rival(state, now)
        elif state.partial is not None and not delivered and not still_able(state, i, failure, self._pool.endpoints):
            self._endings.fail(state, failure, now)
        elif at_once:
            state.uncounted += 1
            self._choosing.choose(state, "retry", now)
        elif failure.kind is FailureKind.CLIENT and state.partial is None:
            self._endings.fail(state, failure, now, refused=attempt)
        elif failure.kind is FailureKind.UNSTREAMED:
            self._upgrades.refused(state, attempt)
            self._choosing.choose(state, "retry", now)
        else:
            self._retry(state, failure, now)

    def _await_rival(self, state: CallState, now: float) -> None:
        overdue = clocks.overdue_call(state, now)
        if overdue is None:
            self._outbox.schedule_review(state, now)
        else:  # its review is late, and the next one might be, too
            self._endings.fail(state, overdue, now)

    def _retry(self, state: CallState, failure: Failure, now: float) -> None:
        """Try again elsewhere, or at the same endpoint after its pause, within the call's and the pool's budgets."""
        if not self._retries.allowed(state, failure):
            self._endings.fail(state, failure, now)
            return
        self._retries.count(state, failure)
        self._choosing.choose(state, "left" if failure.kind is FailureKind.SILENT else "retry", now)

    # -- reviews -----------------------------------------------------------------------------------------------------

    def review(self, event: ReviewDue, now: float) -> None:
        """A clock of a call has run out, or it is time for second thoughts."""
        state = self._ledger.calls.get(event.call_id)
        if state is None:
            return
        state.review_at = np.inf
        overdue = clocks.overdue_call(state, now)
        if overdue is not None:
            self._choosing.fail_late(state, overdue, now)
        elif state.waiting:
            self._choosing.choose_again(state, now)
        else:
            self._review_attempts(state, now)

    def _review_attempts(self, state: CallState, now: float) -> None:
        for attempt in tuple(state.attempts.values()):
            failure = clocks.overdue_attempt(state, attempt, self._rules.stream, now)
            if failure is not None:
                self._leave(state, attempt, failure, now)
        dead = clocks.dead_pair(state, self._ledger.table, now)
        if dead is not None and self._rescue.may_go_on(state):
            self._leave(state, dead, self._rescue.leaves(state, dead, SURELY_DEAD, now), now)
        again_at = np.inf
        if len(state.attempts) == 1:
            again_at = self._think(state, next(iter(state.attempts.values())), now)
        if state.attempts:
            self._outbox.schedule_review(state, now)
            self._outbox.review_at(state, min(state.review_at, again_at), now)

    def _leave(self, state: CallState, attempt: AttemptState, failure: Failure, now: float) -> None:
        self._outbox.put(Cancel(state.call.call_id, attempt.attempt_id, failure.kind.value))
        self._over(state, attempt, failure, now)

    def _think(self, state: CallState, attempt: AttemptState, now: float) -> float:
        """Leave the only attempt, or try a second one beside it, where that makes an answer in time likelier.

        Answers when to think again at the latest.
        """
        attempt.thought_at = now
        thought = self._rescue.think(state, attempt, now)
        if thought.why:
            state.reviewed(thought.review(attempt, now))
        if thought.judgement is not None and thought.verdict is not Verdict.KEEP:
            state.odds = (thought.judgement.p_stay, thought.judgement.p_switch)
        if thought.verdict is Verdict.HEDGE and thought.rival is not None:
            self._rescue.hedged(state)
            keep_draft(state, attempt, self._rules, self._pool.endpoints)  # of an attempt that stands still
            self._choosing.start(state, thought.rival, "hedge", now)
        elif thought.verdict.leaves and thought.judgement is not None:
            self._leave(state, attempt, self._rescue.leaves(state, attempt, thought.judgement.p_dead, now), now)
        return thought.again_at
