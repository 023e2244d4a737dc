"""The bench of decisions told to people and programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from agentsched.bench.decide import Cost, Decide, Spread
from agentsched.bench.machine import machine_description, package_versions
from agentsched.bench.sheets import Bar, Sheet

__all__ = ["decide_bars", "decide_document", "decide_sheets"]

_OURS = "deadline_aware"
_MOST_US = {13: 60.0, 64: 80.0, 512: 250.0}
"""What the policy's choice may take by the number of endpoints."""

_FORECASTS_US = 100.0
"""What the forecasts of a call may take beside its choice."""

_MOST_TICK_US = 1.0


def decide_sheets(result: Decide) -> list[Sheet]:
    """One table of costs, one of waits."""
    costs = tuple(
        (
            str(cost.endpoints),
            cost.policy,
            str(cost.in_flight),
            *(_micro(one) for one in (cost.choice, cost.decision, cost.answer, cost.progress, cost.second_thought)),
            f"{cost.tick.p50_s * 1e6:.2f} ({cost.tick.p99_s * 1e6:.2f})",
        )
        for cost in result.costs
    )
    heads = (
        "endpoints",
        "policy",
        "in flight",
        "choice",
        "arrival",
        "answer",
        "progress",
        "second thought",
        "tick per call",
    )
    waits = tuple((str(cost.endpoints), cost.policy, *_waits(cost)) for cost in result.costs)
    rates = tuple(f"{rate:g}/s" for rate in result.options.rates)
    return [
        Sheet("CPU per event, us: p50 (p99)", heads, 2, costs),
        Sheet(
            "From a call's arrival to its decision in one thread, us: p50, p99 (share of a core)",
            (heads[0], heads[1], *rates),
            2,
            waits,
        ),
    ]


def _micro(spread: Spread) -> str:
    return f"{spread.p50_s * 1e6:.1f} ({spread.p99_s * 1e6:.0f})"


def _waits(cost: Cost) -> list[str]:
    told = []
    for wait in cost.waits:
        if wait.p50_s is None or wait.p99_s is None:
            told.append(f"cannot keep up ({wait.load:.2f})")
        else:
            told.append(f"{wait.p50_s * 1e6:.0f}, {wait.p99_s * 1e6:.0f} ({wait.load:.2f})")
    return told


def decide_bars(result: Decide) -> list[Bar]:
    """What is promised of our policy; where it was not measured, nothing can be said."""
    bars = []
    for endpoints, most in _MOST_US.items():
        found = [cost for cost in result.costs if cost.endpoints == endpoints and cost.policy == _OURS]
        choice = f"a choice among {endpoints} endpoints: p50 at most {most:g} us of CPU"
        bars.append(_bar(choice, [cost.choice for cost in found], most))
        whole = most + _FORECASTS_US
        arrival = f"from a call's arrival to its start among {endpoints}, forecasts included: at most {whole:g} us"
        bars.append(_bar(arrival, [cost.decision for cost in found], whole))
    ticks = [cost.tick.p50_s * 1e6 for cost in result.costs if cost.policy == _OURS]
    text = f"a tick: p50 at most {_MOST_TICK_US:g} us of CPU per call in flight"
    bars.append(Bar(text, f"{max(ticks):.1f} us" if ticks else "", max(ticks) <= _MOST_TICK_US if ticks else None))
    return bars


def _bar(text: str, spreads: Sequence[Spread], most_us: float) -> Bar:
    if not spreads:
        return Bar(text, "", None)
    took = spreads[0].p50_s * 1e6
    return Bar(text, f"{took:.0f} us", took <= most_us)


def decide_document(result: Decide) -> dict[str, Any]:
    """Everything, for ``--json``."""
    options = asdict(result.options)
    options["policies"] = [name for name, _ in result.options.policies]
    return {
        "bench": "decide",
        "machine": machine_description(),
        "packages": package_versions(),
        "options": options,
        "costs": [asdict(cost) for cost in result.costs],
        "bars": [{**asdict(bar), "verdict": bar.verdict} for bar in decide_bars(result)],
    }
