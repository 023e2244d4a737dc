"""The promises bench told to people and programs."""

from dataclasses import asdict
from typing import Any

from agentsched.bench.machine import machine_description, package_versions
from agentsched.bench.promise_rows import ROWS
from agentsched.bench.promises import ARMS, DECORATED, Promises, Result, allowed_s
from agentsched.bench.sheets import Bar, Sheet

__all__ = ["missed_lines", "promise_bars", "promise_document", "promise_sheet"]


def promise_sheet(promises: Promises) -> Sheet:
    """One line per row that was tried: what the user set, and what happened either way."""
    found = {(result.row, result.arm): result for result in promises.results}
    rows = [
        (
            f"{ROWS[name].package} {found[name, DECORATED].version}: {ROWS[name].setup}",
            *(_told(found[name, arm]) for arm in ARMS),
            f"{ROWS[name].deadline_s:g} s",
        )
        for name in promises.options.rows
        if (name, DECORATED) in found
    ]
    title = "Seconds until the user had an answer or an error, and requests at the endpoints until then"
    return Sheet(title, ("what the user set", *ARMS, "deadline"), 1, tuple(rows))


def _told(result: Result) -> str:
    what = {"answer": "answer", "empty": "empty answer", "error": result.error, "none": "neither"}[result.outcome]
    return f"{'>' if result.outcome == 'none' else ''}{result.seconds:.2f} s, {what}, {result.requests} req"


def _ours(promises: Promises) -> list[Result]:
    return [result for result in promises.results if result.arm == DECORATED]


def _late(result: Result) -> bool:
    return result.outcome == "none" or result.seconds > allowed_s(ROWS[result.row])


def promise_bars(promises: Promises) -> list[Bar]:
    """What is promised of the decorated programs, kept by every result that counts."""
    ours = [result for result in _ours(promises) if result.counts]
    late = [result for result in ours if _late(result)]
    text = "every decorated program ends within its deadline + 10 % + 0.1 s"
    return [Bar(text, f"{len(ours) - len(late)} of {len(ours)} rows", None if not ours else not late)]


def missed_lines(promises: Promises) -> list[str]:
    """One line for each row that was late, for each that does not count, and for each that could not be tried."""
    lines = []
    for result in _ours(promises):
        if _late(result):
            over_s = result.seconds - ROWS[result.row].deadline_s
            lines.append(f"{result.row}: ended {over_s:.2f} s after its deadline ({result.error or result.outcome})")
        if not result.counts:
            lines.append(f"{result.row}: does not count, a thread waited {result.starved_s:.2f} s for a core")
    return lines + [f"{name}: left out, {why}" for name, why in promises.missing.items()]


def promise_document(promises: Promises) -> dict[str, Any]:
    """Everything, for ``--json``."""
    return {
        "bench": "promises",
        "machine": machine_description(),
        "packages": package_versions(),
        "options": asdict(promises.options),
        "missing": promises.missing,
        "rows": [
            {
                **asdict(result),
                "setup": ROWS[result.row].setup,
                "package": ROWS[result.row].package,
                "deadline_s": ROWS[result.row].deadline_s,
                "allowed_s": allowed_s(ROWS[result.row]) if result.arm == DECORATED else None,
            }
            for result in promises.results
        ],
        "bars": [{**asdict(bar), "verdict": bar.verdict} for bar in promise_bars(promises)],
        "broken": missed_lines(promises),
    }
