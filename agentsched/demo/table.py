"""The comparison as rows of text: what the terminal and the page both show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentsched.demo.results import ArmResult, Figures, Outcome

__all__ = ["FOOTNOTES", "NO_FIGURES", "Row", "comparison_rows", "ratio_heads"]

FOOTNOTES = (
    "(1) lateness of the agent process's event loop, P95 / worst: its own share in every latency",
    "(2) distance of the emulator's chunks from the instants they were due, P95 / allowed",
)

NO_FIGURES = "not on time"
"""What stands in place of an arm's figures when the emulator did not keep time."""

_SHORT = {"one endpoint": "one", "round robin": "robin"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison.

    Attributes:
        label: what it says.
        cells: one text per arm.
        ratios: the last arm over each of the others; empty texts where that says nothing.
    """

    label: str
    cells: tuple[str, ...]
    ratios: tuple[str, ...]


_Value = Callable[[Figures], float]


@dataclass(frozen=True, slots=True)
class _Line:
    label: str
    value: _Value
    text: Callable[[Figures], str]
    compared: bool = True


def _number(label: str, value: _Value, form: str, *, compared: bool = True) -> _Line:
    return _Line(label, value, lambda figures: format(value(figures), form), compared)


def _latency(label: str, of: _Value, scale: float, form: str) -> _Line:
    def text(figures: Figures) -> str:
        # Whoever gave up would have waited longer: from there on the quantile is a lower bound.
        bounded = figures.censored_from_s is not None and of(figures) >= figures.censored_from_s
        return ("≥ " if bounded else "") + format(of(figures) / scale, form)

    return _Line(label, lambda figures: of(figures) / scale, text)


def _lines(deadline_s: float) -> list[_Line]:
    def interval(figures: Figures) -> str:
        low, high = figures.interval
        return f"{low:.0%} to {high:.0%}"

    def count(outcome: Outcome) -> _Value:
        return lambda figures: figures.outcomes.get(outcome, 0)

    return [
        _number("SLO attainment", lambda f: f.attainment, ".0%"),
        _Line("  its 95 % interval", lambda f: f.attainment, interval, compared=False),
        _number("goodput, in time/s", lambda f: f.goodput_per_s, ".2f"),
        _latency("P50 latency, s", lambda f: f.latency_s.p50, 1.0, ".2f"),
        _latency("P95 latency, s", lambda f: f.latency_s.p95, 1.0, ".2f"),
        _latency("P99 latency, s", lambda f: f.latency_s.p99, 1.0, ".2f"),
        _latency("P50 latency / SLO", lambda f: f.latency_s.p50, deadline_s, ".2f"),
        _latency("P95 latency / SLO", lambda f: f.latency_s.p95, deadline_s, ".2f"),
        _number("answered late", lambda f: f.late, ".0f", compared=False),
        _number("ended at deadline", count(Outcome.DEADLINE), ".0f", compared=False),
        _number("asker gave up", count(Outcome.GAVE_UP), ".0f", compared=False),
        _number("failed otherwise", count(Outcome.FAILED), ".0f", compared=False),
        _number("model calls", lambda f: f.calls, ".0f"),
        _number("retries", lambda f: f.retries, ".0f", compared=False),
        _number("prompt tokens", lambda f: f.input_tokens, ",.0f"),
        _number("output tokens", lambda f: f.output_tokens, ",.0f"),
        _number("cost, USD", lambda f: f.cost_usd, ".4f"),
        _number("cost per one in time", lambda f: f.cost_usd / max(1, f.attained), ".5f"),
    ]


def comparison_rows(results: Sequence[ArmResult]) -> list[Row]:
    """The rows; an arm without figures has `NO_FIGURES` in its column and no ratios."""
    figures = [result.figures for result in results]
    rows = [
        Row(
            line.label,
            tuple(NO_FIGURES if each is None else line.text(each) for each in figures),
            tuple(_ratio(line, figures[-1], other) for other in figures[:-1]),
        )
        for line in _lines(results[0].deadline_s)
    ]
    clients = [result.client for result in results]
    blank = ("",) * (len(results) - 1)
    per_call = tuple(f"{1000 * client.cpu_s / max(1, client.calls):.1f}" for client in clients)
    lag = tuple(f"{1000 * client.lag_p95_s:.1f} / {1000 * client.lag_worst_s:.0f}" for client in clients)
    paced = tuple(f"{1000 * result.pacing.p95_s:.2f} / {1000 * result.pacing.allowed_s:.2f}" for result in results)
    return [
        *rows,
        Row("agent's CPU/call, ms", per_call, blank),
        Row("loop late, ms (1)", lag, blank),
        Row("emulator off, ms (2)", paced, blank),
    ]


def ratio_heads(results: Sequence[ArmResult]) -> tuple[str, ...]:
    """Titles of the ratio columns."""
    return tuple(f"/ {_SHORT.get(result.arm, result.arm)}" for result in results[:-1])


def _ratio(line: _Line, ours: Figures | None, other: Figures | None) -> str:
    if not line.compared or ours is None or other is None or line.value(other) == 0:
        return ""
    ratio = line.value(ours) / line.value(other)
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
