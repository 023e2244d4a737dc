"""What forecasts cost: asking, learning, reading a prompt, memory, and what an event loop feels of the learning."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentsched import clock
from agentsched.bench.decide import Spread
from agentsched.core.call import ModelCall, RunInfo
from agentsched.core.endpoint import Endpoint, Profile
from agentsched.core.records import CallEnded, RunClosed
from agentsched.core.remainder import RunHistory
from agentsched.core.rules import BreakerRules
from agentsched.dispatch.learning import BackgroundLearner
from agentsched.forecast.features import packed_features
from agentsched.forecast.latency import answer_samples, tpot_if_joined, ttft_if_joined
from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.length_learner import LengthLearner
from agentsched.forecast.relearning import Relearned
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.forecast.remainder_learner import RemainderLearner
from agentsched.scheduler.endpoint_table import EndpointTable

__all__ = ["Forecasting", "Lag", "Options", "measure"]

Array = NDArray[np.float64]

_WORKFLOWS, _STEPS, _CALLS_OF_A_RUN = 20, 50, 10
_HANDED_OUT_EVERY = 25
"""Calls between two snapshots: a quarter of a second at 100 calls a second."""

_LAG_EVERY_S = 0.002
_ROUNDS = 4
_ARMS = (("nothing", 0, False), ("learning", 20, False), ("learning anew", 20, True))
"""What goes on beside an event loop: lessons every turn, and whether lengths change again and again."""

_TURN_S = 0.05
_CHANGES_EVERY = 300
"""Lessons after which all lengths of the busy arm change, so that they are learned anew over and over."""

_FACTOR = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured.

    Attributes:
        calls: answers that are learned before forecasts are asked for; memory is counted over them.
        endpoints: whose latency a forecast tells.
        asked: forecasts, prompts and lessons that are timed, each.
        lag_s: seconds for which the event loop is watched, per arm.
        seed: of lengths and prompts.
    """

    calls: int = 20_000
    endpoints: int = 13
    asked: int = 1_000
    lag_s: float = 5.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Lag:
    """How much later than asked an event loop woke up.

    Attributes:
        arm: what went on beside it.
        p50_s, p99_s, most_s: seconds.
        lessons: learned meanwhile.
        relearned: how often a workflow was learned anew meanwhile.
    """

    arm: str
    p50_s: float
    p99_s: float
    most_s: float
    lessons: int
    relearned: int


@dataclass(frozen=True, slots=True)
class Forecasting:
    """The whole bench; CPU seconds of one of each.

    Attributes:
        forecast: length, what follows, and the latency at every endpoint.
        lesson: what a call's own thread spends to have it learned.
        learning: what the learner's thread spends on it, its share of the snapshots included.
        prompt: reading a prompt of 20,000 characters.
        memory_mb: what the process has grown by while it learned; None: this system does not say.
        lags: of an event loop.
    """

    options: Options
    forecast: Spread
    lesson: Spread
    learning: Spread
    prompt: Spread
    memory_mb: float | None
    lags: tuple[Lag, ...]


def measure(options: Options, progress: Callable[[str], None] = lambda text: None) -> Forecasting:
    """Measure everything, one after the other."""
    stream = _Calls(options.seed)
    progress("learning")
    before = _resident_mb()
    lengths, remainders = LengthLearner(), RemainderLearner()
    learning = []
    for done, records in enumerate(stream.runs(max(1, options.calls // _CALLS_OF_A_RUN))):
        if done % 200 == 0:
            progress(f"learning: {done * _CALLS_OF_A_RUN} of {options.calls} calls")
        began = clock.cpu()
        _learn(lengths, remainders, records)
        learning.append((clock.cpu() - began) / _CALLS_OF_A_RUN)
    after = _resident_mb()
    progress("forecasts")
    asked = _forecasts(lengths.snapshot() or EmpiricalLengths(), remainders.snapshot(), stream, options)
    progress("prompts")
    prompts = [stream.prompt() for _ in range(32)]
    read = [_timed(partial(packed_features, prompts[k % 32])) for k in range(options.asked)]
    lesson = _lessons(stream, options)
    return Forecasting(
        options,
        _spread(asked),
        _spread(lesson),
        _spread(learning),
        _spread(read),
        None if before is None or after is None else max(0.0, after - before),
        _lags(stream, options, progress),
    )


class _Calls:
    """Calls of many workflows, their lengths, prompts and words at random."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._count = 0
        self.factor = 1.0

    def runs(self, count: int) -> Iterator[list[CallEnded | RunClosed]]:
        for _ in range(count):
            yield self.run()

    def run(self, workflow: str | None = None, steps: int = _STEPS) -> list[CallEnded | RunClosed]:
        """One run: its calls in order, then its end."""
        self._count += 1
        run = f"r{self._count}"
        name = workflow or f"w{int(self._rng.integers(_WORKFLOWS))}"
        begin = int(self._rng.integers(steps))
        records: list[CallEnded | RunClosed] = []
        for place in range(_CALLS_OF_A_RUN):
            step = (begin + place) % steps
            tokens = int(self.factor * (50 + 10 * step) * self._rng.lognormal(0.0, 0.5)) + 1
            at = float(self._count * 10 + place)
            call = self._call(run, name, step, place)
            records.append(CallEnded(call, at, at + 0.5, "ok", "e0", 1, 0, 0.0, 0.1, 900, tokens, None, 0.0))
        info = RunInfo(run, name, 0.0)
        records.append(RunClosed(info, float(self._count * 10 + 10), "ok", len(records), len(records), 1, 1, 0.0))
        return records

    def _call(self, run: str, workflow: str, step: int, place: int) -> ModelCall:
        words = np.sort(self._rng.choice(256, 60, replace=False)).astype("<u2").tobytes()
        tokens = int(self._rng.lognormal(7.0, 1.0))
        return ModelCall(f"{run}-{place}", run, workflow, f"s{step}", place, "m", input_tokens=tokens, features=words)

    def asked(self, options: Options) -> Iterator[tuple[ModelCall, RunHistory]]:
        """Calls in the middle of runs, with what was answered before."""
        for _ in range(options.asked):
            *past, call = (one.call for one in self.run() if isinstance(one, CallEnded))
            history = RunHistory()
            for one in past:
                history.arrived(one.step, 0.0)
                history.answered(one.step, one.input_tokens, int(self._rng.integers(20, 900)))
            history.arrived(call.step, 0.0)
            yield call, history

    def prompt(self) -> str:
        """Some 20,000 characters of words."""
        letters = self._rng.integers(97, 123, 20_000).astype(np.uint8)
        letters[self._rng.random(letters.size) < 0.17] = 32
        return letters.tobytes().decode("ascii")


def _learn(lengths: LengthLearner, remainders: RemainderLearner, records: list[CallEnded | RunClosed]) -> None:
    for record in records:
        if isinstance(record, CallEnded):
            lengths.call_ended(record)
            remainders.call_ended(record)
            if record.call.call_index % _HANDED_OUT_EVERY == 0:
                lengths.snapshot()
        else:
            lengths.run_closed(record)
            remainders.run_closed(record)


def _forecasts(
    lengths: EmpiricalLengths, remainders: EmpiricalRemainders | None, stream: _Calls, options: Options
) -> list[float]:
    """CPU seconds of forecasts as a call's arrival asks for them."""
    table, everywhere = _table(options.endpoints), np.arange(options.endpoints)
    follows = remainders or EmpiricalRemainders(guess=True)

    def ask(call: ModelCall, history: RunHistory) -> None:
        length = lengths.predict(call, history)
        follows.predict(call, history)
        states = table.states(everywhere, np.zeros(everywhere.size), 1.0)
        ttft_s, tpot_s = ttft_if_joined(states, np.full(everywhere.size, 900.0)), tpot_if_joined(states)
        answer_samples(ttft_s.item(0), tpot_s.item(0), length.values, table.speeds.factors(0))

    return [_timed(partial(ask, call, history)) for call, history in stream.asked(options)]


def _table(count: int) -> EndpointTable:
    profile = Profile(ttft_s=0.1, tpot_s=0.01, tpot_per_batch_s=0.0001, prefill_tokens_per_s=9_000.0)
    endpoints = [Endpoint(f"e{k}", f"http://127.0.0.1:{k + 1}/v1", "m", profile=profile) for k in range(count)]
    return EndpointTable(endpoints, BreakerRules())


def _nothing(*told: object) -> None:
    """Takes what nobody asks for here."""


def _lessons(stream: _Calls, options: Options) -> list[float]:
    """CPU seconds of the calling thread alone."""
    learner = BackgroundLearner(_nothing, _nothing, _nothing)
    took = []
    try:
        for records in stream.runs(max(1, options.asked // _CALLS_OF_A_RUN)):
            for record in records:
                began = clock.thread_cpu()
                learner.take(record)
                took.append(clock.thread_cpu() - began)
        learner.flush()
    finally:
        learner.close()
    return took


class _Arm:
    """An event loop with a learner beside it that is taught so many lessons per turn."""

    def __init__(self, name: str, stream: _Calls, per_turn: int, *, changing: bool) -> None:
        self._name, self._stream, self._per_turn, self._changing = name, stream, per_turn, changing
        self._relearned: list[Relearned] = []
        self._learner = BackgroundLearner(_nothing, _nothing, self._relearned.append)
        self._lessons = 0
        self._late: list[float] = []

    def close(self) -> None:
        self._learner.close()

    def lag(self) -> Lag:
        p50, p99 = np.quantile(self._late, (0.5, 0.99))
        return Lag(self._name, float(p50), float(p99), max(self._late), self._lessons, len(self._relearned))

    async def watch(self, for_s: float) -> None:
        """One round."""
        teaching = asyncio.create_task(self._teach())
        ends_at = clock.monotonic() + for_s
        while (began := clock.monotonic()) < ends_at:
            await asyncio.sleep(_LAG_EVERY_S)
            self._late.append(max(0.0, clock.monotonic() - began - _LAG_EVERY_S))
        teaching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await teaching

    async def _teach(self) -> None:
        while True:
            for _ in range(self._per_turn // _CALLS_OF_A_RUN):
                changed = self._changing and self._lessons // _CHANGES_EVERY % 2 == 1
                self._stream.factor = _FACTOR if changed else 1.0
                for record in self._stream.run("busy", steps=4):
                    self._learner.take(record)
                    self._lessons += 1
            await asyncio.sleep(_TURN_S)


def _lags(stream: _Calls, options: Options, progress: Callable[[str], None]) -> tuple[Lag, ...]:
    """The arms in turn, round by round: what else the machine does meanwhile, all of them feel."""
    arms = [_Arm(name, stream, per_turn, changing=changing) for name, per_turn, changing in _ARMS]
    try:
        for done in range(_ROUNDS):
            progress(f"an event loop beside the learner: round {done + 1} of {_ROUNDS}")
            for arm in arms:
                asyncio.run(arm.watch(options.lag_s / _ROUNDS))
    finally:
        for arm in arms:
            arm.close()
    return tuple(arm.lag() for arm in arms)


def _timed(work: Callable[[], object]) -> float:
    began = clock.cpu()
    work()
    return clock.cpu() - began


def _spread(taken: list[float]) -> Spread:
    p50, p99 = np.quantile(taken, (0.5, 0.99))
    return Spread(float(p50), float(p99))


def _resident_mb() -> float | None:
    """Memory of this process that is in use, MB; from Linux's ``statm``, elsewhere nothing."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * 4096 / 1e6
