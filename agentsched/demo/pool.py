"""The pool of the demonstration: one 70B model on four kinds of GPU, and what can be computed of it beforehand.

The profiles are least-squares fits to a published latency table (see ``source``), each GPU type four wide. Prices are
assumed: they follow what such machines rent for, so that cost can be compared at all.
"""

from collections.abc import Sequence
from statistics import fmean

from agentsched.demo.cases import Case
from agentsched.emulator.config import EmulatedEndpoint, EmulatorConfig, PoolPrice
from agentsched.engine.profile import HardwareProfile

__all__ = ["FASTEST", "MODEL", "PROFILES", "capacity_calls_per_s", "demo_pool", "idle_s"]

MODEL = "llama-3.1-70b"
_SOURCE = "fitted to the latency table of aiconfigurator-core 0.12.0 (Apache-2.0), Llama-3.1-70B, TP4, vLLM"


def _profile(gpu: str, a_ms: float, b_ms: float, c_us: float, prefill_per_s: float, kv_tokens: int) -> HardwareProfile:
    return HardwareProfile(
        name=f"{MODEL}-{gpu}",
        step_base_s=a_ms * 1e-3,
        step_per_sequence_s=b_ms * 1e-3,
        step_per_kv_token_s=c_us * 1e-6,
        prefill_tokens_per_s=prefill_per_s,
        max_slots=256,
        kv_tokens=kv_tokens,
        basis="fitted",
        source=_SOURCE,
    )


PROFILES: dict[str, HardwareProfile] = {
    "h200": _profile("h200", 12.31, 0.0234, 0.0188, 15_400, 1_100_000),
    "h100": _profile("h100", 15.22, 0.0302, 0.0267, 15_500, 450_000),
    "a100": _profile("a100", 27.98, 0.0786, 0.0571, 6_150, 450_000),
    "rtx6000": _profile("rtx6000", 28.73, 0.2067, 0.0568, 4_120, 620_000),
}
"""By endpoint name."""

FASTEST = "h200"

_USD_PER_MILLION_OUTPUT = {"h200": 1.20, "h100": 1.00, "a100": 0.80, "rtx6000": 0.50}


def demo_pool(*, time_scale: float = 1.0) -> EmulatorConfig:
    """The emulated endpoints, ``time_scale`` times as fast as real."""
    endpoints = tuple(
        EmulatedEndpoint(
            name=name,
            profile=profile,
            model=MODEL,
            seed=number,
            price=PoolPrice(input=_USD_PER_MILLION_OUTPUT[name] / 6, output=_USD_PER_MILLION_OUTPUT[name]),
        )
        for number, (name, profile) in enumerate(PROFILES.items())
    )
    return EmulatorConfig(endpoints=endpoints, time_scale=time_scale)


def idle_s(case: Case, profile: HardwareProfile) -> float:
    """Seconds the case takes on one idle endpoint of this profile: prompts read one after the other, branches decoded
    side by side, levels in order; no network, no prefix cache, no time for the agent's own code."""
    total = 0.0
    for level in case.levels:
        prompts, longest = sum(prompt for prompt, _ in level), max(answer for _, answer in level)
        held = sum(prompt + answer // 2 for prompt, answer in level)
        total += profile.prefill_s(prompts, 0.0) + longest * profile.decode_step_s(len(level), held)
    return total


def capacity_calls_per_s(cases: Sequence[Case], profiles: Sequence[HardwareProfile]) -> float:
    """Calls per second that endpoints of these profiles could serve together, each as busy as it can be.

    Per call an endpoint works N_in / prefill rate, plus N_out times its share of a full batch's step,
    a / slots + b + c * context: the engine's own model, with the mean call of ``cases``.
    """
    calls = [call for case in cases for level in case.levels for call in level]
    prompt, answer = fmean(prompt for prompt, _ in calls), fmean(answer for _, answer in calls)
    context = prompt + answer / 2
    return sum(
        1.0
        / (prompt / profile.prefill_tokens_per_s + answer * profile.decode_step_s(full, round(full * context)) / full)
        for profile, full in (
            (profile, min(profile.max_slots, int(profile.kv_tokens / context))) for profile in profiles
        )
    )
