"""When runs begin."""

from collections.abc import Callable, Sequence
from math import inf

import numpy as np

from agentsched.sim.workload_format import Arrivals

__all__ = ["arrival_times", "scaled_times"]


def arrival_times(arrivals: Arrivals, load: float | None, until_s: float, rng: np.random.Generator) -> list[float]:
    """Draw the instants, ascending, in seconds from 0 to ``until_s``.

    Args:
        arrivals: the kind of process.
        load: mean runs per second; None leaves recorded instants as they are (other kinds need it).
        until_s: the end, exclusive.
        rng: the source of chance.
    """
    if arrivals.kind == "recorded":
        assert arrivals.times is not None
        return scaled_times(arrivals.times, load, until_s)
    assert load is not None
    if arrivals.kind == "gamma":
        assert arrivals.cv is not None
        shape = 1.0 / arrivals.cv**2
        return _renewals(lambda: float(rng.gamma(shape, 1.0 / (shape * load))), until_s)
    gaps = _renewals(lambda: float(rng.exponential()), load * until_s)
    if arrivals.kind == "poisson":
        return [gap / load for gap in gaps]
    return _square_wave(arrivals, load, until_s, gaps)


def _renewals(gap: Callable[[], float], until: float) -> list[float]:
    times: list[float] = []
    at = gap()
    while at < until:
        times.append(at)
        at += gap()
    return times


def scaled_times(recorded: Sequence[float], load: float | None, until_s: float) -> list[float]:
    """Recorded instants up to ``until_s``, ascending.

    Args:
        recorded: seconds.
        load: mean runs per second that they are stretched or compressed to, the first one being 0; None: as they are.
        until_s: the end, exclusive.
    """
    times = sorted(recorded)
    length = times[-1] - times[0]
    if load is not None and length > 0:
        scale = (len(times) - 1) / length / load
        times = [(at - times[0]) * scale for at in times]
    return [at for at in times if at < until_s]


def _square_wave(arrivals: Arrivals, load: float, until_s: float, ticks: list[float]) -> list[float]:
    """A Poisson process at two rates in turn: one of rate 1, on a time that passes at the changing rate."""
    period, share, high = arrivals.period, arrivals.high_share, arrivals.high
    assert period is not None
    assert share is not None
    assert high is not None
    peak_rate = load * high
    base_rate = load * (1.0 - high * share) / (1.0 - share)
    in_peak, in_period = peak_rate * share * period, load * period
    times: list[float] = []
    for tick in ticks:
        rounds, rest = divmod(tick, in_period)
        if rest <= in_peak:
            within = rest / peak_rate
        else:
            within = share * period + ((rest - in_peak) / base_rate if base_rate > 0 else inf)
        at = rounds * period + within
        if at < until_s:
            times.append(at)
    return times
