"""Where a call goes: gathers what is known, asks the policy, and says what it expects."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import ModelCall, Observation
from agentsched.core.decision import Choice, Decision, EndpointStates, Situation
from agentsched.core.protocols import Policy, QualityPredictor, RememberingPolicy
from agentsched.core.remainder import RemainderForecast
from agentsched.forecast.latency import answer_samples, tpot_if_joined, ttft_if_joined
from agentsched.scheduler.call_state import CallState, RunState
from agentsched.scheduler.endpoint_speeds import EndpointSpeeds
from agentsched.scheduler.endpoint_table import EndpointTable

__all__ = ["Placement", "Placer", "seconds_of"]

Array = NDArray[np.float64]
_Rows = tuple[NDArray[np.intp], tuple[str, ...]]

_RIVALS_SHOWN = 3

_ZERO: Array = np.array(0.0)  # without dimensions: numpy makes one of every scalar

_MOST_SORTED = 32
"""Of more candidates only the best are sorted."""


@dataclass(slots=True, eq=False)  # no `value`: it keeps what it has worked out
class Placement:
    """The policy's choice with the forecasts behind it; ``position`` indexes the arrays, ``endpoint`` the table.

    Attributes:
        speeds: know how far actual times lie from predicted ones.
    """

    situation: Situation
    choice: Choice
    position: int
    endpoint: int
    ready_in_s: float
    ttft_s: float
    tpot_s: float
    e2e_s: float
    speeds: EndpointSpeeds
    _samples: Array | None = field(default=None, init=False, repr=False)
    _ordered: Array | None = field(default=None, init=False, repr=False)

    @property
    def samples(self) -> Array:
        """Equally likely end-to-end times, seconds, aligned with the output lengths; worked out if anybody asks."""
        if self._samples is None:
            lengths, factors = self.situation.output_tokens.values, self.speeds.factors(self.endpoint)
            self._samples = answer_samples(self.ttft_s, self.tpot_s, lengths, factors)
        return self._samples

    @property
    def ordered(self) -> Array:
        """The same, ascending."""
        if self._ordered is None:
            self._ordered = self.samples.copy()
            self._ordered.sort()
        return self._ordered

    @property
    def name(self) -> str:
        """The chosen endpoint's name."""
        return self.situation.names[self.position]

    def p_meet(self, state: CallState) -> float | None:
        """Probability that the run meets its deadline, as far as what follows this call is known; None without one.

        Where nothing is known of the rest it is the probability that this call meets its own deadline.
        """
        situation, ordered, run_due_at = self.situation, self.ordered, state.run.run.due_at
        slack, rest_s = situation.slack_s, situation.rest_s
        if rest_s is not None and run_due_at is not None:
            left = run_due_at - situation.now - rest_s  # for this call, were the rest to take so long
            in_time: int = sum(ordered.searchsorted(left, "right").tolist())
            return in_time / (ordered.size * rest_s.size)
        return None if slack is None else int(ordered.searchsorted(slack, side="right")) / ordered.size

    def decision(self, state: CallState, attempt_id: str, why: str, policy: str, now: float) -> Decision:
        """The record of this placement."""
        p_stay, p_switch = (None, None) if state.odds is None else state.odds
        return Decision(
            call_id=state.call.call_id,
            run_id=state.call.run_id,
            attempt_id=attempt_id,
            step=state.call.step,
            at=now,
            endpoint=self.name,
            why=why,
            policy=policy,
            slack_s=self.situation.slack_s,
            p_meet=self.p_meet(state),
            ttft_s=self.ttft_s,
            e2e_s=self.e2e_s,
            e2e_p95_s=self.ordered.item(int(0.95 * self.ordered.size)),
            output_tokens=self.situation.output_tokens.quantile(0.5),
            score=self.choice.scores.item(self.position),
            waited_s=now - state.arrived_at,
            rivals=self._rivals(),
            p_stay=p_stay,
            p_switch=p_switch,
        )

    def _rivals(self) -> tuple[tuple[str, float], ...]:
        """The best of the others that the policy would have taken."""
        names, losses = self.situation.names, -self.choice.scores
        if losses.size > _MOST_SORTED:
            best = sorted(losses.argpartition(_RIVALS_SHOWN)[: _RIVALS_SHOWN + 1].tolist(), key=losses.item)
        else:
            best = losses.argsort(kind="stable")[: _RIVALS_SHOWN + 1].tolist()
        told = [(names[k], -loss) for k in best if k != self.position and (loss := losses.item(k)) < math.inf]
        return tuple(told[:_RIVALS_SHOWN])

    def likely_s(self) -> tuple[float, float]:
        """The 10th and the 90th percentile of the predicted end-to-end time."""
        ordered = self.ordered
        return ordered.item(int(0.1 * ordered.size)), ordered.item(int(0.9 * ordered.size))

    def rival_q95_s(self) -> float:
        """The 95th percentile of the end-to-end time at the fastest other candidate, as if idle; inf: there is none.

        From what is known for long, not from the load of the moment: it shall hold when it is needed.
        """
        situation, states = self.situation, self.situation.states
        decode_s = np.maximum(states.tpot_alone_s, states.tpot_s)
        decode_s *= situation.output_tokens.quantile(0.95)
        times_s = situation.call.input_tokens / states.prefill_tokens_per_s
        times_s += states.ttft_idle_s
        times_s += decode_s
        times_s[self.position] = math.inf
        return 1.25 * times_s.item(times_s.argmin())


class Placer:
    """Asks one policy about the endpoints of one table.

    Attributes:
        qualities: forecasts how good answers will be; None: as good as declared.
    """

    def __init__(self, table: EndpointTable, policy: Policy) -> None:
        self._table = table
        self._policy = policy
        self.fallback: Policy | None = getattr(policy, "fallback", None)
        self.qualities: QualityPredictor | None = None
        self._memory = policy if isinstance(policy, RememberingPolicy) else None
        self._index_arrays: dict[tuple[int, ...], _Rows] = {}
        self._latest: tuple[tuple[int, ...], _Rows] = (), (np.zeros(0, dtype=np.intp), ())

    @property
    def policy(self) -> Policy:
        """The policy, or what it falls back to while its forecasts do not hold."""
        return self.fallback if self.fallback is not None and self._table.coverage.lost else self._policy

    def remember(self, record: Decision | Observation) -> None:
        """Let a policy that has a memory know of an attempt that began or ended."""
        if self._memory is not None:
            self._memory.remember(record)

    def place(self, state: CallState, candidates: tuple[int, ...], latest: float, now: float) -> Placement | None:
        """The best place for the call as things stand; None when limits and breakers keep all closed beyond ``latest``.

        Endpoints that failed this call before are avoided while another one can be had.
        """
        indices, names = self._indices(candidates)
        call = state.call
        ready = self._ready_in_s(state, candidates, indices, latest, now)
        if ready is None:
            return None
        states = self._table.states(indices, ready, now)
        if self.qualities is not None:
            better_known = self.qualities.predict(call, names, states.quality)
            if better_known is not None:
                states = replace(states, quality=better_known.mean)
        cached = self._cached(candidates, call, state.run)
        situation = Situation(
            call=call,
            names=names,
            states=states,
            cached_tokens=cached,
            ttft_s=ttft_if_joined(states, np.maximum(_ZERO, call.input_tokens - cached)),
            tpot_s=tpot_if_joined(states),
            output_tokens=state.lengths,
            remainder=state.remainder,
            rest_s=None if state.remainder is None else seconds_of(state.remainder, states),
            now=now,
            correction=state.run.correction,
            siblings_s=max(0.0, state.run.siblings_until(call) - now),
        )
        choice = self.policy.choose(situation)
        position = choice.index
        ttft_s, tpot_s = situation.ttft_s.item(position), situation.tpot_s.item(position)
        return Placement(
            situation=situation,
            choice=choice,
            position=position,
            endpoint=candidates[position],
            ready_in_s=ready.item(position),
            ttft_s=ttft_s,
            tpot_s=tpot_s,
            e2e_s=ttft_s + max(0.0, state.lengths.quantile(0.5) - 1.0) * tpot_s,
            speeds=self._table.speeds,
        )

    def _ready_in_s(
        self, state: CallState, candidates: tuple[int, ...], indices: NDArray[np.intp], latest: float, now: float
    ) -> Array | None:
        """Seconds until each candidate may be sent the call; inf: not before ``latest``, or another is to be preferred.

        None: inf for all of them.
        """
        ready = self._open_in_s(state, candidates, indices, latest, now, hearsay=True)
        if ready is not None and not np.isfinite(ready).any():
            # What others say may send a call elsewhere, but never away: it is tried before it is given up.
            ready = self._open_in_s(state, candidates, indices, latest, now, hearsay=False)
            if ready is not None and not np.isfinite(ready).any():
                return None
        queue = self._table.gates.queue_s(indices)
        if ready is None or queue is None:
            return np.zeros(len(candidates)) if ready is queue is None else queue if ready is None else ready
        return np.maximum(ready, queue)

    def _open_in_s(
        self,
        state: CallState,
        candidates: tuple[int, ...],
        indices: NDArray[np.intp],
        latest: float,
        now: float,
        *,
        hearsay: bool,
    ) -> Array | None:
        """Seconds until limits, breakers and earlier failures let the call pass; inf: not before ``latest``."""
        ready = self._table.gates.closed_s(indices, state.expected_tokens, now, state.order, hearsay=hearsay)
        if ready is None and not state.not_before:
            return None
        ready = np.zeros(len(candidates)) if ready is None else ready
        if state.not_before:
            self._avoid_failed(state, candidates, ready, now)
        ready[(ready > 0.0) & (now + ready >= latest)] = np.inf
        return ready

    def _indices(self, candidates: tuple[int, ...]) -> _Rows:
        if candidates is self._latest[0]:  # a pool's tuple is long, and its hash is worked out anew each time
            return self._latest[1]
        known = self._index_arrays.get(candidates)
        if known is None:
            names = tuple(self._table.endpoints[i].name for i in candidates)
            known = (np.array(candidates, dtype=np.intp), names)
            if len(self._index_arrays) > 1024:
                self._index_arrays.clear()
            self._index_arrays[candidates] = known
        self._latest = candidates, known
        return known

    @staticmethod
    def _avoid_failed(state: CallState, candidates: tuple[int, ...], ready: Array, now: float) -> None:
        usable_elsewhere = any(ready[k] <= 0.0 for k, i in enumerate(candidates) if i not in state.not_before)
        for k, i in enumerate(candidates):
            if i in state.not_before:
                ready[k] = np.inf if usable_elsewhere else max(ready[k], state.not_before[i] - now)

    @staticmethod
    def _cached(candidates: tuple[int, ...], call: ModelCall, run: RunState) -> Array:
        cached = np.zeros(len(candidates))
        held = run.last_endpoint.get(call.prefix)
        if held is not None and held[0] in candidates:
            cached[candidates.index(held[0])] = min(held[1], call.input_tokens)
        return cached


def seconds_of(remainder: RemainderForecast, states: EndpointStates) -> Array:
    """What follows, seconds, shape (QUANTILES,): at the pace of the endpoint that decodes fastest of those that can be
    had, as if it were idle."""
    best = int(states.tpot_alone_s.argmin())
    if states.ready_in_s.item(best) == math.inf:
        best = int(np.where(np.isfinite(states.ready_in_s), states.tpot_alone_s, np.inf).argmin())
    return remainder.seconds(
        tpot_s=states.tpot_alone_s.item(best),
        prefill_tokens_per_s=states.prefill_tokens_per_s.item(best),
        ttft_s=states.ttft_idle_s.item(best),
    )
