"""What the adapters of agent frameworks cost: beside the import of their framework, and at each model call.

Every import is measured in a process of its own, that has loaded what any decorated run loads, in CPU time. What an
adapter costs there is counted by itself: loading it and replacing the framework's methods, and the question whether it
is the one that is put to it about every module that the framework brings. The framework's own import takes a hundred
times as long and varies by more than that; how it compares with and without the adapter, in turns, is told beside it.

What a model call costs is the difference of a decorated program with and without the adapter, in the same process and
in turns: its model answers at once, after asking for its step and task as the interception does.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from agentsched.bench.adapter_child import AFTER, FIRST, ORDERS, WITHOUT
from agentsched.bench.adapter_programs import ADAPTED, Adapted
from agentsched.errors import AgentschedError, ConfigError

__all__ = ["Adapters", "CallCost", "ChildFailed", "ImportCost", "Options", "Range", "measure"]

_DEPTHS = 7
_MOST_TOLD = 500
_TIMED_IMPORT = (
    "import time; began = time.perf_counter(); import agentsched; seconds = time.perf_counter() - began\n"
    "import json; print(json.dumps({'import_s': seconds}))\n"
)
"""A process that has not loaded anything of ours yet cannot read our clock."""


class ChildFailed(AgentschedError):
    """The process of a measurement ended without a result."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure.

    Attributes:
        frameworks: names in `ADAPTED`.
        imports: turns of every way to import, each in a new process.
        calls: model calls per round.
        rounds: turns of the program with and without the adapter.
    """

    frameworks: tuple[str, ...] = tuple(ADAPTED)
    imports: int = 7
    calls: int = 200
    rounds: int = 15


@dataclass(frozen=True, slots=True)
class Range:
    """Median, lowest and highest of the turns."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Range":
        """Those of some values."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class ImportCost:
    """CPU of importing a framework.

    Attributes:
        framework_s: without the adapter, seconds.
        adapter_s: loading the adapter and replacing methods of the framework, which is there, seconds.
        watch_s: looking out for the framework while it is imported, seconds.
        ratio: the whole import with the adapter put in first, over that without it in the same turn.
    """

    framework_s: float
    adapter_s: Range
    watch_s: float
    ratio: Range

    @property
    def added_s(self) -> float:
        """What the adapter adds, whichever comes first, seconds."""
        return self.adapter_s.median + self.watch_s


@dataclass(frozen=True, slots=True)
class CallCost:
    """CPU per model call.

    Attributes:
        plain_s: of the program without the adapter, seconds.
        added_s: what it takes more with the adapter, by round, seconds.
    """

    plain_s: float
    added_s: Range


@dataclass(frozen=True, slots=True)
class Adapters:
    """The result.

    Attributes:
        options: see `Options`.
        import_s: ``import agentsched`` in a new process, seconds of wall time.
        discovery_s: finding the adapters by their entry points, once per process, CPU seconds.
        versions: of the frameworks that were measured.
        imports: by framework.
        calls: by framework.
        missing: why frameworks are missing.
    """

    options: Options
    import_s: Range
    discovery_s: float
    versions: dict[str, str]
    imports: dict[str, ImportCost]
    calls: dict[str, CallCost]
    missing: dict[str, str]


def measure(options: Options, progress: Callable[[str], None] = lambda text: None) -> Adapters:
    """Run the bench.

    Args:
        options: see `Options`.
        progress: told what is being measured.

    Raises:
        ConfigError: a framework is unknown.
        ChildFailed: the process of a measurement ended without a result.
    """
    for name in options.frameworks:
        if name not in ADAPTED:
            raise ConfigError("unknown", field="frameworks", given=name, allowed=", ".join(ADAPTED))
    progress("import agentsched")
    turns = range(options.imports + 1)  # the first writes what Python keeps of modules
    import_s = [_told("-c", _TIMED_IMPORT)["import_s"] for _ in turns][1:]
    discovery_s = [_child("discovery")["discovery_s"] for _ in turns][1:]
    versions, missing = _installed(options.frameworks)
    imports: dict[str, ImportCost] = {}
    calls: dict[str, CallCost] = {}
    for name in versions:
        imports[name] = _import_cost(ADAPTED[name], options.imports, progress)
        progress(f"calls in {name}")
        calls[name] = _call_cost(_child("calls", name, str(options.calls), str(options.rounds)))
    return Adapters(options, Range.of(import_s), median(discovery_s), versions, imports, calls, missing)


def _installed(names: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str]]:
    versions, missing = {}, {}
    for name in names:
        try:
            versions[name] = version(ADAPTED[name].distribution)
        except PackageNotFoundError:
            missing[name] = f"{ADAPTED[name].distribution} is not installed"
    return versions, missing


def _import_cost(adapted: Adapted, turns: int, progress: Callable[[str], None]) -> ImportCost:
    found: dict[str, list[dict[str, float]]] = {order: [] for order in ORDERS}
    for turn in range(turns + 1):
        progress(f"import of {adapted.name} ({turn} of {turns})")
        for order in ORDERS if turn % 2 else reversed(ORDERS):
            told = _child("import", adapted.name, order, str(turn % _DEPTHS))
            if turn:
                found[order].append(told)
    whole = [sum(told.values()) - told["watch_s"] for told in found[FIRST]]
    plain = [told["framework_s"] for told in found[WITHOUT]]
    return ImportCost(
        framework_s=median(plain),
        adapter_s=Range.of([told["adapter_s"] for told in found[AFTER]]),
        watch_s=median(told["watch_s"] for told in found[FIRST]),
        ratio=Range.of([ours / theirs for ours, theirs in zip(whole, plain, strict=True)]),
    )


def _call_cost(told: dict[str, list[float]]) -> CallCost:
    added = [ours - plain for ours, plain in zip(told["with_s"], told["without_s"], strict=True)]
    return CallCost(median(told["without_s"]), Range.of(added))


def _child(*words: str) -> Any:
    return _told("-m", "agentsched.bench.adapter_child", *words)


def _told(*arguments: str) -> Any:
    """What a new Python process says in the end."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        raise ChildFailed(f"{' '.join(arguments)}: {done.stderr.strip()[-_MOST_TOLD:]}")
    return json.loads(done.stdout)


def _homes() -> Iterator[str]:
    """The folders that agentsched and the adapters are imported from."""
    for name in ("agentsched", *(each.adapter for each in ADAPTED.values())):
        found = find_spec(name)
        if found is not None and found.origin is not None:
            yield str(Path(found.origin).parents[1])


def _environment() -> dict[str, str]:
    """Of a process that keeps bytecode, as any installation has it: reading sources would be most of an import."""
    given = os.environ.get("PYTHONPATH")
    paths = dict.fromkeys([*_homes(), *([given] if given else [])])
    ours = {"AGENTSCHED_PROFILES": "off", "PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": os.pathsep.join(paths)}
    return os.environ | ours
