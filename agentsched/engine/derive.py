"""Profiles that were not measured, derived from some that were.

Rules, from what each term of the step model is made of:

* the weight read of a step scales with the bytes of the weights over the memory bandwidth; a part per layer (launches,
  synchronisation) does not scale. ``_LAYER_S`` and the bandwidth's efficiency follow from the table itself: a line
  through the H100 rows of the dense 0.6B and 32B models predicts the 70B one on four GPUs within 1 %;
* the time per sequence and the prefill rate scale with the arithmetic throughput;
* the time per cached token scales with the memory bandwidth, the attention term with the arithmetic throughput.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from agentsched.engine.hardware import GPUS, MODELS, Gpu, ModelShape, kv_capacity_tokens
from agentsched.engine.profile import HardwareProfile

__all__ = ["SERVER_OVERHEAD", "ServerOverhead", "assumed_entries", "on_other_gpu", "served", "with_weights"]

_LAYER_S = 35e-6
"""Seconds of a step per layer that do not depend on memory bandwidth (see above)."""


@dataclass(frozen=True, slots=True)
class ServerOverhead:
    """Time that a serving process adds to what its kernels take.

    Attributes:
        step_s: seconds per step (scheduling, launching, sampling).
        sequence_s: seconds per step and sequence (detokenising, bookkeeping).
        frontend_s: seconds per request before the engine sees it.
    """

    step_s: float
    sequence_s: float
    frontend_s: float


SERVER_OVERHEAD = ServerOverhead(step_s=0.001, sequence_s=50e-6, frontend_s=0.025)
"""vLLM's overhead, as ``python -m agentsched.engine.validate TABLE MEASURED --calibrate`` finds it on 45 measured runs
(Qwen3-32B and Llama-3.1-70B, each on two H100); the runs on other GPUs and numbers of GPUs test it (docs/engine.md)."""


def served(profile: HardwareProfile, overhead: ServerOverhead) -> HardwareProfile:
    """Return the profile with a serving process's own time added to its kernels'."""
    return replace(
        profile,
        step_base_s=profile.step_base_s + overhead.step_s,
        step_per_sequence_s=profile.step_per_sequence_s + overhead.sequence_s,
        frontend_s=profile.frontend_s + overhead.frontend_s,
    )


def on_other_gpu(
    profile: HardwareProfile, model: ModelShape, measured: Gpu, other: Gpu, overhead: ServerOverhead
) -> HardwareProfile:
    """Return the profile as it should be on another GPU, by the ratios of bandwidth and arithmetic.

    Args:
        profile: a profile of one measured GPU, overhead included.
        model: its model.
        measured: its GPU.
        other: the GPU to derive it for.
        overhead: the part of the profile that does not depend on the GPU.
    """
    bandwidth = measured.bandwidth_gb_s / other.bandwidth_gb_s
    arithmetic = measured.tflops / other.tflops
    fixed_s = model.layers * _LAYER_S + overhead.step_s
    return replace(
        profile,
        name=f"{model.name}-{other.name}",
        step_base_s=fixed_s + (profile.step_base_s - fixed_s) * bandwidth,
        step_per_sequence_s=overhead.sequence_s + (profile.step_per_sequence_s - overhead.sequence_s) * arithmetic,
        step_per_kv_token_s=profile.step_per_kv_token_s * bandwidth,
        prefill_tokens_per_s=profile.prefill_tokens_per_s / arithmetic,
        prefill_hidden_s=profile.prefill_hidden_s * bandwidth,
        prefill_attention_s=profile.prefill_attention_s * arithmetic,
        kv_tokens=kv_capacity_tokens(other, model, 1),
        basis="assumed",
    )


def with_weights(
    profile: HardwareProfile,
    model: ModelShape,
    gpu: Gpu,
    *,
    measured_parallel: int,
    tensor_parallel: int,
    weight_share: float,
    overhead: ServerOverhead,
) -> HardwareProfile:
    """Return the profile for other weights: another precision, or spread over another number of GPUs.

    Eight-bit weights halve the read and double the arithmetic; more GPUs share both. Communication between GPUs is
    taken to grow with neither, which is too good for eight GPUs (see docs/engine.md).

    Args:
        profile: a measured profile, overhead included.
        model: its model.
        gpu: its GPU.
        measured_parallel: GPUs that the measured profile has.
        tensor_parallel: GPUs that the result is to have.
        weight_share: size of the weights relative to 16 bits.
        overhead: the part of the profile that does not depend on the weights.
    """
    spread = measured_parallel / tensor_parallel
    fixed_s = model.layers * _LAYER_S + overhead.step_s
    return replace(
        profile,
        name=f"{profile.name}-tp{tensor_parallel}-w{weight_share:g}",
        step_base_s=fixed_s + (profile.step_base_s - fixed_s) * spread * weight_share,
        step_per_sequence_s=overhead.sequence_s
        + (profile.step_per_sequence_s - overhead.sequence_s) * spread * weight_share,
        step_per_kv_token_s=profile.step_per_kv_token_s * spread,
        prefill_tokens_per_s=profile.prefill_tokens_per_s / (spread * weight_share),
        prefill_hidden_s=profile.prefill_hidden_s * spread * weight_share,
        prefill_attention_s=profile.prefill_attention_s * spread,
        kv_tokens=kv_capacity_tokens(gpu, model, tensor_parallel, weight_share=weight_share),
        basis="assumed",
    )


_ASSUMED = (
    ("a100_sxm", "v100_sxm", "no bfloat16, no FlashAttention-2 on this GPU: real figures may be worse"),
    ("a100_sxm", "a40", "same generation as the A100"),
    ("a100_sxm", "a30", "same generation as the A100"),
    ("a100_sxm", "a800_sxm", "an A100 with a narrower link between GPUs, which one GPU does not use"),
    ("h100_sxm", "h800_sxm", "an H100 with a narrower link between GPUs, which one GPU does not use"),
)
"""GPUs that the table lacks: (measured GPU to derive from, GPU, what the ratios do not see)."""


def assumed_entries(profiles: Iterable[HardwareProfile]) -> list[tuple[HardwareProfile, str]]:
    """Return the derived profiles of 8B models on GPUs that the table lacks, each with its reasoning.

    Args:
        profiles: the fitted profiles, with `SERVER_OVERHEAD`.
    """
    by_name = {profile.name: profile for profile in profiles}
    entries = []
    for model in MODELS.values():
        for measured_name, other_name, caveat in _ASSUMED:
            measured, other = GPUS[measured_name], GPUS[other_name]
            base = by_name.get(f"{model.name}-{measured.name}")
            if base is None or model.name not in ("llama3-8b", "qwen3-8b") or kv_capacity_tokens(other, model, 1) <= 0:
                continue
            reason = (
                f"{base.name} scaled by data-sheet ratios: memory bandwidth {other.bandwidth_gb_s:g}/"
                f"{measured.bandwidth_gb_s:g} GB/s, 16-bit tensor throughput {other.tflops:g}/{measured.tflops:g} "
                f"TFLOP/s; {caveat}"
            )
            profile = on_other_gpu(base, model, measured, other, SERVER_OVERHEAD)
            entries.append((replace(profile, source=f"assumed: derived from {base.name}"), reason))
    return entries
