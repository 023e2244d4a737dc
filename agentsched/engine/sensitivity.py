"""How much the assumed profiles' assumptions matter.

    python -m agentsched.engine.sensitivity            every assumed profile
    python -m agentsched.engine.sensitivity NAME ...   these profiles

Each figure that was assumed is changed by a quarter either way, alone, and the same load is run again: as many callers
as fill half the slots or half the memory, conversation-sized prompts and answers. Printed is the change of the median
time to first token, of the median time per output token and of the throughput.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

import numpy as np

from agentsched.engine.closed_loop import ClosedLoop, closed_loop
from agentsched.engine.profile import HardwareProfile
from agentsched.engine.profiles import all_profiles, load_profile
from agentsched.errors import ConfigError

__all__ = ["FIGURES", "main", "sensitivity"]

FIGURES = ("step_base_s", "step_per_sequence_s", "step_per_kv_token_s", "prefill_tokens_per_s")
"""The figures that are varied; the memory follows from data sheets."""

_CHANGE = 0.25
_PROMPT_TOKENS, _OUTPUT_TOKENS, _ROUNDS, _SHORTEST = 1_000, 250, 3, 0.5


def sensitivity(profile: HardwareProfile, *, seed: int = 0) -> dict[str, tuple[ClosedLoop, ClosedLoop, ClosedLoop]]:
    """Run the load with each figure a quarter lower, as it is, and a quarter higher.

    Args:
        profile: the profile to vary.
        seed: seeds the lengths, the same in every run.
    """
    callers = max(1, min(profile.max_slots // 2, profile.kv_tokens // (2 * (_PROMPT_TOKENS + _OUTPUT_TOKENS))))
    usual = _run(profile, callers, seed)
    runs = {}
    for figure in FIGURES:
        low, high = (_run(_varied(profile, figure, 1 + sign * _CHANGE), callers, seed) for sign in (-1, 1))
        runs[figure] = (low, usual, high)
    return runs


def _varied(profile: HardwareProfile, figure: str, factor: float) -> HardwareProfile:
    value = getattr(profile, figure)
    changes: dict[str, Any] = {figure: round(value * factor) if isinstance(value, int) else value * factor}
    return replace(profile, **changes)


def _run(profile: HardwareProfile, callers: int, seed: int) -> ClosedLoop:
    return closed_loop(
        profile,
        callers=callers,
        prompt_tokens=_PROMPT_TOKENS,
        output_tokens=_OUTPUT_TOKENS,
        rounds=_ROUNDS,
        shortest=_SHORTEST,
        rng=np.random.default_rng(seed),
    )


def _figures(run: ClosedLoop) -> tuple[float, float, float]:
    return float(np.median(run.ttft_s)), float(np.median(run.tpot_s)), run.output_tokens / run.elapsed_s


def _table(profile: HardwareProfile) -> str:
    runs = sensitivity(profile)
    ttft, tpot, throughput = _figures(next(iter(runs.values()))[1])
    lines = [
        f"{profile.name} ({profile.source})",
        f"  as assumed: TTFT {1e3 * ttft:.0f} ms, TPOT {1e3 * tpot:.1f} ms, {throughput:.0f} tokens/s; "
        f"changes for -{100 * _CHANGE:.0f} % and +{100 * _CHANGE:.0f} %:",
    ]
    for figure, (low, usual, high) in runs.items():
        middle = _figures(usual)
        changes = []
        for index, name in enumerate(("TTFT", "TPOT", "tokens/s")):
            down, up = (100 * (_figures(run)[index] / middle[index] - 1) for run in (low, high))
            changes.append(f"{name} {down:+6.1f} {up:+6.1f} %")
        lines.append(f"    {figure:22s} " + "   ".join(changes))
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Print the sensitivities from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m agentsched.engine.sensitivity", description="Vary assumed profiles."
    )
    parser.add_argument("names", nargs="*", help="profiles; none means all that are assumed")
    names = parser.parse_args(arguments).names
    chosen = [load_profile(name) for name in names] or [
        each for each in all_profiles().values() if each.basis == "assumed"
    ]
    for profile in chosen:
        if not isinstance(profile, HardwareProfile):
            raise ConfigError("not an instance but a hosted API", field="profile", given=profile.name)
        sys.stdout.write(_table(profile))
    return 0


if __name__ == "__main__":
    sys.exit(main())
