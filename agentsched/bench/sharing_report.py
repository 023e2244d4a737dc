"""The bench of processes that share endpoints, told to people and programs."""

from dataclasses import asdict
from typing import Any

from agentsched.bench.machine import machine_description, package_versions
from agentsched.bench.sharing import Outcome, Sharing
from agentsched.bench.sheets import Bar, Sheet

__all__ = ["sharing_bars", "sharing_document", "sharing_sheet"]

_MOST_LOST, _MOST_LOST_IN_OUTAGE = 0.03, 0.04
_OURS = frozenset({"DeadlineExceeded"})
"""What a run that is merely late fails with."""


def sharing_sheet(result: Sharing) -> Sheet:
    """One row per arm."""
    rows = tuple(
        (
            outcome.arm.name,
            f"{outcome.attainment:.3f}",
            str(outcome.runs),
            f"{outcome.p50_s:.2f}",
            f"{outcome.p95_s:.2f}",
            ", ".join(f"{count} {name}" for name, count in sorted(outcome.failed.items())) or "none",
        )
        for outcome in result.outcomes
    )
    heads = ("clients", "in time", "runs", "p50 s", "p95 s", "errors")
    return Sheet(f"Runs of three calls within {result.options.deadline_s:g} s", heads, 1, rows)


def sharing_bars(result: Sharing) -> list[Bar]:
    """What is promised of processes that share."""
    alone, _, shared, *more = result.outcomes
    bars = [_loss(alone, shared, _MOST_LOST)]
    bars += [_loss(alone, outcome, _MOST_LOST_IN_OUTAGE) for outcome in more]
    broken = sum(count for o in (shared, *more) for name, count in o.failed.items() if name not in _OURS)
    return [*bars, Bar("no run fails but by its deadline", f"{broken} did", broken == 0)]


def _loss(alone: Outcome, outcome: Outcome, most: float) -> Bar:
    lost = alone.attainment - outcome.attainment
    text = f"{outcome.arm.name}: within {most * 100:g} points of one process"
    return Bar(text, f"{lost * 100:+.1f} points lost", lost <= most)


def sharing_document(result: Sharing) -> dict[str, Any]:
    """Everything, for ``--json``; the address of the server is left out."""
    options = asdict(result.options)
    del options["url"]
    return {
        "bench": "clients",
        "machine": machine_description(),
        "packages": package_versions(),
        "options": options,
        "outcomes": [{**asdict(outcome), "attainment": outcome.attainment} for outcome in result.outcomes],
        "bars": [{**asdict(bar), "verdict": bar.verdict} for bar in sharing_bars(result)],
    }
