"""Comparing the engine with measured serving runs.

    python -m agentsched.engine.validate TABLE.csv MEASURED.parquet               errors per set of runs
    python -m agentsched.engine.validate TABLE.csv MEASURED.parquet --calibrate   how `SERVER_OVERHEAD` was set

TABLE is the latency table that profiles are fitted to, MEASURED holds closed-loop runs (backend, model_path, system,
precision, tp_size, isl, osl, batch_size, silicon_ttft_ms, silicon_tpot_ms); reading it needs pyarrow.

Each run is simulated: the same callers, lengths and precision on the fitted profile, changed by `with_weights` where
the table lacks the precision or the number of GPUs. The overhead's three figures were set on the two sets marked
"calibration" (45 runs), and no other figure on any run: the other sets are its test.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from itertools import chain, product
from typing import Any

import numpy as np

from agentsched.engine.closed_loop import closed_loop
from agentsched.engine.derive import SERVER_OVERHEAD, ServerOverhead, with_weights
from agentsched.engine.fit import Rows, Setting, fit_setting, fitted_profile, read_table
from agentsched.engine.hardware import GPUS, MODELS
from agentsched.engine.profile import HardwareProfile
from agentsched.errors import ConfigError

__all__ = ["MeasuredSet", "SetErrors", "compare", "main"]

_ROUNDS = 6
_NO_OVERHEAD = ServerOverhead(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class MeasuredSet:
    """Runs of one model, precision and number of GPUs, and the table's setting that is nearest.

    Attributes:
        measured_model: the model, as the runs name it.
        precision: precision of the weights in the runs; None is 16 bits.
        tensor_parallel: GPUs in the runs.
        base: the setting in the table.
        shortest: shortest length as a share of the nominal one in that benchmark (1 for fixed lengths).
        note: why it is there.
    """

    measured_model: str
    precision: str | None
    tensor_parallel: int
    base: Setting
    shortest: float
    note: str = ""

    @property
    def weight_share(self) -> float:
        """Size of the weights relative to 16 bits."""
        return 0.5 if self.precision == "fp8" else 1.0

    @property
    def tested(self) -> bool:
        """Whether the set tests the model: dense 32B or 70B, on so few GPUs that their communication is small."""
        model = MODELS[self.base.model].name
        return not self.note.startswith("calibration") and model != "llama3-8b" and self.tensor_parallel <= 4

    def label(self) -> str:
        """Return the set's name."""
        gpu, model = GPUS[self.base.system].name, MODELS[self.base.model].name
        return f"{model} {self.precision or 'bf16'} on {self.tensor_parallel} {gpu}"


@dataclass(frozen=True, slots=True)
class SetErrors:
    """Relative errors (simulated / measured - 1) of one set, one figure per run."""

    tpot: tuple[float, ...]
    ttft: tuple[float, ...]

    def text(self) -> str:
        """Return the medians for people."""
        parts = []
        for name, errors in (("TPOT", self.tpot), ("TTFT", self.ttft)):
            size, bias = np.median(np.abs(errors)), np.median(errors)
            parts.append(f"{name} {100 * size:5.1f} % (bias {100 * bias:+6.1f})")
        return f"{len(self.tpot):3d} runs  " + "  ".join(parts)


_QWEN, _LLAMA70, _LLAMA8 = "Qwen/Qwen3-32B", "meta-llama/Meta-Llama-3.1-70B", "meta-llama/Meta-Llama-3.1-8B"
STEP_CALIBRATION = MeasuredSet(_QWEN, None, 2, Setting(_QWEN, 2, "h100_sxm"), 1.0, "calibration: step, sequence")
FRONTEND_CALIBRATION = MeasuredSet(
    "meta-llama/Llama-3.1-70B", "fp8", 2, Setting(_LLAMA70, 4, "h100_sxm"), 0.8, "calibration: front end"
)
# Fixed lengths in the benchmark of the Qwen runs. That of the Llama runs draws them between 80 and 100 % of the nominal
# length (taken from its public scripts; the rows do not say).
SETS = (
    STEP_CALIBRATION,
    FRONTEND_CALIBRATION,
    *(MeasuredSet(_QWEN, None, gpus, Setting(_QWEN, 2, "h100_sxm"), 1.0, "derived: more GPUs") for gpus in (4, 8)),
    *(
        MeasuredSet(
            "meta-llama/Llama-3.1-70B",
            "fp8",
            gpus,
            Setting(_LLAMA70, 4, system),
            0.8,
            "derived: fp8" if gpus == 4 else "derived: fp8, other number of GPUs",
        )
        for system in ("h100_sxm", "h200_sxm", "b200_sxm")
        for gpus in (1, 2, 4, 8)
        if (system, gpus) != ("h100_sxm", 2)
    ),
    *(
        MeasuredSet(
            "nvidia/Llama-3.1-8B-Instruct-FP8", "fp8", gpus, Setting(_LLAMA8, 1, "h200_sxm"), 1.0, "derived: fp8"
        )
        for gpus in (1, 2)
    ),
)
"""The dense vLLM sets of 8B and more whose model the table holds."""


def compare(
    chosen: MeasuredSet, runs: Iterable[dict[str, Any]], table: dict[Setting, Rows], overhead: ServerOverhead
) -> SetErrors | None:
    """Simulate the runs of a set; None if there are none, or none that fits into memory."""
    profile = _profile(chosen, table, overhead)
    tpot, ttft = [], []
    for run in runs:
        prompt, output = int(run["isl"]), int(run["osl"])
        if profile is None or not _belongs(run, chosen) or prompt + output > profile.kv_tokens:
            continue
        seen = closed_loop(
            profile,
            callers=int(run["batch_size"]),
            prompt_tokens=prompt,
            output_tokens=output,
            rounds=_ROUNDS,
            shortest=chosen.shortest,
            rng=np.random.default_rng(0),
        )
        tpot.append(float(np.median(seen.tpot_s)) * 1e3 / float(run["silicon_tpot_ms"]) - 1)
        ttft.append(float(np.mean(seen.ttft_s)) * 1e3 / float(run["silicon_ttft_ms"]) - 1)
    return SetErrors(tuple(tpot), tuple(ttft)) if tpot else None


def _profile(chosen: MeasuredSet, table: dict[Setting, Rows], overhead: ServerOverhead) -> HardwareProfile | None:
    fitted = fitted_profile(chosen.base, fit_setting(table[chosen.base]), overhead, source="")
    if fitted is None:
        return None
    try:
        return with_weights(
            fitted,
            MODELS[chosen.base.model],
            GPUS[chosen.base.system],
            measured_parallel=chosen.base.tensor_parallel,
            tensor_parallel=chosen.tensor_parallel,
            weight_share=chosen.weight_share,
            overhead=overhead,
        )
    except ConfigError:  # no memory is left beside the weights
        return None


def _belongs(run: dict[str, Any], chosen: MeasuredSet) -> bool:
    return bool(
        run["backend"] == "vllm"
        and run["mode"] == "agg"
        and run["model_path"] == chosen.measured_model
        and run["system"] == chosen.base.system
        and run["precision"] == chosen.precision
        and run["tp_size"] == chosen.tensor_parallel
    )


def _read_runs(path: str) -> list[dict[str, Any]]:
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigError("reading measured runs needs the package pyarrow", file=path) from error
    runs: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return runs


def _calibrate(runs: list[dict[str, Any]], table: dict[Setting, Rows]) -> str:
    """Return the best overhead on a grid: step and sequence by the TPOT of one set, the front end by another's TTFT."""

    def error(chosen: MeasuredSet, overhead: ServerOverhead, which: str) -> float:
        errors = compare(chosen, runs, table, overhead)
        return float(np.median(np.abs(getattr(errors, which)))) if errors is not None else np.inf

    steps, sequences = np.arange(0, 2.6e-3, 0.5e-3), np.arange(0, 81e-6, 10e-6)
    tried = [ServerOverhead(float(step), float(each), 0.0) for step, each in product(steps, sequences)]
    best = min(tried, key=lambda overhead: error(STEP_CALIBRATION, overhead, "tpot"))
    fronts = [ServerOverhead(best.step_s, best.sequence_s, float(front)) for front in np.arange(0, 0.1, 0.005)]
    front = min(fronts, key=lambda overhead: error(FRONTEND_CALIBRATION, overhead, "ttft"))
    return (
        f"best on {STEP_CALIBRATION.label()}: {1e3 * front.step_s:.1f} ms per step, {1e6 * front.sequence_s:.0f} us "
        f"per sequence; on {FRONTEND_CALIBRATION.label()}: {1e3 * front.frontend_s:.0f} ms per request\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the errors of every set from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m agentsched.engine.validate", description="Check the engine.")
    parser.add_argument("table", help="CSV with measured prefill and decode-step latencies")
    parser.add_argument("measured", help="parquet with measured serving runs")
    parser.add_argument("--calibrate", action="store_true", help="search the server overhead on the calibration set")
    options = parser.parse_args(arguments)
    table, runs = read_table(options.table), _read_runs(options.measured)
    if options.calibrate:
        sys.stdout.write(_calibrate(runs, table))
        return 0
    sys.stdout.write("median error of the simulated runs, with the server overhead (and without it)\n")
    tested: list[SetErrors] = []
    for chosen in SETS:
        errors, bare = (compare(chosen, runs, table, overhead) for overhead in (SERVER_OVERHEAD, _NO_OVERHEAD))
        if errors is not None and bare is not None:
            sizes = (100 * np.median(np.abs(each)) for each in (bare.tpot, bare.ttft))
            without = " and ".join(f"{size:3.0f} %" for size in sizes)
            sys.stdout.write(f"{chosen.label():28s} {errors.text()}  (without: {without})  {chosen.note}\n")
            if chosen.tested:
                tested.append(errors)
    pooled = SetErrors(
        *(tuple(chain.from_iterable(getattr(each, name) for each in tested)) for name in ("tpot", "ttft"))
    )
    sys.stdout.write(f"{'tests on 1 to 4 GPUs, pooled':28s} {pooled.text()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
