"""Situations made by hand or by chance, for the tests of policies."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from agentsched.core.call import ModelCall
from agentsched.core.decision import EndpointStates, Situation
from agentsched.core.forecast import QUANTILES, QuantileForecast
from agentsched.core.remainder import RemainderForecast
from agentsched.forecast.latency import tpot_if_joined, ttft_if_joined

__all__ = ["IDLE", "random_situations", "situation"]

Array = NDArray[np.float64]

IDLE: Mapping[str, float] = {
    **{field.name: 0.0 for field in fields(EndpointStates)},
    "tpot_s": 0.02,
    "tpot_in_flight": 1.0,
    "seen_age_s": np.inf,
    "tpot_alone_s": 0.02,
    "tpot_per_batch_s": 0.0002,
    "prefill_tokens_per_s": 8000.0,
    "ttft_idle_s": 0.3,
    "quality": 1.0,
    "slots": np.inf,
}
"""An endpoint that is free and of which nothing was seen yet, field by field of `EndpointStates`."""

_SIZES = (1, 2, 3, 5, 13, 64, 512)

_RANGES: Mapping[str, tuple[float, float]] = {
    "in_flight": (0.0, 200.0),
    "prefill_tokens": (0.0, 1e6),
    "tpot_s": (1e-9, 1e3),
    "tpot_in_flight": (1.0, 200.0),
    "seen_age_s": (0.0, 1e6),
    "excess_ttft_s": (0.0, 1e4),
    "tpot_alone_s": (1e-9, 1e3),
    "tpot_per_batch_s": (0.0, 10.0),
    "prefill_tokens_per_s": (1e-6, 1e9),
    "ttft_idle_s": (0.0, 1e3),
    "ready_in_s": (0.0, 1e6),
    "price_input_usd": (0.0, 1.0),
    "price_output_usd": (0.0, 1.0),
    "quality": (0.0, 1.0),
    "error_rate": (0.0, 1.0),
    "slots": (1.0, 1e3),
    "request_s": (0.0, 60.0),
    "token_s": (0.0, 1.0),
    "stake_per_s": (0.0, 100.0),
    "stake_mean_per_s": (0.0, 100.0),
    "stake_tokens": (0.0, 1e5),
    "queue_stake_per_s": (0.0, 100.0),
}
"""The least and the most of what a policy has to cope with; the others follow from these."""

_WHOLE = frozenset({"in_flight", "slots"})
_MAYBE_INFINITE = frozenset({"seen_age_s", "ready_in_s", "slots"})


def situation(
    *endpoints: Mapping[str, float],
    call: ModelCall | None = None,
    output_tokens: QuantileForecast | float = 100.0,
    cached_tokens: Sequence[float] | Array | None = None,
    remainder: RemainderForecast | None = None,
    rest_s: Array | None = None,
    now: float = 100.0,
) -> Situation:
    """What a scheduler would show a policy; the arrays cannot be written to.

    Args:
        endpoints: for each candidate the fields of `EndpointStates` that differ from `IDLE`. ``in_flight_all`` and
            ``prefill_tokens_all`` are the own ones unless they are given.
        call: what is to be placed; None: a call without prompt and deadline.
        output_tokens: the forecast of its length, or the length itself.
        cached_tokens: prompt tokens cached at each candidate; None: none.
        remainder: what follows the call.
        rest_s: the same in seconds, shape (QUANTILES,); None: as ``remainder`` says at the pace of an idle endpoint.
        now: the instant.

    Raises:
        TypeError: an endpoint has a field that `EndpointStates` lacks.
    """
    columns = {name: np.array([_row(one)[name] for one in endpoints], np.float64) for name in IDLE}
    for one in endpoints:
        if not set(one) <= set(IDLE):
            raise TypeError(f"no such field of EndpointStates: {', '.join(sorted(set(one) - set(IDLE)))}")
    return _of_columns(
        columns,
        ModelCall("c", "r", "w", "s", 0, "m") if call is None else call,
        output_tokens if isinstance(output_tokens, QuantileForecast) else QuantileForecast.constant(output_tokens),
        np.zeros(len(endpoints)) if cached_tokens is None else np.array(cached_tokens, np.float64),
        remainder,
        rest_s,
        now,
    )


def _row(endpoint: Mapping[str, float]) -> dict[str, float]:
    own = {"in_flight_all": endpoint.get("in_flight", 0.0), "prefill_tokens_all": endpoint.get("prefill_tokens", 0.0)}
    return {**IDLE, **own, **endpoint}


def _of_columns(
    columns: Mapping[str, Array],
    call: ModelCall,
    output_tokens: QuantileForecast,
    cached_tokens: Array,
    remainder: RemainderForecast | None,
    rest_s: Array | None,
    now: float,
) -> Situation:
    states = EndpointStates(**columns)
    if remainder is not None and rest_s is None:
        rest_s = remainder.seconds(
            tpot_s=IDLE["tpot_s"], prefill_tokens_per_s=IDLE["prefill_tokens_per_s"], ttft_s=IDLE["ttft_idle_s"]
        )
    made = Situation(
        call=call,
        names=tuple(f"e{k}" for k in range(cached_tokens.size)),
        states=states,
        cached_tokens=cached_tokens,
        ttft_s=ttft_if_joined(states, np.maximum(0.0, call.input_tokens - cached_tokens)),
        tpot_s=tpot_if_joined(states),
        output_tokens=output_tokens,
        remainder=remainder,
        rest_s=rest_s,
        now=now,
    )
    for array in (*columns.values(), made.cached_tokens, made.ttft_s, made.tpot_s, made.rest_s):
        if array is not None:
            array.flags.writeable = False
    return made


def random_situations(rng: np.random.Generator, count: int) -> Iterator[Situation]:
    """``count`` situations, from 1 to 512 candidates, ordinary and extreme: what any policy has to cope with.

    In some nobody is ready, or ever will be; deadlines are absent, far, near, or over.
    """
    for number in range(count):
        size = _SIZES[number % len(_SIZES)]
        columns = _ordinary(rng, size) if rng.random() < 0.5 else _extreme(rng, size)
        call = _call(rng, number)
        yield _of_columns(
            columns,
            call,
            _lengths(rng),
            rng.uniform(0.0, call.input_tokens, size) * rng.integers(0, 2, size),
            remainder=None if rng.random() < 0.5 else _remainder(rng),
            rest_s=None,
            now=100.0,
        )


def _ordinary(rng: np.random.Generator, size: int) -> dict[str, Array]:
    """Endpoints within a factor of some three around an idle one."""
    columns = {name: value * np.exp(rng.normal(0.0, 0.5, size)) for name, value in IDLE.items()}
    columns["in_flight"] = rng.integers(0, 20, size).astype(np.float64)
    columns["prefill_tokens"] = rng.uniform(0.0, 5000.0, size)
    columns["quality"] = rng.uniform(0.2, 1.0, size)
    columns["price_input_usd"], columns["price_output_usd"] = rng.uniform(0.0, 1e-5, (2, size))
    for name in ("stake_per_s", "stake_mean_per_s", "queue_stake_per_s"):
        columns[name] = rng.uniform(0.0, 2.0, size)
    columns["stake_tokens"] = rng.uniform(0.0, 500.0, size)
    columns["ready_in_s"] = rng.choice([0.0, 0.0, 0.0, 0.5, np.inf], size)
    return _with_others(rng, columns)


def _extreme(rng: np.random.Generator, size: int) -> dict[str, Array]:
    """Anything that is possible at all, bounds and infinities included."""
    columns = {}
    for name, (low, high) in _RANGES.items():
        middle = low + (high - low) * rng.random(size) ** 8
        values = np.choose(rng.integers(0, 4, size), [np.full(size, low), middle, middle, np.full(size, high)])
        if name in _MAYBE_INFINITE:
            values[rng.random(size) < 0.2] = np.inf
        columns[name] = np.floor(values) if name in _WHOLE else values
    if rng.random() < 0.1:
        columns["ready_in_s"] = np.full(size, np.inf)
    return _with_others(rng, columns)


def _with_others(rng: np.random.Generator, columns: dict[str, Array]) -> dict[str, Array]:
    """What other clients have there comes on top; fields that this room does not know are 0."""
    size = columns["in_flight"].size
    columns["in_flight_all"] = columns["in_flight"] + rng.integers(0, 50, size)
    columns["prefill_tokens_all"] = columns["prefill_tokens"] + rng.uniform(0.0, 1e4, size)
    return {name: columns.get(name, np.full(size, value)) for name, value in IDLE.items()}


def _call(rng: np.random.Generator, number: int) -> ModelCall:
    due_at = (None, 50.0, 100.0, 101.0, 120.0, 1e6)[int(rng.integers(0, 6))]
    return ModelCall(
        call_id=f"r{number}.0",
        run_id=f"r{number}",
        workflow="w",
        step="s",
        call_index=0,
        model="m",
        stream=bool(rng.integers(0, 2)),
        input_tokens=int(rng.choice([0, 1, 900, 24_000, 1_000_000])),
        prefix=int(rng.integers(0, 3)),
        due_at=due_at,
        priority=int(rng.integers(-8, 9)),
    )


def _lengths(rng: np.random.Generator) -> QuantileForecast:
    if rng.random() < 0.3:
        return QuantileForecast.constant(float(rng.choice([0.0, 1.0, 20.0, 1e6])))
    return QuantileForecast.lognormal(float(rng.uniform(1.0, 2000.0)), float(rng.uniform(0.0, 2.0)))


def _remainder(rng: np.random.Generator) -> RemainderForecast:
    return RemainderForecast(
        output_tokens=rng.lognormal(5.0, 1.0, QUANTILES),
        prompt_tokens=rng.lognormal(7.0, 1.0, QUANTILES),
        calls=rng.integers(0, 12, QUANTILES).astype(np.float64),
        tool_s=rng.lognormal(0.0, 1.0, QUANTILES),
    )
