"""The bench of adapters told to people and programs."""

from dataclasses import asdict
from typing import Any

from agentsched.bench.adapter_programs import ADAPTED
from agentsched.bench.adapters import Adapters, Range
from agentsched.bench.machine import machine_description, package_versions
from agentsched.bench.sheets import Bar, Sheet

__all__ = ["adapter_bars", "adapter_document", "adapter_notes", "adapter_sheets"]

_MOST_IMPORT_S = 0.3
_MOST_ADDED_S = 10e-3
_MOST_CALL_S = 50e-6


def adapter_sheets(result: Adapters) -> list[Sheet]:
    """One table of imports, one of calls."""
    imports = tuple(
        (
            _title(result, name),
            ", ".join(ADAPTED[name].modules),
            f"{cost.framework_s * 1e3:.0f}",
            _spread(cost.adapter_s, 1e3, ".1f"),
            f"{cost.watch_s * 1e3:.2f}",
            f"{cost.added_s * 1e3:.1f}",
            _spread(cost.ratio, 1, ".2f"),
        )
        for name, cost in result.imports.items()
    )
    calls = tuple(
        (
            _title(result, name),
            ADAPTED[name].program,
            f"{cost.plain_s * 1e6:.3g}",
            _spread(cost.added_s, 1e6, ".0f"),
        )
        for name, cost in result.calls.items()
    )
    options = result.options
    heads = ("framework", "imported", "alone", "adapter", "looking out", "added", "with / without adapter")
    return [
        Sheet(
            f"CPU of an import, ms: median (lowest to highest) of {options.imports} new processes", heads, 2, imports
        ),
        Sheet(
            f"CPU per model call, us: {options.rounds} rounds of {options.calls} calls",
            ("framework", "one call per", "without adapter", "added by the adapter (lowest to highest round)"),
            2,
            calls,
        ),
    ]


def _title(result: Adapters, name: str) -> str:
    return f"{name} {result.versions[name]}"


def _spread(found: Range, times: float, form: str) -> str:
    low, high = found.low * times, found.high * times
    return f"{found.median * times:{form}} ({low:{form}} to {high:{form}})"


def adapter_bars(result: Adapters) -> list[Bar]:
    """What is promised; of a framework that is not installed nothing can be said."""
    took = result.import_s.median
    bars = [Bar("`import agentsched` takes at most 0.3 s", f"{took:.3f} s", took <= _MOST_IMPORT_S)]
    for name in result.options.frameworks:
        text = f"{name}: the adapter adds at most 10 ms to the import"
        imported = result.imports.get(name)
        added_s = None if imported is None else imported.added_s
        bars.append(_bar(text, added_s, 1e3, "ms", _MOST_ADDED_S))
        text = f"{name}: the adapter adds at most 50 us to a model call"
        called = result.calls.get(name)
        bars.append(_bar(text, None if called is None else called.added_s.median, 1e6, "us", _MOST_CALL_S))
    return bars


def _bar(text: str, measured_s: float | None, times: float, unit: str, most_s: float) -> Bar:
    if measured_s is None:
        return Bar(text, "", None)
    return Bar(text, f"{measured_s * times:.1f} {unit}", measured_s <= most_s)


def adapter_document(result: Adapters) -> dict[str, Any]:
    """Everything, for ``--json``."""
    return {
        "bench": "adapters",
        "machine": machine_description(),
        "packages": package_versions(),
        **asdict(result),
        "bars": [{**asdict(bar), "verdict": bar.verdict} for bar in adapter_bars(result)],
    }


def adapter_notes(result: Adapters) -> list[str]:
    """What belongs to no framework, and what was left out."""
    found = f"finding the adapters by their entry points takes {result.discovery_s * 1e3:.0f} ms of CPU"
    return [f"{found}, once per process", *(f"{name}: left out, {why}" for name, why in result.missing.items())]
