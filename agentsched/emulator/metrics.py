"""An endpoint's load in the Prometheus text that vLLM's ``/metrics`` has, under old and new names where they differ."""

from __future__ import annotations

from agentsched.engine.request import Load

__all__ = ["metrics_text"]


def metrics_text(model: str, load: Load, *, successes: int) -> str:
    """Return the metrics page.

    Args:
        model: value of the ``model_name`` label.
        load: what the engine holds.
        successes: requests answered completely since the start.
    """
    usage = load.kv_used_tokens / load.kv_tokens if load.kv_tokens else 0.0
    hit_rate = load.prefix_hit_tokens / load.prefix_queried_tokens if load.prefix_queried_tokens else 0.0
    gauges = {
        "vllm:num_requests_running": float(load.running),
        "vllm:num_requests_waiting": float(load.waiting),
        "vllm:num_requests_swapped": 0.0,
        "vllm:kv_cache_usage_perc": usage,
        "vllm:gpu_cache_usage_perc": usage,
        "vllm:gpu_prefix_cache_hit_rate": hit_rate,
    }
    counters = {
        "vllm:prefix_cache_queries_total": float(load.prefix_queried_tokens),
        "vllm:prefix_cache_hits_total": float(load.prefix_hit_tokens),
        "vllm:gpu_prefix_cache_queries_total": float(load.prefix_queried_tokens),
        "vllm:gpu_prefix_cache_hits_total": float(load.prefix_hit_tokens),
        "vllm:prompt_tokens_total": float(load.prompt_tokens),
        "vllm:generation_tokens_total": float(load.output_tokens),
        "vllm:num_preemptions_total": float(load.preemptions),
        "vllm:request_success_total": float(successes),
    }
    label = '{model_name="' + model.replace("\\", "\\\\").replace('"', '\\"') + '"}'
    lines: list[str] = []
    for kind, values in (("gauge", gauges), ("counter", counters)):
        for name, value in values.items():
            lines += [f"# TYPE {name.removesuffix('_total')} {kind}", f"{name}{label} {value}"]
    return "\n".join(lines) + "\n"
