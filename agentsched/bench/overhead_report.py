"""The overhead bench told to people and programs."""

from dataclasses import asdict
from typing import Any

from agentsched.bench.machine import machine_description, package_versions
from agentsched.bench.overhead import MODES, Cell, Mode, Overhead
from agentsched.bench.sheets import Bar, Sheet

__all__ = ["overhead_bars", "overhead_document", "overhead_sheet"]

_OURS, _PLAIN, _LITELLM = "agentsched", "openai", "litellm-"
_MOST_WHOLE = _MOST_STREAM = 1.10
_MOST_OF_LITELLM = 0.25
_WHOLE, _STREAM = MODES[0], MODES[2]


def overhead_sheet(result: Overhead) -> Sheet:
    """One row per mode and front."""
    rows: list[tuple[str, ...]] = []
    for mode in result.options.modes:
        rows += [_row(cell) for cell in result.cells if cell.mode == mode.name]
        rows += [(mode.name, front, why, "", "", "") for front, why in result.missing.items()]
        rows.append(())
    options = result.options
    title = (
        f"Per call: {options.prompt_tokens} prompt tokens, {options.chunks} output tokens, "
        f"streams with {options.gap_s * 1e3:g} ms between chunks; {options.rounds} rounds"
    )
    columns = ("mode", "front", "CPU ms", "CPU / plain (lowest to highest round)", "p50 wall ms", "extra requests")
    return Sheet(title, columns, 2, tuple(rows))


def _row(cell: Cell) -> tuple[str, ...]:
    ratio = "" if cell.ratio is None else f"{cell.ratio.median:.2f} ({cell.ratio.low:.2f} to {cell.ratio.high:.2f})"
    return cell.mode, cell.front, f"{cell.cpu_s * 1e3:.2f}", ratio, f"{cell.wall_s * 1e3:.2f}", str(cell.extra)


def overhead_bars(result: Overhead) -> list[Bar]:
    """What is promised of our front."""
    return [
        _beside_plain(result, _WHOLE, _MOST_WHOLE),
        _beside_plain(result, _STREAM, _MOST_STREAM),
        _beside_litellm(result),
    ]


def _beside_plain(result: Overhead, mode: Mode, most: float) -> Bar:
    text = f"{mode.name}: at most {most:.2f} of the plain SDK's CPU, everything switched on"
    ours = result.cell(_OURS, mode)
    if ours is None or ours.ratio is None or result.cell(_PLAIN, mode) is None:
        return Bar(text, "", None)
    return Bar(text, f"{ours.ratio.median:.2f}", ours.ratio.median <= most)


def _beside_litellm(result: Overhead) -> Bar:
    text = f"{_WHOLE.name}: at most {_MOST_OF_LITELLM:.2f} of litellm.Router's CPU, whatever its deployments"
    ours = result.cell(_OURS, _WHOLE)
    theirs = [cell for cell in result.cells if cell.front.startswith(_LITELLM) and cell.mode == _WHOLE.name]
    if ours is None or not theirs:
        return Bar(text, "", None)
    share = ours.cpu_s / min(cell.cpu_s for cell in theirs)
    return Bar(text, f"{share:.2f}", share <= _MOST_OF_LITELLM)


def overhead_document(result: Overhead) -> dict[str, Any]:
    """Everything, for ``--json``."""
    return {
        "bench": "overhead",
        "machine": machine_description(),
        "packages": package_versions(),
        "options": {**asdict(result.options), "modes": [mode.name for mode in result.options.modes]},
        "missing": result.missing,
        "cells": [asdict(cell) for cell in result.cells],
        "bars": [{**asdict(bar), "verdict": bar.verdict} for bar in overhead_bars(result)],
    }
