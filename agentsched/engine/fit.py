"""Fitting profiles to a table of measured prefill and decode-step latencies.

    python -m agentsched.engine.fit TABLE.csv            prints every fit and its error
    python -m agentsched.engine.fit TABLE.csv --write    also rewrites profiles_fitted.json beside this module

The table has the columns model, tp, system, backend, kind (prefill or decode_step), batch_size, ctx_tokens, latency_ms.
Its figures are sums of kernel times. What the serving process itself adds is not in them; see `ServerOverhead`.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentsched.engine.derive import SERVER_OVERHEAD, ServerOverhead, assumed_entries, served
from agentsched.engine.hardware import GPUS, MODELS, kv_capacity_tokens
from agentsched.engine.profile import HardwareProfile
from agentsched.errors import ConfigError

__all__ = ["Fit", "Setting", "fit_setting", "fitted_profile", "main", "read_table"]

_Array = npt.NDArray[np.float64]
_MAX_SLOTS = 256  # vLLM's default max_num_seqs
_HIDDEN_STEPS = 61


@dataclass(frozen=True, slots=True)
class Setting:
    """One row group of the table: a model on some GPUs.

    Attributes:
        model: the model, as the table names it.
        tensor_parallel: GPUs that share it.
        system: the GPU, as the table names it.
    """

    model: str
    tensor_parallel: int
    system: str

    @property
    def profile_name(self) -> str:
        """The profile's name, e.g. ``llama3-70b-h100-tp4``."""
        suffix = f"-tp{self.tensor_parallel}" if self.tensor_parallel > 1 else ""
        return f"{MODELS[self.model].name}-{GPUS[self.system].name}{suffix}"


@dataclass(frozen=True, slots=True)
class Rows:
    """A setting's measurements: decode steps (batch, context, seconds) and prefills (tokens, seconds)."""

    batch: _Array
    context: _Array
    decode_s: _Array
    prompt: _Array
    prefill_s: _Array


@dataclass(frozen=True, slots=True)
class Fit:
    """The five figures of the step model, fitted, with the mean and the largest relative errors.

    Attributes:
        step_base_s: see `HardwareProfile`, as are the next four.
        step_per_sequence_s: seconds per sequence.
        step_per_kv_token_s: seconds per cached token.
        prefill_tokens_per_s: tokens per second.
        prefill_hidden_s: seconds.
        prefill_attention_s: seconds per pair.
        decode_error: mean relative error of the decode steps.
        decode_worst: largest of them.
        prefill_error: mean relative error of the prefills.
        prefill_worst: largest of them.
    """

    step_base_s: float
    step_per_sequence_s: float
    step_per_kv_token_s: float
    prefill_tokens_per_s: float
    prefill_hidden_s: float
    prefill_attention_s: float
    decode_error: float
    decode_worst: float
    prefill_error: float
    prefill_worst: float


def read_table(path: str | Path) -> dict[Setting, Rows]:
    """Read the latency table.

    Raises:
        ConfigError: the file cannot be read, or a column or a figure in it.
    """
    groups: dict[Setting, list[tuple[str, float, float, float]]] = defaultdict(list)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                try:
                    setting = Setting(row["model"], int(row["tp"]), row["system"])
                    sizes = float(row["batch_size"]), float(row["ctx_tokens"]), float(row["latency_ms"]) / 1000
                    groups[setting].append((row["kind"], *sizes))
                except (KeyError, TypeError, ValueError) as error:
                    raise ConfigError(f"not a latency row: {error}", file=str(path), line=line) from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from error
    return {setting: _rows(rows) for setting, rows in groups.items()}


def _rows(rows: Iterable[tuple[str, float, float, float]]) -> Rows:
    decode = np.array([row[1:] for row in rows if row[0] == "decode_step"], dtype=np.float64).reshape(-1, 3)
    prefill = np.array([row[1:] for row in rows if row[0] == "prefill"], dtype=np.float64).reshape(-1, 3)
    return Rows(decode[:, 0], decode[:, 1], decode[:, 2], prefill[:, 1], prefill[:, 2])


def fit_setting(rows: Rows) -> Fit:
    """Fit the step model to one setting's measurements, by least squares of the relative errors."""
    design = np.stack([np.ones_like(rows.batch), rows.batch, rows.batch * rows.context], axis=1)
    base, per_sequence, per_kv = _nonnegative(design, rows.decode_s, rows.decode_s)
    decode_error = np.abs(design @ np.array([base, per_sequence, per_kv]) / rows.decode_s - 1)
    rate, hidden, attention = _fit_prefill(rows.prompt, rows.prefill_s, base)
    prefill_error = np.abs(_prefill_s(rows.prompt, base, rate, hidden, attention) / rows.prefill_s - 1)
    return Fit(
        step_base_s=base,
        step_per_sequence_s=per_sequence,
        step_per_kv_token_s=per_kv,
        prefill_tokens_per_s=rate,
        prefill_hidden_s=hidden,
        prefill_attention_s=attention,
        decode_error=float(decode_error.mean()),
        decode_worst=float(decode_error.max()),
        prefill_error=float(prefill_error.mean()),
        prefill_worst=float(prefill_error.max()),
    )


def _fit_prefill(prompt: _Array, seconds: _Array, base: float) -> tuple[float, float, float]:
    """Return (tokens per second, hidden seconds, seconds per pair): a scan of the hidden part, linear in the others."""
    pairs = prompt * (prompt - 1) / 2
    best: tuple[float, tuple[float, float, float]] | None = None
    for hidden in np.linspace(0.0, base, _HIDDEN_STEPS):
        beyond = np.ones(len(prompt), dtype=bool)
        for _ in range(len(prompt)):
            design = np.stack([np.where(beyond, prompt, 0.0), pairs], axis=1)
            per_token, attention = _nonnegative(design, seconds - base + np.where(beyond, hidden, 0.0), seconds)
            now_beyond = prompt * per_token > hidden
            if (now_beyond == beyond).all():
                break
            beyond = now_beyond
        rate = 1.0 / max(per_token, 1e-12)
        error = float(np.square(_prefill_s(prompt, base, rate, hidden, attention) / seconds - 1).mean())
        if best is None or error < best[0]:
            best = error, (rate, float(hidden), attention)
    assert best is not None
    return best[1]


def _prefill_s(prompt: _Array, base: float, rate: float, hidden: float, attention: float) -> _Array:
    seconds: _Array = base + np.maximum(0.0, prompt / rate - hidden) + attention * prompt * (prompt - 1) / 2
    return seconds


def _nonnegative(design: _Array, target: _Array, scale: _Array) -> list[float]:
    """Solve least squares of (design x - target) / scale with x >= 0, dropping the most negative figure in turn."""
    weighted, wanted = design / scale[:, None], target / scale
    active = list(range(design.shape[1]))
    solution = np.zeros(design.shape[1])
    while active:
        found = np.linalg.lstsq(weighted[:, active], wanted, rcond=None)[0]
        if (found >= 0).all():
            solution[active] = found
            break
        active.pop(int(np.argmin(found)))
    return [float(value) for value in solution]


def fitted_profile(setting: Setting, fit: Fit, overhead: ServerOverhead, *, source: str) -> HardwareProfile | None:
    """Return the profile of a served model; None if its weights do not fit into the GPUs' memory."""
    model, gpu = MODELS[setting.model], GPUS[setting.system]
    kv_tokens = kv_capacity_tokens(gpu, model, setting.tensor_parallel)
    if kv_tokens <= 0:
        return None
    bare = HardwareProfile(
        name=setting.profile_name,
        step_base_s=fit.step_base_s,
        step_per_sequence_s=fit.step_per_sequence_s,
        step_per_kv_token_s=fit.step_per_kv_token_s,
        prefill_tokens_per_s=fit.prefill_tokens_per_s,
        prefill_hidden_s=fit.prefill_hidden_s,
        prefill_attention_s=fit.prefill_attention_s,
        max_slots=_MAX_SLOTS,
        kv_tokens=kv_tokens,
        basis="fitted",
        source=source,
    )
    return served(bare, overhead)


def _entry(profile: HardwareProfile, extra: dict[str, Any]) -> dict[str, Any]:
    """Return the profile as the file holds it: fields at their defaults are left out, figures have four digits."""
    defaults = {field.name: field.default for field in fields(profile)}
    values = {key: _short(value) for key, value in asdict(profile).items() if value != defaults[key]}
    return {**values, "basis": profile.basis, **extra}


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(arguments: list[str] | None = None) -> int:
    """Fit every setting of a table from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m agentsched.engine.fit", description="Fit hardware profiles.")
    parser.add_argument("table", help="CSV with measured prefill and decode-step latencies")
    parser.add_argument("--write", action="store_true", help="rewrite profiles_fitted.json beside this module")
    options = parser.parse_args(arguments)
    source = f"{Path(options.table).stem}: kernel times, with the serving process's own time added"
    entries, profiles = [], []
    sys.stdout.write(
        f"{'profile':28s} {'step ms':>8s} {'us/seq':>7s} {'ns/kv':>7s} {'prefill/s':>9s}  decode error  prefill\n"
    )
    for setting, rows in sorted(read_table(options.table).items(), key=lambda item: item[0].profile_name):
        fit = fit_setting(rows)
        profile = fitted_profile(setting, fit, SERVER_OVERHEAD, source=source)
        note = "" if profile is not None else "  (does not fit into memory: left out)"
        sys.stdout.write(
            f"{setting.profile_name:28s} {1e3 * fit.step_base_s:8.2f} {1e6 * fit.step_per_sequence_s:7.1f} "
            f"{1e9 * fit.step_per_kv_token_s:7.1f} {fit.prefill_tokens_per_s:9.0f}  "
            f"{100 * fit.decode_error:4.1f} (<{100 * fit.decode_worst:3.0f}) %  "
            f"{100 * fit.prefill_error:4.1f} (<{100 * fit.prefill_worst:3.0f}) %{note}\n"
        )
        if profile is not None:
            errors = {key: _short(value) for key, value in asdict(fit).items() if "error" in key or "worst" in key}
            profiles.append(profile)
            entries.append(_entry(profile, {"fit": errors}))
    entries += [_entry(profile, {"assumption": reason}) for profile, reason in assumed_entries(profiles)]
    if options.write:
        target = Path(__file__).with_name("profiles_fitted.json")
        target.write_text(json.dumps({"profiles": entries}, indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"{len(entries)} profiles written to {target.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
