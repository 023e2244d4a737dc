"""Pictures of a comparison, one file each; needs matplotlib."""

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from agentsched.sim.comparison import CaseResult, Comparison
from agentsched.sim.intervals import Estimate

__all__ = ["draw"]

_LONGEST_NAME = 60
"""Characters of a scenario's name in a file's: some file systems take 143 bytes."""


def draw(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the pictures of every scenario into a folder that exists; returns their paths.

    ``goodput-SCENARIO.png``: goodput and attainment against load. ``latency-SCENARIO-LOAD.png``: the share of runs that
    ended within so many times their deadline, and the attainment of each workflow. What no file may be called in a
    scenario's name becomes a hyphen.
    """
    made: list[Path] = []
    # Names are drawn as they are: dollars begin no formula, and what the font lacks is no warning.
    with rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        for scenario, results in _grouped(comparison.results):
            called = re.sub(r"[^\w.-]+", "-", scenario)[:_LONGEST_NAME]
            made.append(_save(_against_load(scenario, results), folder / f"goodput-{called}.png"))
            for load in dict.fromkeys(result.load for result in results):
                same = [result for result in results if result.load == load]
                made.append(_save(_distribution(scenario, load, same), folder / f"latency-{called}-{load:g}.png"))
    return made


def _grouped(results: Sequence[CaseResult]) -> Iterator[tuple[str, list[CaseResult]]]:
    for scenario in dict.fromkeys(result.case.scenario for result in results):
        yield scenario, [result for result in results if result.case.scenario == scenario]


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, format="png", dpi=110)
    return path


def _policies(results: Sequence[CaseResult]) -> Iterator[tuple[str, list[CaseResult]]]:
    for policy in dict.fromkeys(result.case.policy for result in results):
        yield policy, sorted((one for one in results if one.case.policy == policy), key=lambda one: one.load)


def _against_load(scenario: str, results: Sequence[CaseResult]) -> Figure:
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for policy, own in _policies(results):
        loads = [one.load for one in own]
        _line(left, loads, [one.goodput for one in own], policy)
        _line(right, loads, [one.attainment for one in own], policy)
    left.axline((0, 0), slope=1, color="0.8", linewidth=1, zorder=0)
    left.set_ylabel("runs/s that met their deadline")
    right.set_ylabel("share of runs that met their deadline")
    right.set_ylim(0, 1.02)
    for axes in (left, right):
        axes.set_xlabel("runs/s")
    right.legend(fontsize=8)
    figure.suptitle(scenario)
    return figure


def _line(axes: Axes, x: Sequence[float], estimates: Sequence[Estimate], label: str) -> None:
    axes.errorbar(
        x,
        [one.mean for one in estimates],
        yerr=[one.half or 0.0 for one in estimates],
        marker="o",
        markersize=4,
        capsize=3,
        linewidth=1.5,
        label=label,
    )


def _distribution(scenario: str, load: float, results: Sequence[CaseResult]) -> Figure:
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    in_deadlines = results[0].lateness_p95 is not None
    for result in results:
        values = np.asarray(result.lateness)
        left.step(values, np.arange(1, values.size + 1) / max(1, values.size), where="post", label=result.case.policy)
    if in_deadlines:
        left.axvline(1.0, color="0.8", linewidth=1, zorder=0)
        left.set_xscale("log")
        left.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        left.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        left.xaxis.set_minor_formatter(NullFormatter())
    left.set_xlabel("latency / deadline" if in_deadlines else "latency, s")
    left.set_ylabel("share of runs")
    left.legend(fontsize=8, loc="upper left")
    _bars(right, results)
    figure.suptitle(f"{scenario} at {load:g} runs/s")
    return figure


def _bars(axes: Axes, results: Sequence[CaseResult]) -> None:
    names = sorted({name for result in results for name in result.by_workflow})
    width = 0.8 / len(results)
    for number, result in enumerate(results):
        known = [name for name in names if name in result.by_workflow]
        estimates = [result.by_workflow[name] for name in known]
        axes.bar(
            [names.index(name) + (number - (len(results) - 1) / 2) * width for name in known],
            [one.mean for one in estimates],
            width,
            yerr=[one.half or 0.0 for one in estimates],
        )
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("share of runs that met their deadline")
