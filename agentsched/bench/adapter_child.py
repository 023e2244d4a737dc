"""One measurement of an adapter, made and told by a new process: imports can be measured only once in each.

python -m agentsched.bench.adapter_child import langgraph first 5
python -m agentsched.bench.adapter_child calls langgraph 200 15
"""

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from agentsched import clock
from agentsched.bench.adapter_programs import ADAPTED, Adapted

__all__ = ["AFTER", "FIRST", "ORDERS", "WITHOUT"]

ORDERS = WITHOUT, FIRST, AFTER = ("without", "first", "after")
"""When the adapter goes in: never, before its framework is imported, or after."""

_REPEATED = 20
_QUIET = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "LANGSMITH_TRACING": "false",
    "OTEL_SDK_DISABLED": "true",
}
"""By which frameworks are told to report to nobody."""


def imported(adapted: Adapted, order: str, depth: int) -> dict[str, float]:
    """CPU of importing a framework and of its adapter, in a process that has loaded what a decorated run loads.

    Args:
        adapted: the framework.
        order: one of `ORDERS`.
        depth: calls to make around it. CPython keeps the frames of calls in chunks of memory: a loop that happens to
            call across the end of one is far slower, and where that is depends on who is calling.
    """
    if depth:
        return imported(adapted, order, depth - 1)
    for name in ("agentsched.api", "agentsched.runtime", "agentsched.intercept"):
        importlib.import_module(name)
    gc.disable()  # a collection that falls into one arm and not into the other is no cost of either
    known, adapter_s, watch_s = set(sys.modules), 0.0, 0.0
    if order == FIRST:
        adapter_s = _cpu_of(lambda: _install(adapted))
    framework_s = _cpu_of(lambda: [importlib.import_module(name) for name in adapted.modules])
    if order == FIRST:
        watch_s = _looking_out(set(sys.modules) - known)
    if order == AFTER:
        adapter_s = _cpu_of(lambda: _install(adapted))
    return {"framework_s": framework_s, "adapter_s": adapter_s, "watch_s": watch_s}


def _install(adapted: Adapted) -> Callable[[], None]:
    undo: Callable[[], None] = importlib.import_module(adapted.adapter).install()
    return undo


def _looking_out(names: set[str]) -> float:
    """CPU of asking those who look out for a framework about every module that it has brought."""
    watches = [finder for finder in sys.meta_path if type(finder).__module__ == "agentsched.workflow.arrival"]

    def ask() -> None:
        for finder in watches * _REPEATED:
            for name in names:
                finder.find_spec(name, None)

    return _cpu_of(ask) / _REPEATED


def called(adapted: Adapted, calls: int, rounds: int) -> dict[str, list[float]]:
    """CPU per model call of a program in a decorated run, without and with the adapter, in turns; seconds by round."""
    api = importlib.import_module("agentsched.api")
    program = api.workflow("600s")(adapted.make())
    found: dict[str, list[float]] = {"without_s": [], "with_s": []}

    def without() -> None:
        found["without_s"].append(_cpu_of(lambda: program(calls)) / calls)

    def adapted_program() -> None:
        undo = _install(adapted)
        found["with_s"].append(_cpu_of(lambda: program(calls)) / calls)
        undo()

    turns = [without, adapted_program]
    for number in range(rounds + 1):
        for turn in turns:
            turn()
        turns.reverse()
        if not number:  # whoever is first pays for what is loaded at the first call
            found = {name: [] for name in found}
    return found


def discovered() -> dict[str, float]:
    """CPU of finding the adapters by their entry points, once per process."""
    return {"discovery_s": _cpu_of(lambda: entry_points(group="agentsched.adapters"))}


def _cpu_of(work: Callable[[], object]) -> float:
    began = clock.cpu()
    work()
    return clock.cpu() - began


def main(what: str, *words: str) -> None:
    """Measure, and print it as JSON."""
    os.environ.update(_QUIET)
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # frameworks print as well
    found: dict[str, Any]
    if what == "discovery":
        found = discovered()
    elif what == "import":
        name, order, depth = words
        found = imported(ADAPTED[name], order, int(depth))
    else:
        name, calls, rounds = words
        _without_discovery()
        found = called(ADAPTED[name], int(calls), int(rounds))
    results.write(json.dumps(found))
    results.close()


def _without_discovery() -> None:
    """A decorated run finds no adapter by itself: here they are put in and taken out by hand."""
    vars(importlib.import_module("agentsched.intercept.adapters"))["GROUP"] = "agentsched.adapters of nobody"


if __name__ == "__main__":
    main(*sys.argv[1:])
