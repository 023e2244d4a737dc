"""``agentsched explain RUN``: one screen that tells where a run's deadline went."""

import click
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from agentsched.cli.decision_logs import decision_logs
from agentsched.cli.output import date, json_option, people, print_json
from agentsched.telemetry.explain import Explanation, explain, find_run
from agentsched.telemetry.report_rows import counted, short
from agentsched.telemetry.run_log import AttemptLog, ReviewEntry
from agentsched.telemetry.timeline import KINDS, CallSpan, Kind, Segment

__all__ = ["command"]

_ROWS = 20
_TRIES = 12
_NARROW = 72

_GLYPHS: dict[Kind, tuple[str, str]] = {
    "queue": ("·", "."),
    "lost": ("×", "x"),
    "prefill": ("░", ":"),
    "decode": ("█", "#"),
    "model": ("▓", "="),
    "tool": ("─", "-"),
}
"""How each kind of time is drawn, in Unicode and in ASCII."""

_COLOURS: dict[Kind, str] = {
    "queue": "yellow",
    "lost": "red",
    "prefill": "cyan",
    "decode": "green",
    "model": "green",
    "tool": "blue",
}
_NAMES: dict[Kind, str] = {
    "queue": "queue",
    "lost": "lost attempts",
    "prefill": "prefill (to first token)",
    "decode": "decode",
    "model": "model",
    "tool": "tools and own code",
}
_OUTCOMES = {"deadline": "stopped at its deadline", "error": "failed"}


@click.command("explain")
@click.argument("run")
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=click.Path(),
    help="The decision log, or a directory of them; may be given several times. By default the configured one.",
)
@click.option("--workflow", help="For last and worst: look at this workflow only.")
@json_option
def command(run: str, logs: tuple[str, ...], workflow: str | None, as_json: bool) -> None:
    """Tell where the deadline of RUN went.

    RUN is the beginning of a run's id, or "last" (the run that ended last), or "worst" (the one that took the largest
    multiple of its deadline).
    """
    found, reading = find_run(decision_logs(logs), run, workflow=workflow)
    explained = explain(found)
    if as_json:
        print_json(explained.to_dict())
    else:
        _Screen(explained, people()).show()
    if reading.bad_lines:
        click.echo(f"{reading.bad_lines} lines could not be read, the first: {reading.problems[0]}", err=True)


class _Screen:
    """Lays one explanation out for a console's width."""

    def __init__(self, explained: Explanation, console: Console) -> None:
        self._explained, self._console = explained, console
        self._plain = console.options.ascii_only
        self._width = max(40, console.width)
        laid = explained.timeline
        self._axis_s = max(laid.elapsed_s, explained.run.deadline_s or 0.0, 1e-9)

    def show(self) -> None:
        self._header()
        self._rows()
        self._totals()
        self._attempts()
        self._verdict()

    def _print(self, text: Text | str = "") -> None:
        self._console.print(text if isinstance(text, Text) else Text(text))

    def _header(self) -> None:
        explained, run, line = self._explained, self._explained.run, self._explained.run.line
        title = Text(f"run {run.run_id}", "bold")
        title.append(f"  workflow {run.workflow}", "default")
        if line is not None and line.tenant not in (None, "default"):
            title.append(f"  tenant {line.tenant}", "default")
        self._print(title)
        self._print(self._outcome())
        tokens_in, tokens_out = (
            sum(getattr(call, name) or 0 for call in run.calls) for name in ("input_tokens", "output_tokens")
        )
        facts = [
            counted(len(run.calls), "calls"),
            counted(len(run.attempts), "attempts"),
            counted(explained.retries, "retries", "retry"),
            f"{tokens_in:,} + {tokens_out:,} tokens",
        ]
        if line is not None and line.cost_usd:
            facts.append(f"{short(line.cost_usd)} USD")
        if run.scores:
            facts.append(f"feedback {run.scores[-1]:g}")
        if run.arrival_s is not None:
            facts.append(f"began {date(run.arrival_s)} UTC")
        self._print(", ".join(facts))
        if line is not None and line.parent_run_id:
            self._print(f"started by run {line.parent_run_id}")

    def _outcome(self) -> Text:
        explained, run = self._explained, self._explained.run
        outcome = None if run.line is None else run.line.outcome
        told = "not ended in this log" if run.line is None else _OUTCOMES.get(outcome or "ended", outcome or "ended")
        text = Text(told, "bold green" if outcome == "ok" else "bold red")
        elapsed_s, slack_s = explained.timeline.elapsed_s, explained.slack_s
        if slack_s is None:
            return text.append(f": {elapsed_s:.2f} s, no deadline", "default")
        text.append(f": {elapsed_s:.2f} s of {run.deadline_s:.2f} s, ", "default")
        if slack_s < 0:
            return text.append(f"{-slack_s:.2f} s late", "bold red")
        return text.append(f"{slack_s:.2f} s to spare", "default")

    def _rows(self) -> None:
        spans = self._shown()
        if not spans:
            return
        names = [self._explained.label(span) for span in spans]
        name_width = min(max(map(cell_len, [*names, "step"])), self._width // 4)
        where_width = min(max(cell_len(span.call.endpoint or "-") for span in spans), 14)
        where_width = 0 if self._width < _NARROW else max(where_width, len("endpoint"))
        bar_width = self._width - name_width - 3 - 15 - (where_width + 1 if where_width else 0)
        head = f"  {_fit('step', name_width)} planned  spent "
        head += f"{_fit('endpoint', where_width)} " if where_width else ""
        self._print()
        self._print(Text(head + self._axis(bar_width), "dim"))
        for name, span in zip(names, spans, strict=True):
            row = Text("* " if span.critical else "  ")
            planned = "-" if span.planned_s is None else f"{span.planned_s:.2f}"
            over = span.planned_s is not None and span.spent_s > 1.25 * span.planned_s + 0.1
            row.append(f"{_fit(name, name_width)} {planned:>7} ")
            row.append(f"{span.spent_s:>6.2f} ", "red" if over else "")
            if where_width:
                row.append(f"{_fit(span.call.endpoint or '-', where_width)} ")
            self._print(row.append_text(self._bar(span, bar_width)))
        hidden = len(self._explained.timeline.spans) - len(spans)
        if hidden:
            self._print(f"  and {hidden} shorter calls")

    def _shown(self) -> list[CallSpan]:
        """All calls, or, of many, the longest, critical ones first."""
        spans = self._explained.timeline.spans
        kept = sorted(spans, key=lambda span: (not span.critical, -span.spent_s))[:_ROWS]
        return sorted(kept, key=lambda span: (span.start_s, span.position))

    def _axis(self, width: int) -> str:
        ends = f"{self._axis_s:.2f} s"
        return "0 s" + " " * max(1, width - 3 - len(ends)) + ends

    def _bar(self, span: CallSpan, width: int) -> Text:
        pieces = [*span.segments]
        if span.critical and span.gap_s > 0:
            pieces.insert(0, Segment("tool", span.counted_s - span.gap_s, span.counted_s))
        cells: list[Kind | None] = [None] * width
        for piece in sorted(pieces, key=lambda piece: -piece.length_s):  # short ones on top: none vanishes
            first = min(width - 1, int(piece.start_s / self._axis_s * width))
            last = max(first + 1, min(width, round(piece.end_s / self._axis_s * width)))
            cells[first:last] = [piece.kind] * (last - first)
        deadline_s = self._explained.run.deadline_s
        mark = None if deadline_s is None else min(width - 1, int(deadline_s / self._axis_s * width))
        bar = Text()
        for at, kind in enumerate(cells):
            if kind is not None:
                bar.append(_GLYPHS[kind][self._plain], _COLOURS[kind])
            else:
                bar.append(("│", "|")[self._plain] if at == mark else " ", "red")
        bar.rstrip()
        return bar

    def _totals(self) -> None:
        spent = self._explained.timeline.spent()
        total_s = sum(spent.values())
        if total_s <= 0:
            return
        text = Text("* critical path: ")
        least_s = min(0.005, max(spent.values()))
        shown = sorted((kind for kind in KINDS if spent[kind] >= least_s), key=lambda kind: -spent[kind])
        for number, kind in enumerate(shown):
            text.append(", " if number else "")
            text.append(_GLYPHS[kind][self._plain], _COLOURS[kind])
            text.append(f" {_NAMES[kind]} {spent[kind]:.2f} s ({100 * spent[kind] / total_s:.0f} %)")
        if self._explained.run.deadline_s is not None:
            text.append(f"; {('│', '|')[self._plain]} deadline")
        self._print()
        self._print(text)

    def _attempts(self) -> None:
        spans = self._explained.timeline.spans
        told = [span for span in spans if len(span.tries) > 1 or span.call.status != "ok" or span.call.reviews]
        lines = [text for span in told if span.tries or span.call.status == "skipped" for text in self._tries(span)]
        if not lines:
            return
        self._print()
        self._print(Text("attempts", "dim"))
        for text in lines[:_TRIES]:
            self._print(text)
        if len(lines) > _TRIES:
            self._print(f"  and {len(lines) - _TRIES} more; --json tells them all")

    def _tries(self, span: CallSpan) -> list[str]:
        name = self._explained.label(span)
        told = [*(self._try(span, attempt) for attempt in span.tries), *self._thoughts(span)]
        return [f"  {name if number == 0 else ' ' * cell_len(name)}  {text}" for number, text in enumerate(told)]

    def _thoughts(self, span: CallSpan) -> list[str]:
        """Second thoughts that changed nothing; those that did are told by the attempts that they led to.

        Of a call that was left out, why it was.
        """
        if span.call.status == "skipped":
            return [self._left_out(span)]
        kept = [one for one in span.call.reviews if one.verdict == "keep"]
        return [self._thought(span, one) for one in kept]

    @staticmethod
    def _left_out(span: CallSpan) -> str:
        odds = next((_odds(one, "with it", "without") for one in span.call.reviews if one.verdict == "skip"), "")
        return f"at {span.end_s:.2f} s left out: {span.call.detail or 'nobody said why'}{odds}"

    @staticmethod
    def _thought(span: CallSpan, review: ReviewEntry) -> str:
        if review.attempt_id == "":
            return f"done all the same: {review.why}{_odds(review, 'with it', 'without')}"
        odds = _odds(review, "there", "elsewhere")
        at = "?" if review.after_s is None else f"{span.start_s + review.after_s:.2f}"
        return f"at {at} s kept at {span.reviewed_endpoint(review) or 'its endpoint'}: {review.why}{odds}"

    def _try(self, span: CallSpan, attempt: AttemptLog) -> str:
        placed = next((one for one in span.call.decisions if one.attempt_id == attempt.attempt_id), None)
        start_s = "?" if attempt.start_s is None else f"{attempt.start_s:.2f}"
        text = f"at {start_s} s to {attempt.endpoint}"
        if placed is not None:
            odds = "" if placed.p_meet is None else f", P(meet) {placed.p_meet:.2f}"
            expected = "" if placed.predicted_e2e_s is None else f", expected {placed.predicted_e2e_s:.2f} s"
            text += f" ({placed.why}{expected}{odds})"
        text += f": {attempt.status}" + ("" if attempt.e2e_s is None else f" after {attempt.e2e_s:.2f} s")
        return text + (f", {attempt.detail}" if attempt.detail else "")

    def _verdict(self) -> None:
        slip, slack_s = self._explained.slip, self._explained.slack_s
        self._print()
        if slip is not None:
            self._print(Text(slip.text + ".", "bold"))
        elif slack_s is not None and slack_s >= 0:
            self._print("No call overran its plan by much.")
        else:
            self._print("The log tells no more.")


def _odds(review: ReviewEntry, stay: str, switch: str) -> str:
    """What was compared, in brackets; empty: nothing was."""
    if review.p_stay is None or review.p_switch is None:
        return ""
    return f" (in time: {review.p_stay:.2f} {stay}, {review.p_switch:.2f} {switch})"


def _fit(text: str, width: int) -> str:
    if cell_len(text) > width:
        while cell_len(text) > width - 1:
            text = text[:-1]
        text += "~"
    return text + " " * (width - cell_len(text))
