"""The pool of the demonstration: one 70B model on four kinds of GPU, and what can be computed of it beforehand.

The profiles are those that `agentsched.engine` has fitted to a published latency table, each GPU type four wide. Prices
are assumed: they follow what such machines rent for, so that cost can be compared at all.
"""

from collections.abc import Sequence
from math import ceil
from statistics import fmean

from agentsched.demo.cases import Case
from agentsched.emulator.config import EmulatedEndpoint, EmulatorConfig, PoolPrice
from agentsched.engine.profile import HardwareProfile
from agentsched.engine.profiles import load_profile

__all__ = ["FASTEST", "MODEL", "PROFILES", "capacity_calls_per_s", "demo_pool", "idle_s"]

MODEL = "llama3-70b"


def _instance(name: str) -> HardwareProfile:
    profile = load_profile(name)
    assert isinstance(profile, HardwareProfile), f"{name} is no GPU but a hosted API"
    return profile


PROFILES: dict[str, HardwareProfile] = {
    gpu: _instance(f"{MODEL}-{gpu}-tp4") for gpu in ("h200", "h100", "a100", "rtx6000")
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
        steps = ceil(prompts / profile.prefill_chunk_tokens) + longest - 1
        read_s = profile.prefill_s(prompts, sum(prompt * prompt / 2 for prompt, _ in level))
        total += read_s + steps * profile.decode_step_s(len(level), held)
    return total


def capacity_calls_per_s(cases: Sequence[Case], profiles: Sequence[HardwareProfile]) -> float:
    """Calls per second that endpoints of these profiles could serve together, each as busy as it can be, with the mean
    call of ``cases``."""
    calls = [call for case in cases for level in case.levels for call in level]
    prompt, answer = fmean(prompt for prompt, _ in calls), fmean(answer for _, answer in calls)
    return sum(1.0 / _busy_s(profile, prompt, answer) for profile in profiles)


def _busy_s(profile: HardwareProfile, prompt: float, answer: float) -> float:
    """Seconds that one call takes from a full endpoint: its prompt, and its tokens' share of a full batch's steps."""
    context = prompt + answer / 2
    full = min(profile.max_slots, int(profile.kv_tokens / context))
    share_s = profile.decode_step_s(full, round(full * context)) / full
    return prompt / profile.prefill_tokens_per_s + profile.prefill_attention_s * prompt * prompt / 2 + answer * share_s
