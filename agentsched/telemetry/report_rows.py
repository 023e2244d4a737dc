"""The tables of a report as rows of text, for whatever shows them."""

from collections.abc import Mapping

from agentsched.telemetry.prediction_quality import Predictions
from agentsched.telemetry.report import EndpointReport, StepReport, WorkflowReport
from agentsched.telemetry.spread import Spread

__all__ = [
    "ENDPOINT_HEAD",
    "STEP_HEAD",
    "VERDICTS",
    "counted",
    "endpoint_row",
    "predictions",
    "short",
    "step_row",
    "tally",
    "waste",
]

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


def waste(one: WorkflowReport) -> str:
    """What attempts took beyond one unbroken answer per call, and which kinds of further attempts there were."""
    share = one.wasted_tokens / max(1, one.input_tokens + one.output_tokens)
    money = f", {one.wasted_usd:.4g} USD" if one.wasted_usd else ""
    further = {why: count for why, count in one.attempts_by.items() if why not in ("first", "queued")}
    return f"{one.wasted_tokens:,} tokens ({share:.1%}){money}" + (f": {tally(further)}" if further else "")


def predictions(one: Predictions) -> list[str]:
    """How what was predicted compares with what came of it, a sentence for each thing that can be told."""
    told = []
    if one.p95_coverage is not None:
        told.append(f"P95 held for {one.p95_coverage:.1%} of {one.answers} attempts (95 % is right)")
    if one.e2e_error_s is not None:
        text = f"median error {short(one.e2e_error_s)} s"
        text += "" if one.e2e_error_share is None else f" ({one.e2e_error_share:.0%})"
        told.append(text + ("" if one.ttft_error_s is None else f", first token {short(one.ttft_error_s)} s"))
    if one.mean_p_meet is not None and one.met_share is not None and one.brier is not None:
        odds = f"P(meet) said {one.mean_p_meet:.1%} at first on average, {one.met_share:.1%} met it"
        told.append(f"{odds} (Brier score {one.brier:.3f})")
    return told


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
