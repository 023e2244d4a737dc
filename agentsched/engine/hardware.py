"""Facts about GPUs and models from which a profile's memory follows and assumed profiles are derived.

GPU figures are the vendor's data-sheet values: memory, memory bandwidth, dense 16-bit tensor throughput. Model figures
are those of the published configurations.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GPUS", "MODELS", "Gpu", "ModelShape", "kv_capacity_tokens"]

_USABLE_SHARE = 0.9
"""Share of the GPU's memory that the engine takes (vLLM's default ``gpu_memory_utilization``)."""

_ACTIVATIONS_GB = 3.0
"""Memory per GPU for activations, graphs and buffers."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Attributes:
        name: short name, as in profile names.
        memory_gb: memory, 10^9 bytes.
        bandwidth_gb_s: memory bandwidth, 10^9 bytes per second.
        tflops: dense 16-bit tensor throughput, 10^12 operations per second.
    """

    name: str
    memory_gb: float
    bandwidth_gb_s: float
    tflops: float


@dataclass(frozen=True, slots=True)
class ModelShape:
    """One model, as far as speed and memory depend on it.

    Attributes:
        name: short name, as in profile names.
        weights_gb: size of the weights in 16 bits (4 bits where published so), 10^9 bytes.
        layers: transformer layers.
        kv_bytes_per_token: bytes of keys and values per token, all layers, 16 bits.
    """

    name: str
    weights_gb: float
    layers: int
    kv_bytes_per_token: int


def _kv_bytes(layers: int, kv_heads: int, head_dim: int) -> int:
    return layers * kv_heads * head_dim * 2 * 2  # keys and values, two bytes each


GPUS: dict[str, Gpu] = {
    "a100_sxm": Gpu("a100", 80, 2039, 312),
    "b200_sxm": Gpu("b200", 180, 8000, 2250),
    "h100_sxm": Gpu("h100", 80, 3350, 989),
    "h200_sxm": Gpu("h200", 141, 4800, 989),
    "l40s": Gpu("l40s", 48, 864, 362),
    "rtx_pro_6000_server": Gpu("rtx6000", 96, 1597, 504),
    # Not in the table; assumed profiles are derived for these.
    "v100_sxm": Gpu("v100", 32, 900, 125),
    "a40": Gpu("a40", 48, 696, 150),
    "a30": Gpu("a30", 24, 933, 165),
    "a800_sxm": Gpu("a800", 80, 2039, 312),
    "h800_sxm": Gpu("h800", 80, 3350, 989),
}
"""GPUs by the name that the latency table uses."""

MODELS: dict[str, ModelShape] = {
    "Qwen/Qwen3-0.6B": ModelShape("qwen3-0.6b", 1.2, 28, _kv_bytes(28, 8, 128)),
    "Qwen/Qwen3-8B": ModelShape("qwen3-8b", 16.4, 36, _kv_bytes(36, 8, 128)),
    "Qwen/Qwen3-32B": ModelShape("qwen3-32b", 65.5, 64, _kv_bytes(64, 8, 128)),
    "meta-llama/Meta-Llama-3.1-8B": ModelShape("llama3-8b", 16.1, 32, _kv_bytes(32, 8, 128)),
    "meta-llama/Meta-Llama-3.1-70B": ModelShape("llama3-70b", 141.1, 80, _kv_bytes(80, 8, 128)),
    "openai/gpt-oss-20b": ModelShape("gpt-oss-20b", 13.8, 24, _kv_bytes(24, 8, 64)),
}
"""Models by the name that the latency table uses."""


def kv_capacity_tokens(gpu: Gpu, model: ModelShape, tensor_parallel: int, *, weight_share: float = 1.0) -> int:
    """Return the tokens of key/value memory that are left beside the weights; 0 or less if the model does not fit.

    Args:
        gpu: the GPU.
        model: the model.
        tensor_parallel: GPUs that share it.
        weight_share: size of the weights relative to 16 bits (0.5 for 8 bits).
    """
    usable_gb = tensor_parallel * (_USABLE_SHARE * gpu.memory_gb - _ACTIVATIONS_GB)
    free_gb = usable_gb - weight_share * model.weights_gb
    return int(free_gb * 1e9 / model.kv_bytes_per_token)
