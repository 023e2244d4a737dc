"""The bench of forecasts told to people and programs."""

from dataclasses import asdict
from typing import Any

from agentsched.bench.decide import Spread
from agentsched.bench.forecasting import Forecasting
from agentsched.bench.machine import machine_description, package_versions
from agentsched.bench.sheets import Bar, Sheet

__all__ = ["forecasting_bars", "forecasting_document", "forecasting_sheets"]

_MOST_FORECAST_US, _MOST_LESSON_US, _MOST_PROMPT_US = 100.0, 50.0, 60.0
_MOST_MEMORY_MB = 100.0
_MOST_LAG_S = 0.005
"""An interpreter hands over to another thread this long after it was asked to, seconds (`sys.getswitchinterval`)."""

_MILLION = 1_000_000


def forecasting_sheets(result: Forecasting) -> list[Sheet]:
    """What one of each costs, and how late an event loop wakes up beside it."""
    options = result.options
    costs = (
        (f"forecast: length, {options.endpoints} endpoints' latency, what follows", *_micro(result.forecast)),
        ("reading a prompt of 20,000 characters", *_micro(result.prompt)),
        ("a lesson, in the call's own thread", *_micro(result.lesson)),
        ("a lesson, in the learner's thread", *_micro(result.learning)),
    )
    nothing = result.lags[0]
    lags = tuple(
        (
            lag.arm,
            *(f"{figure * 1e3:.2f}" for figure in (lag.p50_s, lag.p99_s, lag.most_s)),
            f"{lag.p99_s / max(1e-9, nothing.p99_s):.2f}",
            str(lag.lessons),
            str(lag.relearned),
        )
        for lag in result.lags
    )
    return [
        Sheet(f"CPU, us, after {options.calls} calls", ("what", "p50", "p99"), 1, costs),
        Sheet(
            "An event loop wakes up late, ms",
            ("beside", "p50", "p99", "most", "p99 / nothing", "lessons", "learned anew"),
            1,
            lags,
        ),
    ]


def _micro(spread: Spread) -> tuple[str, str]:
    return f"{spread.p50_s * 1e6:.1f}", f"{spread.p99_s * 1e6:.0f}"


def forecasting_bars(result: Forecasting) -> list[Bar]:
    """What is promised."""
    bars = [
        _most("a full forecast: p50 at most 100 us of CPU", result.forecast, _MOST_FORECAST_US),
        _most("a lesson: p50 at most 50 us of CPU in the call's own thread", result.lesson, _MOST_LESSON_US),
        _most("reading 20,000 characters: p50 at most 60 us of CPU", result.prompt, _MOST_PROMPT_US),
    ]
    memory, calls = result.memory_mb, result.options.calls
    fits = None if memory is None or (calls < _MILLION and memory <= _MOST_MEMORY_MB) else memory <= _MOST_MEMORY_MB
    text = "memory: at most 100 MB after a million calls"
    bars.append(Bar(text, "" if memory is None else f"{memory:.0f} MB after {calls} calls", fits))
    nothing, *busy = result.lags
    for lag in busy:
        more = lag.p99_s - nothing.p99_s
        text = f"an event loop beside {lag.arm}: P99 of its lag at most 5 ms above that beside nothing"
        taught = lag.relearned > 0 or lag.arm != "learning anew"
        bars.append(Bar(text, f"{more * 1e3:+.2f} ms", more <= _MOST_LAG_S if taught else None))
    return bars


def _most(text: str, spread: Spread, most_us: float) -> Bar:
    took = spread.p50_s * 1e6
    return Bar(text, f"{took:.1f} us, {took / most_us:.2f} of it", took <= most_us)


def forecasting_document(result: Forecasting) -> dict[str, Any]:
    """Everything, for ``--json``."""
    return {
        "bench": "forecast",
        "machine": machine_description(),
        "packages": package_versions(),
        **asdict(result),
        "bars": [{**asdict(bar), "verdict": bar.verdict} for bar in forecasting_bars(result)],
    }
