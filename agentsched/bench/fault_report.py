"""The fault bench told to people and programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from agentsched.bench.faults import GRACE_S, OURS, Faults, Result, broken_bars, must_be_right
from agentsched.bench.machine import machine_description, package_versions
from agentsched.bench.sheets import Bar, Sheet

__all__ = ["broken_lines", "fault_bars", "fault_document", "fault_sheets"]


def fault_sheets(faults: Faults) -> list[Sheet]:
    """One sheet per deadline: cases down, clients across."""
    return [_sheet(faults, deadline_s) for deadline_s in faults.options.deadlines_s]


def _sheet(faults: Faults, deadline_s: float) -> Sheet:
    setups = [(client, second) for client in faults.options.clients for second in (False, True)]
    setups = [setup for setup in setups if any(_belongs(result, *setup) for result in faults.results)]
    columns = ("case", *(f"{client}, {'with a second' if second else 'alone'}" for client, second in setups))
    rows = []
    for case in faults.options.cases:
        here = [result for result in faults.results if (result.cell.case, result.cell.deadline_s) == (case, deadline_s)]
        rows.append((case, *(_summary([r for r in here if _belongs(r, *setup)]) for setup in setups)))
    title = f"Deadline {deadline_s:g} s: longest wait, right answers of all, most requests at endpoints"
    return Sheet(title, columns, 1, tuple(rows))


def _belongs(result: Result, client: str, second: bool) -> bool:
    return (result.cell.client, result.cell.with_second) == (client, second)


def _summary(results: Sequence[Result]) -> str:
    if not results:
        return "-"
    longest = max(results, key=lambda result: result.seconds)
    right = sum(result.outcome == "right" for result in results)
    wait = f"{'>' if longest.outcome == 'none' else ''}{longest.seconds:.1f} s"
    return f"{wait}, {right}/{len(results)}, {max(result.attempts for result in results)} req"


def fault_bars(faults: Faults) -> list[Bar]:
    """What is promised of ours, kept by every result that counts."""
    ours = [result for result in faults.results if result.cell.client == OURS and result.counts]
    late = [result for result in ours if result.seconds > result.cell.deadline_s + GRACE_S]
    second = [result for result in ours if must_be_right(result)]
    lost = [result for result in second if result.outcome != "right" or result.seconds > result.cell.deadline_s]
    wrong = [result for result in ours if result.outcome == "wrong"]
    extra = [result for result in ours if result.extra_calls]
    return [
        _bar(f"every call ends within {GRACE_S:g} s of its deadline", late, ours),
        _bar(
            "with a healthy second endpoint, the right answer before the deadline unless a part had come", lost, second
        ),
        _bar("no answer is wrong", wrong, ours),
        _bar("no call beyond the user's own is seen by the framework", extra, ours),
    ]


def _bar(text: str, broken: Sequence[Result], of: Sequence[Result]) -> Bar:
    return Bar(text, f"{len(of) - len(broken)} of {len(of)} calls", None if not of else not broken)


def broken_lines(faults: Faults) -> list[str]:
    """One line for each promise that a call of ours broke, and one that says how many results do not count."""
    ours = [result for result in faults.results if result.cell.client == OURS]
    lines = [f"{_where(result)}: {text} ({result.detail})" for result in ours for text in broken_bars(result)]
    busy = sum(not result.counts for result in faults.results)
    if busy:
        lines.append(f"{busy} results do not count: the machine was too busy, a thread of the bench waited for a core")
    return lines


def _where(result: Result) -> str:
    cell = result.cell
    words = [
        f"{cell.deadline_s:g} s",
        cell.case,
        "sync" if cell.blocking else "async",
        "stream" if cell.stream else "whole",
        "with a second" if cell.with_second else "alone",
        "warmed" if cell.warmed else "fresh",
    ]
    return ", ".join(words) + ("" if result.counts else f" (waited {result.starved_s:.2f} s for a core)")


def fault_document(faults: Faults) -> dict[str, Any]:
    """Everything, for ``--json``."""
    return {
        "bench": "faults",
        "machine": machine_description(),
        "packages": package_versions(),
        "options": asdict(faults.options),
        "missing": faults.missing,
        "cells": [_cell(result) for result in faults.results],
        "bars": [{**asdict(bar), "verdict": bar.verdict} for bar in fault_bars(faults)],
        "broken": broken_lines(faults),
    }


def _cell(result: Result) -> dict[str, Any]:
    figures = asdict(result)
    return {**figures.pop("cell"), **figures}
