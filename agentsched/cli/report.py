"""``agentsched report LOG...``: what a decision log says of each workflow."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentsched import clock
from agentsched.cli.decision_logs import decision_logs
from agentsched.cli.output import date, json_option, people, print_json
from agentsched.core.duration import parse_duration
from agentsched.errors import ConfigError
from agentsched.telemetry.reading import LogReading, read_log
from agentsched.telemetry.report import Attainment, Report, WorkflowReport, build_report
from agentsched.telemetry.report_page import report_page
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
from agentsched.telemetry.run_log import RunLog
from agentsched.telemetry.spread import Spread

__all__ = ["command"]

_COLOURS = {"met": "green", "missed": "red", "open": "yellow"}


@click.command("report")
@click.argument("logs", nargs=-1, type=click.Path())
@click.option("--workflow", help="Report this workflow only.")
@click.option("--since", help="Report runs that began since then: 1h, 30m, or 2026-11-21T12:00 (UTC unless it says).")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write an HTML page too.")
@json_option
def command(logs: tuple[str, ...], workflow: str | None, since: str | None, as_json: bool, page: Path | None) -> None:
    """Sum up decision logs: SLO attainment, latency, cost, endpoints, steps and predictions of each workflow.

    LOGS are log files (rotated and compressed predecessors are read too) or directories of them; by default the one
    that the configuration names.
    """
    reading = _read(decision_logs(logs), workflow, None if since is None else _instant(since))
    report = build_report(reading)
    if page is not None:
        _write(page, report_page(report))
    if as_json:
        print_json(report.to_dict())
    else:
        _show(report, people())
    for problem in reading.problems[:5]:
        click.echo(f"skipped: {problem}", err=True)
    if reading.bad_lines > 5:
        click.echo(f"skipped: {reading.bad_lines} lines in all", err=True)


def _read(logs: tuple[str, ...], workflow: str | None, since_s: float | None) -> LogReading:
    def keep(run: RunLog) -> bool:
        if workflow is not None and run.workflow != workflow:
            return False
        return since_s is None or (run.arrival_s is not None and run.arrival_s >= since_s)

    reading = read_log(logs, keep=keep)
    if workflow is not None and not reading.runs:
        raise ConfigError("no run of this workflow in the log", field="--workflow", given=workflow)
    return reading


def _instant(text: str) -> float:
    """Seconds since the epoch, of a date or of a duration before now."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            return clock.wall() - parse_duration(text, field="--since")
        except ConfigError as error:
            allowed = "a duration such as 1h or 30m, or a date such as 2026-11-21T12:00"
            raise ConfigError("not a time", field="--since", given=text, allowed=allowed) from error
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _write(page: Path, text: str) -> None:
    try:
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}", file=str(page)) from error


def _show(report: Report, console: Console) -> None:
    for workflow in report.workflows:
        _show_workflow(workflow, console)
    if not report.workflows:
        console.print("no runs")
    if report.lost:
        console.print(Text(f"{report.lost} records could not be written and are missing here", "red"))


def _show_workflow(one: WorkflowReport, console: Console) -> None:
    title = Text(f"workflow {one.workflow}", "bold")
    title.append(f": {counted(one.runs, 'runs')}", "default")
    title.append(f", {one.unfinished} more without an end in the log" if one.unfinished else "", "default")
    if one.since_s is not None and one.until_s is not None:
        title.append(f", {date(one.since_s)} to {date(one.until_s)} UTC", "default")
    console.print(title)
    facts = Table.grid(padding=(0, 2))
    for name, text in _facts(one):
        facts.add_row(f"  {name}", text)
    console.print(facts)
    console.print()
    if one.endpoints:
        console.print(_table(ENDPOINT_HEAD, map(endpoint_row, one.endpoints)))
        console.print()
    if one.steps:
        console.print(_table(STEP_HEAD, map(step_row, one.steps)))
        console.print()


def _facts(one: WorkflowReport) -> list[tuple[str, Text]]:
    facts = [("SLO", _attainment(one.attainment))]
    if one.attainment is not None and one.goodput_per_s is not None:
        facts.append(("goodput", Text(f"{short(one.goodput_per_s)} runs/s met their SLO")))
    facts.append(("latency", Text(_percentiles(one.latency_s, "s"))))
    if one.lateness is not None:
        of = "their deadline" if one.deadline_s is None else f"the deadline of {one.deadline_s:g} s"
        facts.append(("", Text(f"{_percentiles(one.lateness)} of {of}")))
    facts.append(("ended", Text(tally(one.outcomes) or "none")))
    facts.append(("per run", Text(_per_run(one))))
    if one.wasted_tokens:
        facts.append(("wasted", Text(waste(one))))
    if one.skipped:
        facts.append(("left out", Text(tally(one.skipped))))
    facts.append(("time", Text(_shares(one.time) or "none")))
    if one.call_failures:
        facts.append(("failed calls", Text(tally(one.call_failures))))
    if one.attempt_failures:
        facts.append(("lost attempts", Text(tally(one.attempt_failures))))
    facts.append(("queueing", Text(_queueing(one))))
    told = predictions(one.predictions)
    facts += [("" if number else "predictions", Text(text)) for number, text in enumerate(told)]
    if one.score is not None:
        facts.append(("feedback", Text(f"{short(one.score)} on average")))
    return facts


def _attainment(one: Attainment | None) -> Text:
    if one is None:
        return Text("none of the runs had one")
    text = Text(
        f"{one.share:.1%} of {counted(one.runs, 'runs')} met it (95 % interval {one.low:.1%} to {one.high:.1%}), "
    )
    return text.append(f"goal {one.goal:.0%}: ").append(VERDICTS[one.verdict], _COLOURS[one.verdict])


def _percentiles(one: Spread | None, unit: str = "") -> str:
    if one is None:
        return "none"
    text = f"P50 {short(one.p50)}, P90 {short(one.p90)}, P95 {short(one.p95)}, P99 {short(one.p99)}"
    return f"{text} {unit}" if unit else text


def _shares(shares: Mapping[str, float]) -> str:
    shown = sorted((item for item in shares.items() if item[1] >= 0.005), key=lambda item: -item[1])
    return ", ".join(f"{kind} {share:.0%}" for kind, share in shown)


def _per_run(one: WorkflowReport) -> str:
    runs = max(1, one.runs)
    parts = [
        counted(one.calls / runs, "calls"),
        counted(one.attempts / runs, "attempts"),
        counted(one.retries / runs, "retries", "retry"),
        f"{one.input_tokens / runs:,.0f} + {one.output_tokens / runs:,.0f} tokens",
    ]
    return ", ".join([*parts, f"{one.cost_usd / runs:.4g} USD ({one.cost_usd:.4g} in all)"])


def _queueing(one: WorkflowReport) -> str:
    waits = one.queueing.waited_s
    if waits is None:
        return "no call waited for a place"
    return f"{one.queueing.share:.1%} of the calls waited: {_percentiles(waits, 's')}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    for number, title in enumerate(head):
        table.add_column(title if number else f"  {title}", justify="right" if number else "left", no_wrap=number > 0)
    for row in rows:
        table.add_row(f"  {row[0]}", *row[1:])
    return table
