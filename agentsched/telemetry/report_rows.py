"""The tables of a report as rows of text, for whatever shows them."""

from collections.abc import Mapping

from agentsched.telemetry.report import EndpointReport, StepReport
from agentsched.telemetry.spread import Spread

__all__ = ["ENDPOINT_HEAD", "STEP_HEAD", "VERDICTS", "counted", "endpoint_row", "short", "step_row", "tally"]

ENDPOINT_HEAD = ("endpoint", "attempts", "share", "errors", "TTFT P50", "P95 s", "TPOT P50", "P95 ms", "USD")
STEP_HEAD = ("step", "calls", "of time", "spent P50", "P95 s", "planned P50", "P95 s", "tokens P50", "P95")
VERDICTS = {"met": "goal met", "missed": "goal missed", "open": "too few runs to tell"}


def endpoint_row(row: EndpointReport) -> tuple[str, ...]:
    """The cells under `ENDPOINT_HEAD`."""
    head = (row.endpoint, str(row.attempts), f"{row.share:.0%}", f"{row.error_rate:.1%}")
    money = f"{row.cost_usd:.2g}" if row.cost_usd < 0.01 else short(row.cost_usd)  # two digits keep the table narrow
    return (*head, *_middle_and_tail(row.ttft_s), *_middle_and_tail(row.tpot_s, 1000.0), money)


def step_row(row: StepReport) -> tuple[str, ...]:
    """The cells under `STEP_HEAD`."""
    spreads = (row.spent_s, row.planned_s, row.output_tokens)
    cells = tuple(cell for spread in spreads for cell in _middle_and_tail(spread))
    return (row.step, str(row.calls), f"{row.share:.0%}", *cells)


def counted(number: float, things: str, one: str = "") -> str:
    """``"3 calls"``, ``"1 call"``, ``"1.5 calls"``.

    Args:
        number: how many.
        things: what, in the plural.
        one: in the singular; empty: without the last letter.
    """
    text = short(number)
    return f"{text} {one or things[:-1]}" if text == "1" else f"{text} {things}"


def short(value: float) -> str:
    """A figure with three digits, or, from a thousand on, with all of them before the point."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"


def tally(counts: Mapping[str, int]) -> str:
    """Counts by kind, e.g. ``silent 3, limited 1``."""
    return ", ".join(f"{kind} {count}" for kind, count in counts.items())


def _middle_and_tail(one: Spread | None, scale: float = 1.0) -> tuple[str, str]:
    return ("-", "-") if one is None else (short(one.p50 * scale), short(one.p95 * scale))
