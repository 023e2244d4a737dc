"""What this client knows of every endpoint: what is in flight there and has to lose, how fast it is, who may pass."""

import heapq
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agentsched.core.decision import EndpointStates
from agentsched.core.endpoint import Endpoint
from agentsched.core.load import EndpointLoad
from agentsched.core.rules import BreakerRules
from agentsched.forecast.latency import PACE_MEMORY_S
from agentsched.scheduler.coverage import Coverage
from agentsched.scheduler.endpoint_gates import EndpointGates
from agentsched.scheduler.endpoint_rows import (
    ERRORS,
    EXCESS,
    EXCESS_AT,
    QUEUE_STAKE,
    QUEUE_STAKE_MEAN,
    READY,
    SEEN_AT,
    SHOWN,
    STAKE,
    STAKE_TOKENS,
    EndpointRows,
    figures,
)
from agentsched.scheduler.endpoint_speeds import EndpointSpeeds
from agentsched.scheduler.events import OthersSeen
from agentsched.scheduler.others import Others
from agentsched.scheduler.rate_bucket import Order, Spend

__all__ = ["EndpointTable"]

Array = NDArray[np.float64]

_STAKE_TAU_S = 20.0
"""Time constant of the mean stakes, seconds (decision 6)."""

_LEAST_STAKE = 1e-12


class EndpointTable:
    """Ledger rows of a pool's endpoints. Pure state: every method that needs the time is given it.

    Attributes:
        endpoints: the pool; `index` finds an endpoint in it by its name.
        rows: the figures that decisions read.
        speeds: how they are learned.
        gates: slots, limits, rests, the breaker.
        others: what other clients have there.
        coverage: whether forecasts hold.
    """

    def __init__(self, endpoints: Sequence[Endpoint], breaker: BreakerRules, clients: int = 1) -> None:
        self.endpoints = tuple(endpoints)
        self.index = {endpoint.name: i for i, endpoint in enumerate(self.endpoints)}
        self.rows = rows = EndpointRows(self.endpoints)
        self._prefill_tokens = figures(rows.prefill_tokens)
        self.others, self.coverage = Others(self.index, clients), Coverage()
        self.speeds = EndpointSpeeds(self.endpoints, rows, self.others)
        self.gates = EndpointGates(self.endpoints, rows, breaker)
        count = len(self.endpoints)
        self._staked, self._stakes_at = False, -math.inf
        self._unseen_prefill: list[tuple[float, int, float, int]] = []
        self._emptied = [0] * count

    def states(self, indices: NDArray[np.intp], ready_in_s: Array, now: float) -> EndpointStates:
        """The columns ``indices``, ascending, as a policy sees them."""
        self._drop_finished_prefill(now)
        self.speeds.age(now)
        seen = self.rows.all.copy() if indices.size == len(self.endpoints) else self.rows.all.take(indices, axis=1)
        at = np.array(now)
        np.subtract(at, seen[SEEN_AT], out=seen[SEEN_AT])
        self.speeds.decay(seen[EXCESS], seen[EXCESS_AT], at)
        seen[READY] = ready_in_s
        errors = self.gates.errors_all(indices, now)
        seen[ERRORS] = 0.0 if errors is None else errors
        in_flight_all, prefill_all = seen[0], seen[1]
        if self._staked:
            np.maximum(seen[QUEUE_STAKE], seen[QUEUE_STAKE_MEAN], out=seen[QUEUE_STAKE])
        told = self.others.known(now)
        if told:
            others = self.others.rows(now).take(indices, axis=1)
            in_flight_all, prefill_all = in_flight_all + others[0], prefill_all + others[1]
            seen[STAKE : QUEUE_STAKE + 1] += others[2:]
            seen[EXCESS] = np.maximum(seen[EXCESS], self._behind_others_s(indices, in_flight_all))
        if self._staked or told:
            seen[STAKE_TOKENS] /= np.maximum(seen[STAKE], _LEAST_STAKE)
        return EndpointStates(*(*seen[:SHOWN], in_flight_all, prefill_all))

    def _behind_others_s(self, indices: NDArray[np.intp], in_flight_all: Array) -> Array:
        """Expected seconds until a server whose slots others have taken too has one for one more call.

        It is priced, not waited for here: nothing tells this client when the slot of another one becomes free.
        """
        slots = self.rows.slots[indices]
        beyond = np.maximum(0.0, in_flight_all + 1.0 - slots)
        behind: Array = beyond * self.gates.service_s[indices] / slots
        return behind

    def pace(self, now: float) -> Array:
        """Believed seconds per output token of the calls that run at each endpoint, shape (endpoints,)."""
        rows = self.rows
        count = rows.in_flight
        if self.others.known(now):
            count = count + self.others.rows(now)[0]
        profile = rows.tpot_alone_s + rows.tpot_per_batch_s * count
        seen = np.maximum(0.8 * rows.tpot_alone_s, rows.tpot_s + rows.tpot_per_batch_s * (count - rows.tpot_in_flight))
        result: Array = profile + np.exp((rows.seen_at - now) / PACE_MEMORY_S) * (seen - profile)
        return result

    # -- stakes --------------------------------------------------------------------------------------------------------

    def add_stake(self, i: int, per_s: float, per_s_tokens: float) -> None:
        """A call with this loss per second (and that times its tokens) starts or, both negative, ends."""
        rows, self._staked = self.rows, True
        rows.stake_per_s[i] = max(0.0, rows.stake_per_s.item(i) + per_s)
        rows.stake_tokens[i] = max(0.0, rows.stake_tokens.item(i) + per_s_tokens)

    def add_queue_stake(self, i: int, per_s: float) -> None:
        """A call with this loss per second begins or, if negative, ceases to wait for a place."""
        if per_s != 0.0:
            self._staked = True
            self.rows.queue_stake_per_s[i] = max(0.0, self.rows.queue_stake_per_s[i] + per_s)

    def refresh_stakes(self, endpoint: NDArray[np.intp], per_s: Array, per_s_tokens: Array, now: float) -> None:
        """All running calls' losses, worked out anew; the means move on by the time since the last time."""
        step = 0.0 if self._stakes_at == -math.inf else -math.expm1((self._stakes_at - now) / _STAKE_TAU_S)
        self._stakes_at = now
        self.rows.stake_mean_per_s += step * (self.rows.stake_per_s - self.rows.stake_mean_per_s)
        self.rows.queue_stake_mean_per_s += step * (self.rows.queue_stake_per_s - self.rows.queue_stake_mean_per_s)
        count = len(self.endpoints)
        self.rows.stake_per_s[:] = np.bincount(endpoint, per_s, count)
        self.rows.stake_tokens[:] = np.bincount(endpoint, per_s_tokens, count)
        if self.others.count:
            self._suppose(now)

    # -- other clients -------------------------------------------------------------------------------------------------

    def loads(self) -> tuple[EndpointLoad, ...]:
        """What this client has at each endpoint: what it tells other clients."""
        rows = zip(
            self.endpoints,
            self.rows.in_flight.tolist(),
            self.rows.prefill_tokens.tolist(),
            self.rows.stake_per_s.tolist(),
            self.rows.stake_mean_per_s.tolist(),
            self.rows.stake_tokens.tolist(),
            self._queue_stakes().tolist(),
            strict=True,
        )
        return tuple(
            EndpointLoad(endpoint.name, n, prefill, stake, mean, tokens / max(stake, _LEAST_STAKE), queue)
            for endpoint, n, prefill, stake, mean, tokens, queue in rows
        )

    def _queue_stakes(self) -> Array:
        """What own calls that wait lose per second at each endpoint: now or on average, whichever is more."""
        stakes: Array = np.maximum(self.rows.queue_stake_per_s, self.rows.queue_stake_mean_per_s)
        return stakes

    def _suppose(self, now: float) -> None:
        """Suppose of the others that they do what this client does, as far as they do not tell."""
        rows = self.rows
        own = np.stack(
            (
                rows.in_flight,
                rows.prefill_tokens,
                rows.stake_per_s,
                rows.stake_mean_per_s,
                rows.stake_tokens,
                self._queue_stakes(),
            )
        )
        telling = rows.tpot_per_batch_s > 0.0
        self.others.suppose(own, np.where(telling, now - rows.seen_at, np.inf), now)
        if not self.others.trust(now):
            self.gates.others_spend_alike(self.others.count, now)

    def others_seen(self, event: OthersSeen) -> None:
        """Somebody told what other clients have."""
        self.others.seen(event, self.rows.in_flight, self.rows.all[STAKE : STAKE_TOKENS + 1])

    # -- attempts ------------------------------------------------------------------------------------------------------

    def enter_queue(self, i: int, order: Order, tokens: float, stake_per_s: float) -> None:
        """A call of so many tokens waits for the endpoint, and loses this much per second by it."""
        self.gates.enter_queue(i, order, tokens)
        self.add_queue_stake(i, stake_per_s)

    def leave_queue(self, i: int, order: Order, stake_per_s: float) -> None:
        """It does so no longer."""
        self.gates.leave_queue(i, order)
        self.add_queue_stake(i, -stake_per_s)

    def begin(self, i: int, input_tokens: float, tokens: float, now: float) -> Spend | None:
        """An attempt starts: it takes a slot, a request and its expected tokens; returns the tokens to be corrected."""
        self._prefill_tokens[i] += input_tokens
        return self.gates.begin(i, tokens, now)

    def expect_prefill_done(self, i: int, input_tokens: float, at: float) -> None:
        """For an answer whose first token will not be seen: take its prompt as read at ``at``."""
        heapq.heappush(self._unseen_prefill, (at, i, input_tokens, self._emptied[i]))

    def _drop_finished_prefill(self, now: float) -> None:
        unseen = self._unseen_prefill
        while unseen and unseen[0][0] <= now:
            _, i, tokens, emptied = heapq.heappop(unseen)
            if emptied == self._emptied[i]:
                self.prefill_done(i, tokens)

    def prefill_done(self, i: int, input_tokens: float) -> None:
        """A first token came, or the attempt ended without one."""
        self._prefill_tokens[i] = max(0.0, self._prefill_tokens[i] - input_tokens)

    def saw_answer(self, i: int, seconds: float, tokens: float) -> None:
        """An answer of so many tokens (0: nobody counted) took ``seconds``: what a call that waits may expect there."""
        self.gates.saw_service(i, seconds)
        self.speeds.saw_answer(i, tokens)

    def end(self, i: int, spend: Spend | None, tokens: float | None) -> None:
        """An attempt ended: its slot is free; its tokens are corrected to ``tokens`` where they are known."""
        self.gates.end(i, spend, tokens)
        if self.rows.in_flight.item(i) == 0.0:
            self.rows.prefill_tokens[i] = 0.0
            self._emptied[i] += 1
