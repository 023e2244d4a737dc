"""The report as one HTML page that needs nothing but a browser."""

from collections.abc import Iterable, Sequence
from html import escape

from agentsched.telemetry.report import Attainment, Report, WorkflowReport
from agentsched.telemetry.report_plots import latency_curve, time_bar
from agentsched.telemetry.report_rows import (
    ENDPOINT_HEAD,
    STEP_HEAD,
    VERDICTS,
    counted,
    endpoint_row,
    predictions,
    short,
    step_row,
    tally,
    waste,
)

__all__ = ["report_page"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .2rem .7rem; text-align: right; }
th { border-bottom: 1px solid #999; font-weight: 600; } th:first-child, td:first-child { text-align: left; }
h2, td:first-child { overflow-wrap: anywhere; } td:first-child { min-width: 10rem; }
.met { color: #1e8449; } .missed { color: #c0392b; } .open { color: #9a7d0a; }
figure { margin: 1rem 0; } figcaption, .note { color: #666; font-size: 13px; } svg { max-width: 100%; height: auto; }
"""


def report_page(report: Report) -> str:
    """The report as HTML, without scripts and without anything to load."""
    body = "".join(map(_workflow, report.workflows)) or "<p>no runs</p>"
    missing = [(report.lost, "records could not be written"), (report.bad_lines, "lines could not be read")]
    notes = "".join(f"<p class=note>{count} {text}.</p>" for count, text in missing if count)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>agentsched report</title>'
        f"<style>{_STYLE}</style></head><body><h1>agentsched report</h1>{body}{notes}"
        f"<p class=note>from {escape(', '.join(report.files))}</p></body></html>\n"
    )


def _workflow(one: WorkflowReport) -> str:
    return "".join(
        (
            f"<h2>{escape(one.workflow)}</h2>",
            _attainment(one.attainment),
            _table(("", ""), _facts(one).items()),
            latency_curve(one),
            time_bar(one.time),
            _spreads(one),
            _table(ENDPOINT_HEAD, map(endpoint_row, one.endpoints)),
            _table(STEP_HEAD, map(step_row, one.steps)),
        )
    )


def _facts(one: WorkflowReport) -> dict[str, str]:
    runs = max(1, one.runs)
    facts = {
        "runs": f"{one.runs}" + (f" ({one.unfinished} more without an end)" if one.unfinished else ""),
        "ended": tally(one.outcomes) or "none",
        "goodput": "-" if one.goodput_per_s is None else f"{one.goodput_per_s:.3g} runs/s",
        "calls per run": short(one.calls / runs),
        "attempts per run": short(one.attempts / runs),
        "retries per run": short(one.retries / runs),
        "tokens per run": f"{one.input_tokens / runs:,.0f} + {one.output_tokens / runs:,.0f}",
        "cost per run": f"{one.cost_usd / runs:.4g} USD",
        "failed calls": tally(one.call_failures) or "none",
        "lost attempts": tally(one.attempt_failures) or "none",
        "calls that waited": f"{one.queueing.share:.1%}",
    }
    if one.skipped:
        facts["steps left out"] = tally(one.skipped)
    if one.wasted_tokens:
        facts["wasted"] = waste(one)
    if told := predictions(one.predictions):
        facts["predictions"] = "; ".join(told)
    if one.score is not None:
        facts["feedback"] = f"{short(one.score)} on average"
    return facts


def _attainment(one: Attainment | None) -> str:
    if one is None:
        return "<p>No run had an SLO.</p>"
    return (
        f"<p><strong>{one.share:.1%}</strong> of {counted(one.runs, 'runs')} met their SLO (95 % interval "
        f"{one.low:.1%} to {one.high:.1%}), goal {one.goal:.0%}: "
        f"<strong class={one.verdict}>{VERDICTS[one.verdict]}</strong>.</p>"
    )


def _spreads(one: WorkflowReport) -> str:
    named = [("latency, s", one.latency_s), ("latency / deadline", one.lateness), ("waits, s", one.queueing.waited_s)]
    rows = [
        (name, *(short(value) for value in (of.mean, of.p50, of.p90, of.p95, of.p99, of.max)))
        for name, of in named
        if of is not None
    ]
    return _table(("", "mean", "P50", "P90", "P95", "P99", "max"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>" if body else ""
