"""What a decision costs: the real scheduler with many calls in flight, by pool size and policy, in CPU time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

import numpy as np
from numpy.typing import NDArray

from agentsched import clock
from agentsched.core.call import ModelCall, Observation, RunInfo, Usage
from agentsched.core.decision import Choice, Decision, Situation
from agentsched.core.endpoint import Endpoint, Pool, Profile
from agentsched.core.forecast import QuantileForecast
from agentsched.core.protocols import Policy, RememberingPolicy
from agentsched.core.remainder import RemainderForecast, RunHistory
from agentsched.scheduler.actions import Record
from agentsched.scheduler.events import AttemptFinished, CallArrived, Event, ReviewDue, RunStarted, TokensProgressed
from agentsched.scheduler.scheduler import Scheduler

__all__ = ["Cost", "Decide", "Options", "Spread", "Wait", "measure"]

Array = NDArray[np.float64]

_MODEL, _WORKFLOW, _STEPS = "m", "bench", ("plan", "search", "write")
_KNOWN_LENGTHS = {step: QuantileForecast.lognormal(80.0 * (k + 1), 0.7) for k, step in enumerate(_STEPS)}
_PER_RUN, _DEADLINE_S = 12, 60.0
_FILL_S, _PAUSE_S = 2.0, 1e-4
_OFF = 0.15
_WARM_UP = 200
_CHOICES_SHARE = 4
_TICKS, _TICK_S = 50, 0.6
_IN_FLIGHT_MOST = 2048
_KINDS = (CallArrived, ReviewDue, TokensProgressed, AttemptFinished)


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured.

    Attributes:
        endpoints: pool sizes.
        policies: names and makers of the policies.
        decisions: decisions per pool size and policy.
        rates: decisions per second at which the wait for the scheduler is worked out.
        in_flight: calls in flight per endpoint, all in all at most 2,048.
        seed: of sizes and arrivals.
    """

    endpoints: tuple[int, ...]
    policies: tuple[tuple[str, Callable[[], Policy]], ...]
    decisions: int = 2000
    rates: tuple[float, ...] = (1_000.0, 3_000.0, 10_000.0)
    in_flight: int = 4
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Spread:
    """CPU seconds of one kind of event."""

    p50_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """What an arriving call waits until it is decided, at one rate: its turn, and its own decision.

    Attributes:
        rate: calls per second.
        load: share of one core that the scheduler needs; from 1 on it cannot keep up.
        p50_s, p99_s: seconds; None: it cannot keep up.
    """

    rate: float
    load: float
    p50_s: float | None
    p99_s: float | None


@dataclass(frozen=True, slots=True)
class Cost:
    """One pool size with one policy.

    Attributes:
        choice: the policy alone says where a call goes, forecasts and the endpoints' states being there.
        decision: a call arrives: its forecasts, the choice, the books.
        answer: an attempt is finished.
        progress: tokens came.
        second_thought: the clocks of a call without a first token are looked at, and its best rival.
        tick: what all calls in flight lose by delay is worked out anew, as every half second; per call in flight.
        waits: one per rate, for calls that each cost a decision, a report of progress, a second thought and an answer.
    """

    endpoints: int
    policy: str
    in_flight: int
    choice: Spread
    decision: Spread
    answer: Spread
    progress: Spread
    second_thought: Spread
    tick: Spread
    waits: tuple[Wait, ...]


@dataclass(frozen=True, slots=True)
class Decide:
    """The whole bench."""

    options: Options
    costs: tuple[Cost, ...]


class _Watched:
    """A policy whose choices can be timed: while ``taken`` is a list it gets the CPU seconds of each."""

    def __init__(self, policy: Policy, own_s: float) -> None:
        self.name, self.fallback = policy.name, getattr(policy, "fallback", None)
        self.taken: list[float] | None = None
        self._policy, self._own_s = policy, own_s

    def choose(self, situation: Situation) -> Choice:
        if self.taken is None:
            return self._policy.choose(situation)
        before = clock.cpu()
        choice = self._policy.choose(situation)
        self.taken.append(max(0.0, clock.cpu() - before - self._own_s))
        return choice


class _WatchedMemory(_Watched):
    """The same of one that remembers."""

    def __init__(self, policy: RememberingPolicy, own_s: float) -> None:
        super().__init__(policy, own_s)
        self.remember: Callable[[Decision | Observation], None] = policy.remember


def _watched(policy: Policy, own_s: float) -> _Watched:
    return _WatchedMemory(policy, own_s) if isinstance(policy, RememberingPolicy) else _Watched(policy, own_s)


class _Lengths:
    """A known distribution per step, as after some time of learning."""

    def predict(self, call: ModelCall, history: RunHistory) -> QuantileForecast:
        return _KNOWN_LENGTHS[call.step]


class _Remainders:
    """The same for what follows."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._known = {step: _work(rng, 3.0 - k) for k, step in enumerate(_STEPS)}

    def predict(self, call: ModelCall, history: RunHistory) -> RemainderForecast:
        return self._known[call.step]


def _work(rng: np.random.Generator, calls: float) -> RemainderForecast:
    size = QuantileForecast.constant(0.0).values.size
    often = calls * rng.lognormal(0.0, 0.4, size)
    return RemainderForecast(150.0 * often, 900.0 * often, often, 0.3 * often)


def measure(options: Options, progress: Callable[[str], None] = lambda text: None) -> Decide:
    """Measure every pool size with every policy, one after the other."""
    costs: list[Cost] = []
    for endpoints in options.endpoints:
        for name, make in options.policies:
            progress(f"{endpoints} endpoints, {name}")
            costs.append(_Bench(options, endpoints, make()).cost(name))
    return Decide(options, tuple(costs))


def _pool(endpoints: int, rng: np.random.Generator) -> Pool:
    def profile() -> Profile:
        pace = float(rng.uniform(0.006, 0.04))
        return Profile(
            ttft_s=float(rng.uniform(0.02, 0.4)),
            tpot_s=pace,
            tpot_per_batch_s=0.01 * pace,
            prefill_tokens_per_s=float(rng.uniform(3_000, 25_000)),
        )

    return Pool(
        [Endpoint(f"e{k}", f"http://127.0.0.1:{k + 1}/v1", _MODEL, profile=profile()) for k in range(endpoints)]
    )


class _Bench:
    """A scheduler under a steady load on virtual time: whenever an answer ends, another call arrives.

    Answers take the time that was forecast for their length, give or take, as forecasts hold in daily use: where they
    do not, the policy gives way to a simpler one, and that one would be measured.
    """

    def __init__(self, options: Options, endpoints: int, policy: Policy) -> None:
        self._rng = np.random.default_rng(options.seed)
        self._options, self._endpoints = options, endpoints
        self._own_s = _clock_cost_s()
        self._policy = _watched(policy, self._own_s)
        self._scheduler = Scheduler(_pool(endpoints, self._rng), self._policy, _Lengths(), _Remainders(self._rng))
        self._in_flight = min(_IN_FLIGHT_MOST, options.in_flight * endpoints)
        self._due: list[tuple[float, int, Event]] = []
        self._calls, self._order = count(), count()
        self._now = 0.0
        self._taken: dict[type, list[float]] = {kind: [] for kind in _KINDS}

    def cost(self, policy: str) -> Cost:
        """Fill the pool, then let as many calls end as arrive."""
        for _ in range(self._in_flight):
            self._now += _FILL_S / self._in_flight
            self._arrive()
        for _ in range(_WARM_UP):
            self._until_an_answer()
        for taken in self._taken.values():
            taken.clear()
        for _ in range(self._options.decisions):
            self._until_an_answer()
        decision, second_thought, progress, answer = (np.array(self._taken[kind]) for kind in _KINDS)
        ticks = np.array([self._tick() for _ in range(_TICKS)]) - float(np.median(progress))
        choices = self._choices()
        lives = decision + np.median(second_thought) + np.median(progress) + answer
        return Cost(
            self._endpoints,
            policy,
            self._in_flight,
            _spread(choices),
            _spread(decision),
            _spread(answer),
            _spread(progress),
            _spread(second_thought),
            _spread(np.maximum(0.0, ticks) / self._in_flight),
            tuple(_wait(rate, decision, lives, self._rng) for rate in self._options.rates),
        )

    def _choices(self) -> Array:
        """What the policy alone takes of further decisions; timed after the others, which it would lengthen."""
        taken = self._policy.taken = []
        for _ in range(max(1, self._options.decisions // _CHOICES_SHARE)):
            self._until_an_answer()
        self._policy.taken = None
        return np.array(taken)

    def _until_an_answer(self) -> None:
        """What is due, up to the next end of an answer, after which a call arrives."""
        while True:
            self._now, _, event = heappop(self._due)
            self._timed(event)
            if isinstance(event, AttemptFinished):
                self._now += _PAUSE_S
                self._arrive()
                return

    def _tick(self) -> float:
        """The first report after a while pays for the tick."""
        self._now += _TICK_S
        return self._timed(TokensProgressed(self._last_attempt, int(self._rng.integers(1, 200))))

    def _arrive(self) -> None:
        number = next(self._calls)
        run, index = divmod(number, _PER_RUN)
        if index == 0:
            self._scheduler.handle(
                RunStarted(RunInfo(f"r{run}", _WORKFLOW, self._now, self._now + _DEADLINE_S, _DEADLINE_S)),
                now=self._now,
            )
        call = ModelCall(
            call_id=f"c{number}",
            run_id=f"r{run}",
            workflow=_WORKFLOW,
            step=_STEPS[index % len(_STEPS)],
            call_index=index,
            model=_MODEL,
            stream=True,
            input_tokens=int(self._rng.integers(200, 4000)),
            prefix=run + 1,
            deadline_at=self._now + _DEADLINE_S - index,
        )
        self._timed(CallArrived(call))

    def _timed(self, event: Event) -> float:
        """CPU seconds of one event, the clock's own taken off; what follows from its actions is put down."""
        before = clock.cpu()
        actions = self._scheduler.handle(event, now=self._now)
        taken_s = max(0.0, clock.cpu() - before - self._own_s)
        self._taken[type(event)].append(taken_s)
        for action in actions:
            if isinstance(action, Record) and isinstance(action.record, Decision):
                self._plan(action.record)
        return taken_s

    def _plan(self, decision: Decision) -> None:
        """The life of an attempt: a second thought before its first token, that token, its end."""
        self._last_attempt = decision.attempt_id
        lengths = _KNOWN_LENGTHS[decision.step].values
        tokens = int(self._rng.choice(lengths))
        pace_s = (decision.e2e_s - decision.ttft_s) / (decision.output_tokens - 1.0)
        off = float(self._rng.lognormal(0.0, _OFF))
        first_s, last_s = off * decision.ttft_s, off * (decision.ttft_s + (tokens - 1) * pace_s)
        for after_s, event in (
            (0.8 * first_s, ReviewDue(decision.call_id)),
            (first_s, TokensProgressed(decision.attempt_id, 1)),
            (last_s, AttemptFinished(decision.attempt_id, Usage(None, tokens))),
        ):
            heappush(self._due, (self._now + after_s, next(self._order), event))


def _clock_cost_s() -> float:
    """What reading the clock twice adds to what lies between."""
    taken = []
    for _ in range(1000):
        before = clock.cpu()
        taken.append(clock.cpu() - before)
    return float(np.median(taken))


def _spread(costs_s: Array) -> Spread:
    p50, p99 = np.quantile(costs_s, (0.5, 0.99))
    return Spread(float(p50), float(p99))


def _wait(rate: float, decisions_s: Sequence[float] | Array, lives_s: Array, rng: np.random.Generator) -> Wait:
    """The wait of Poisson arrivals at one server with these service times, by Lindley's recursion (1952)."""
    load = rate * float(lives_s.mean())
    if load >= 1.0:
        return Wait(rate, load, None, None)
    gaps = rng.exponential(1.0 / rate, lives_s.size)
    waited, sojourns = 0.0, np.empty(lives_s.size)
    for k, (gap, decision_s, life_s) in enumerate(zip(gaps, decisions_s, lives_s, strict=True)):
        waited = max(0.0, waited - gap)
        sojourns[k] = waited + decision_s
        waited += life_s
    p50, p99 = np.quantile(sojourns, (0.5, 0.99))
    return Wait(rate, load, float(p50), float(p99))
