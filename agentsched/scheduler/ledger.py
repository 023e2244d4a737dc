"""The scheduler's books: open runs, calls and attempts, the waiting room, slots, tokens and money.

Every change of state that must balance goes through here; `check_invariants` says whether it does.
"""

from bisect import insort
from collections.abc import Iterator

import numpy as np

from agentsched.core.call import Failure, FailureKind, ModelCall, Observation, RunInfo, Usage, Way
from agentsched.core.endpoint import Pool
from agentsched.core.forecast import QuantileForecast
from agentsched.core.optional import step_of_visit
from agentsched.core.protocols import LengthPredictor, RemainderPredictor
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.remainder import RunHistory
from agentsched.core.rules import BreakerRules
from agentsched.errors import InvariantViolated
from agentsched.scheduler.call_state import AttemptState, CallState, RunState
from agentsched.scheduler.endpoint_table import EndpointTable
from agentsched.scheduler.fairness import AttainedService
from agentsched.scheduler.lessons import Lessons
from agentsched.scheduler.placing import Placement
from agentsched.scheduler.stakes import RunningStakes

__all__ = ["Ledger"]

_UNDATED = 1e12
"""Calls without a deadline wait behind all that have one, as if due at this instant plus their tenant's service."""

_UNCHARGED = frozenset(
    {
        FailureKind.CONNECT,
        FailureKind.STALE,
        FailureKind.RATE_LIMITED,
        FailureKind.CLIENT,
        FailureKind.UNSTREAMED,
        FailureKind.SERVER,
    }
)
"""Failures before which the endpoint did no work."""


class Ledger:
    """Pure state; times are arguments. Records that a change produces are returned, not kept."""

    def __init__(self, pool: Pool, breaker: BreakerRules, clients: int = 1) -> None:
        self.pool = pool
        self.table = EndpointTable(pool.endpoints, breaker, clients)
        self.stakes = RunningStakes(self.table)
        self.lessons = Lessons(self.table, self.stakes)
        self.runs: dict[str, RunState] = {}
        self.calls: dict[str, CallState] = {}
        self.waiting: list[tuple[tuple[float, int], str]] = []
        self.freed: set[int] = set()
        self._open: dict[str, tuple[CallState, AttemptState]] = {}
        self._arrivals = 0
        self._attained = AttainedService()

    # -- runs --------------------------------------------------------------------------------------------------------

    def open_run(self, run: RunInfo) -> RunState:
        """A run begins; one that is open already, by an earlier announcement or by a call, keeps its books."""
        state = self.runs.setdefault(run.run_id, RunState(run))
        if not state.announced:
            state.run, state.announced = run, True
        state.around = self.runs.get(run.parent_run_id) if run.parent_run_id else None
        return state

    def end_run(self, run_id: str, outcome: str, now: float) -> RunClosed | None:
        """A run is over. Its record comes now, or with the end of the last call that outlives it."""
        run = self.runs.get(run_id)
        if run is None or run.outcome is not None:
            return None
        run.outcome, run.ended_at = outcome, now
        return self._settle_run(run)

    def _settle_run(self, run: RunState) -> RunClosed | None:
        if run.calls or (run.outcome is None and run.announced):
            return None
        del self.runs[run.run.run_id]
        if run.outcome is None:
            return None
        return RunClosed(
            run=run.run,
            ended_at=run.ended_at,
            outcome=run.outcome,
            calls=run.call_count,
            attempts=run.attempt_count,
            input_tokens=run.input_tokens,
            output_tokens=run.output_tokens,
            cost_usd=run.cost_usd,
            wasted_tokens=run.wasted_tokens,
            wasted_usd=run.wasted_usd,
            skipped=tuple(step_of_visit(visit) for visit in run.skipped),
        )

    # -- calls -------------------------------------------------------------------------------------------------------

    def open_call(
        self, call: ModelCall, lengths: LengthPredictor, remainders: RemainderPredictor, now: float
    ) -> CallState:
        """A call arrives; a run nobody announced is opened for it, and forgotten with its last call."""
        if call.call_id in self.calls:
            raise InvariantViolated(f"call {call.call_id} arrived twice")
        run = self.runs.get(call.run_id)
        if run is None:
            run = self.runs[call.run_id] = RunState(RunInfo(call.run_id, call.workflow, now), announced=False)
        self._arrivals += 1
        due_at = call.deadline_at if call.due_at is None else call.due_at
        urgency = _UNDATED + self._attained.of(call.tenant, now) if due_at is None else due_at
        order = (urgency, self._arrivals)
        run.history.arrived(call.step, call.tool_s)
        state = CallState(
            call, now, run, _capped(lengths, call, run.history), remainders.predict(call, run.history), order
        )
        self.calls[call.call_id] = state
        run.calls.add(call.call_id)
        run.call_count += 1
        return state

    def end_call(
        self, state: CallState, status: str, now: float, *, winner: AttemptState | None, usage: Usage, detail: str
    ) -> Iterator[CallEnded | RunClosed]:
        """A call is over, its attempts are closed: yields its record, and its run's if that was waiting for it."""
        self.leave_waiting(state, now)
        call, run = state.call, state.run
        del self.calls[call.call_id]
        run.calls.discard(call.call_id)
        run.placed.pop(call.call_id, None)
        if status == FailureKind.SKIPPED:
            run.history.left_out(call.step, call.tool_s)
        else:
            run.history.ended += 1
        if winner is not None:
            run.saw_length(usage.output_tokens or 0, state.lengths.quantile(0.5))
            run.history.answered(call.step, usage.input_tokens or 0, usage.output_tokens or 0)
        wasted_tokens, wasted_usd = self._waste(state, winner, usage)
        run.wasted_tokens += wasted_tokens
        run.wasted_usd += wasted_usd
        yield CallEnded(
            call=call,
            arrived_at=state.arrived_at,
            ended_at=now,
            status=status,
            endpoint=None if winner is None else self.name(winner.endpoint),
            attempts=state.made,
            retries=state.retries,
            queued_s=state.queued_s,
            ttft_s=None if state.first_at is None else state.first_at - state.arrived_at,
            input_tokens=usage.input_tokens if usage.input_tokens is not None else call.input_tokens,
            output_tokens=usage.output_tokens or 0,
            cached_input_tokens=usage.cached_input_tokens,
            cost_usd=state.spent_usd,
            detail=detail,
            wasted_tokens=wasted_tokens,
            wasted_usd=wasted_usd,
            reviews=tuple(state.reviews),
        )
        closed = self._settle_run(run)
        if closed is not None:
            yield closed

    def _waste(self, state: CallState, winner: AttemptState | None, usage: Usage) -> tuple[int, float]:
        """What the call took beyond one unbroken answer at the endpoint that gave it, in tokens and USD."""
        if winner is None:
            return state.spent_tokens, state.spent_usd
        read, written = usage.input_tokens or 0, usage.output_tokens or 0
        needed_usd = self.pool.endpoints[winner.endpoint].price.cost_usd(read, written)
        return max(0, state.spent_tokens - read - written), max(0.0, state.spent_usd - needed_usd)

    # -- the waiting room --------------------------------------------------------------------------------------------

    def enter_waiting(self, state: CallState, endpoint: int, now: float, stake_per_s: float = 0.0) -> None:
        """A call waits for ``endpoint``, or changes which one it waits for; it loses ``stake_per_s`` by that."""
        if state.waiting_since is None:
            state.waiting_since = now
            insort(self.waiting, (state.order, state.call.call_id))
        self._wait_at(state, endpoint, stake_per_s)

    def leave_waiting(self, state: CallState, now: float) -> None:
        """A call stops waiting, if it does."""
        if state.waiting_since is None:
            return
        self.waiting.remove((state.order, state.call.call_id))
        self._wait_at(state, None)
        state.queued_s += now - state.waiting_since
        state.waiting_since = None

    def somebody_first(self, state: CallState, endpoint: int) -> bool:
        """Whether a more urgent call waits for ``endpoint``."""
        if self.table.gates.waiting[endpoint] <= (state.waiting_for == endpoint):
            return False
        for order, call_id in self.waiting:
            if order >= state.order:
                return False
            if self.calls[call_id].waiting_for == endpoint:
                return True
        return False

    def _wait_at(self, state: CallState, endpoint: int | None, stake_per_s: float = 0.0) -> None:
        if state.waiting_for is not None:
            self.table.leave_queue(state.waiting_for, state.order, state.waiting_stake_per_s)
        if endpoint is not None:
            self.table.enter_queue(endpoint, state.order, state.expected_tokens, stake_per_s)
        state.waiting_for, state.waiting_stake_per_s = endpoint, stake_per_s

    # -- attempts ----------------------------------------------------------------------------------------------------

    def attempt(self, attempt_id: str) -> tuple[CallState, AttemptState] | None:
        """An open attempt and its call; None when it is over."""
        return self._open.get(attempt_id)

    def begin_attempt(
        self,
        state: CallState,
        placement: Placement,
        now: float,
        *,
        streams: bool,
        rival_q95_s: float,
        way: Way | None = None,
        known_tokens: int = 0,
    ) -> AttemptState:
        """An attempt starts: it takes a slot, its share of the limits, and money that it is expected to cost.

        ``streams``: its tokens will be seen. ``rival_q95_s``: what the alternative would take. ``way``: how it goes on
        with what the caller has.
        """
        call, table, i = state.call, self.table, placement.endpoint
        self.leave_waiting(state, now)
        state.made += 1
        uncached = max(0.0, call.input_tokens - placement.situation.cached_tokens.item(placement.position))
        attempt = AttemptState(
            attempt_id=f"{call.call_id}.{state.made}",
            endpoint=i,
            started_at=now,
            spend=table.begin(i, uncached, call.input_tokens + state.lengths.mean, now),
            uncached_tokens=uncached,
            in_flight=int(table.rows.in_flight.item(i)),
            committed_usd=self.expected_cost_usd(i, call, state.lengths),
            predicted_ttft_s=placement.ttft_s,
            predicted_tpot_s=placement.tpot_s,
            predicted_e2e_s=placement.e2e_s,
            unloaded_ttft_s=table.rows.ttft_idle_s.item(i) + uncached / table.rows.prefill_tokens_per_s.item(i),
            rival_q95_s=rival_q95_s,
            progress_at=now,
            streams=streams,
            way=way,
            known_tokens=known_tokens,
            likely_s=placement.likely_s(),
        )
        if not streams:
            table.expect_prefill_done(i, uncached, now + placement.ttft_s)
        state.run.placed[call.call_id] = (call.parents, now + placement.e2e_s)
        stake = placement.choice.stake
        if stake is not None:
            self.stakes.add(attempt, stake, streams=streams)
        if call.optional:
            state.run.begun.update(call.optional)
        state.attempts[attempt.attempt_id] = attempt
        self._open[attempt.attempt_id] = state, attempt
        state.run.attempt_count += 1
        state.run.commit(attempt.committed_usd)
        return attempt

    def close_attempt(
        self, state: CallState, attempt: AttemptState, usage: Usage | None, failure: Failure | None, now: float
    ) -> Observation:
        """An attempt is over, well (``usage``) or not (``failure``): slot, limits and money are settled."""
        call, i, run = state.call, attempt.endpoint, state.run
        del state.attempts[attempt.attempt_id], self._open[attempt.attempt_id]
        self.stakes.remove(attempt)
        self._attained.add(call.tenant, now - attempt.started_at, call.priority, now)
        if attempt.first_at is None and attempt.streams:
            self.table.prefill_done(i, attempt.uncached_tokens)
        read, written, cached = _settled(call, attempt, usage, failure)
        cancelled = failure is not None and failure.kind is FailureKind.CANCELLED
        self.table.end(i, attempt.spend, None if cancelled else float(read + written))
        self.freed.add(i)
        cost = self.pool.endpoints[i].price.cost_usd(read, written)
        state.spent_usd += cost
        state.spent_tokens += read + written
        run.settle(attempt.committed_usd, cost)
        run.input_tokens += read
        run.output_tokens += written
        return Observation(
            attempt_id=attempt.attempt_id,
            call_id=call.call_id,
            run_id=call.run_id,
            workflow=call.workflow,
            step=call.step,
            endpoint=self.name(i),
            model=call.model,
            started_at=attempt.started_at,
            ttft_s=None if attempt.first_at is None else attempt.first_at - attempt.started_at,
            e2e_s=now - attempt.started_at,
            input_tokens=read,
            output_tokens=written,
            cached_input_tokens=cached,
            max_tokens=call.max_tokens,
            status="ok" if failure is None else failure.kind.value,
            detail="" if failure is None else failure.detail,
            stream=call.stream,
            cost_usd=cost,
            predicted_ttft_s=attempt.predicted_ttft_s,
            predicted_e2e_s=attempt.predicted_e2e_s,
            in_flight=attempt.in_flight,
            continued_tokens=attempt.known_tokens,
        )

    # -- money and names ---------------------------------------------------------------------------------------------

    def payable(self, state: CallState) -> tuple[int, ...]:
        """Those candidates that the run, and those around it, can still pay for.

        What running attempts are expected to cost is taken off.
        """
        if state.run.run.max_cost_usd is None and state.run.around is None:
            return state.candidates
        left, _ = min(state.run.capped(), default=(None, None))
        if left is None:
            return state.candidates
        return tuple(i for i in state.candidates if self.expected_cost_usd(i, state.call, state.lengths) <= left)

    @staticmethod
    def money_left(state: CallState) -> str:
        """What the run, or the one around it that has least, can still spend, for people."""
        left, cap = min(state.run.capped())
        return f"{max(0.0, round(left, 9)):.4g} of {cap:.4g} USD are left"

    def expected_cost_usd(self, i: int, call: ModelCall, lengths: QuantileForecast) -> float:
        """What the call is expected to cost at endpoint ``i``, USD."""
        return self.pool.endpoints[i].price.cost_usd(call.input_tokens, lengths.mean)

    def name(self, i: int) -> str:
        """The name of endpoint ``i``."""
        return self.pool.endpoints[i].name

    # -- invariants --------------------------------------------------------------------------------------------------

    def check_invariants(self) -> None:
        """Raise `InvariantViolated` if the books contradict themselves; for tests, linear in what is open."""
        in_flight = np.zeros(len(self.pool.endpoints))
        for call_id, state in self.calls.items():
            self._check_call(call_id, state)
            for attempt_id, attempt in state.attempts.items():
                _check(self._open.get(attempt_id) == (state, attempt), f"attempt {attempt_id} has no owner")
                in_flight[attempt.endpoint] += 1
        table = self.table
        _check(len(self._open) == int(in_flight.sum()), "attempts without a call")
        _check(
            bool((in_flight == table.rows.in_flight).all()), f"slots taken {table.rows.in_flight}, attempts {in_flight}"
        )
        _check(bool((table.rows.in_flight <= table.rows.slots).all()), "more attempts than slots")
        _check(bool((table.rows.prefill_tokens >= 0).all()), "negative prefill")
        staked = sum(
            attempt.stake_row is not None for state in self.calls.values() for attempt in state.attempts.values()
        )
        _check(len(self.stakes) == staked, "stakes without an attempt")
        _check(self.waiting == sorted(self.waiting), "waiting room out of order")
        waiting = {call_id for call_id, state in self.calls.items() if state.waiting}
        _check({call_id for _, call_id in self.waiting} == waiting, "waiting room differs from the calls")
        _check(int(table.gates.waiting.sum()) == len(waiting), "waiting counts differ")
        _check({c for run in self.runs.values() for c in run.calls} == set(self.calls), "runs and calls differ")
        for run_id, run in self.runs.items():
            running = (attempt for call_id in run.calls for attempt in self.calls[call_id].attempts.values())
            committed = sum(attempt.committed_usd for attempt in running)
            _check(abs(committed - run.committed_usd) < 1e-6, f"run {run_id} has committed other money than its calls")
            _check(run.begun.isdisjoint(run.skipped), f"run {run_id} has sent calls of steps that it left out")

    @staticmethod
    def _check_call(call_id: str, state: CallState) -> None:
        _check(state.waiting != bool(state.attempts), f"call {call_id} must either wait or run")
        _check(len(state.attempts) <= 2, f"call {call_id} has {len(state.attempts)} attempts")
        _check(state.delivered is None or state.delivered in state.attempts, f"call {call_id} lost its answer")
        bounded = state.call.deadline_at is not None or state.waiting
        _check(state.review_at < np.inf or not bounded, f"call {call_id} has no clock")


def _capped(lengths: LengthPredictor, call: ModelCall, history: RunHistory) -> QuantileForecast:
    """The forecast of what the call will really be answered with: no more than it allows."""
    forecast = lengths.predict(call, history)
    if call.max_tokens is None:
        return forecast
    return QuantileForecast(np.minimum(forecast.values, float(call.max_tokens)))


def _check(good: bool, what: str) -> None:
    if not good:
        raise InvariantViolated(what)


def _settled(
    call: ModelCall, attempt: AttemptState, usage: Usage | None, failure: Failure | None
) -> tuple[int, int, int | None]:
    """Prompt tokens, output tokens and cached tokens that an attempt is charged for."""
    if usage is not None:
        return usage.input_tokens or 0, usage.output_tokens or 0, usage.cached_input_tokens
    uncharged = failure is not None and failure.kind in _UNCHARGED and attempt.first_at is None
    return (0 if uncharged else call.input_tokens + attempt.known_tokens), attempt.tokens, None
