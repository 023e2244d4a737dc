"""Profiles: the few numbers that describe how fast one LLM instance or hosted API is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agentsched.core.endpoint import Profile
from agentsched.errors import ConfigError

__all__ = ["DisaggregatedProfile", "EngineProfile", "HardwareProfile", "HostedProfile", "ProfileBasis"]

ProfileBasis = Literal["fitted", "assumed", "scenario"]
"""Where a profile's figures come from: a fit to a table, a stated ratio, or a published scenario."""


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """One continuous-batching instance: a model on some GPUs under a vLLM-like engine.

    A step with ``B`` decoding sequences that read ``KV`` cached tokens and with ``P`` prompt tokens being prefilled
    takes ``step_base_s + step_per_sequence_s * B + step_per_kv_token_s * KV + prefill`` seconds, where ``prefill`` is
    ``max(0, P / prefill_tokens_per_s - prefill_hidden_s)`` plus ``prefill_attention_s`` for every (prompt token,
    earlier token) pair. The first three terms are the usual memory-bound decode model; the last says that a chunk of
    prompt hides behind the weight read until the arithmetic dominates (a roofline). ``prefill_hidden_s = 0`` and
    ``prefill_attention_s = 0`` give the plain linear model.

    Attributes:
        name: the profile's name, ``<model>-<gpu>``.
        step_base_s: seconds per step to read the weights (``a``).
        step_per_sequence_s: seconds per step and decoding sequence (``b``).
        step_per_kv_token_s: seconds per step and cached token read (``c``).
        prefill_tokens_per_s: prompt tokens per second once the arithmetic dominates.
        max_slots: sequences that may run at once.
        kv_tokens: tokens of key/value memory.
        prefill_hidden_s: prefill seconds hidden behind the weight read of the same step.
        prefill_attention_s: seconds per (prompt token, earlier context token) pair.
        prefill_chunk_tokens: prompt tokens prefilled per step at most, over all sequences.
        prefix_cache_share: share of ``kv_tokens`` that the prefix cache may hold.
        block_tokens: tokens per prefix-cache block.
        frontend_s: seconds that a request spends in the server's front end (HTTP, template, tokenizer) before the
            engine sees it; adds to the time to first token and costs the engine nothing.
        kv_watermark: share of ``kv_tokens`` that must stay free when a request joins others.
        max_context_tokens: longest prompt plus output; None means all of ``kv_tokens``.
        basis: whether the figures are fitted, assumed or given by a scenario.
        source: where they come from, for a reader who doubts them.

    Raises:
        ConfigError: a figure is negative, or one that must be positive is not.
    """

    name: str
    step_base_s: float
    step_per_sequence_s: float
    step_per_kv_token_s: float
    prefill_tokens_per_s: float
    max_slots: int
    kv_tokens: int
    prefill_hidden_s: float = 0.0
    prefill_attention_s: float = 0.0
    prefill_chunk_tokens: int = 2048
    prefix_cache_share: float = 0.4
    block_tokens: int = 64
    frontend_s: float = 0.0
    kv_watermark: float = 0.01
    max_context_tokens: int | None = None
    basis: ProfileBasis = "assumed"
    source: str = ""

    def __post_init__(self) -> None:
        for name in (
            "step_base_s",
            "prefill_tokens_per_s",
            "max_slots",
            "kv_tokens",
            "prefill_chunk_tokens",
            "block_tokens",
        ):
            _require(name, getattr(self, name), "greater than 0", getattr(self, name) > 0)
        for name in (
            "step_per_sequence_s",
            "step_per_kv_token_s",
            "prefill_hidden_s",
            "prefill_attention_s",
            "frontend_s",
        ):
            _require(name, getattr(self, name), "0 or more", getattr(self, name) >= 0)
        for name in ("prefix_cache_share", "kv_watermark"):
            _require(name, getattr(self, name), "between 0 and 1", 0 <= getattr(self, name) <= 1)
        if self.max_context_tokens is not None:
            _require("max_context_tokens", self.max_context_tokens, "greater than 0", self.max_context_tokens > 0)

    @property
    def context_limit_tokens(self) -> int:
        """Longest prompt plus output that this instance can hold, in tokens."""
        if self.max_context_tokens is None:
            return self.kv_tokens
        return min(self.max_context_tokens, self.kv_tokens)

    def decode_step_s(self, sequences: int, kv_tokens: int) -> float:
        """Return the seconds of a step that decodes ``sequences`` over ``kv_tokens`` cached tokens."""
        return self.step_base_s + self.step_per_sequence_s * sequences + self.step_per_kv_token_s * kv_tokens

    def prefill_s(self, tokens: int, pairs: float) -> float:
        """Return the seconds that ``tokens`` prompt tokens add to a step.

        Args:
            tokens: prompt tokens in the step.
            pairs: sum over these tokens of the context tokens before each.
        """
        linear = tokens / self.prefill_tokens_per_s - self.prefill_hidden_s
        return (linear if linear > 0.0 else 0.0) + self.prefill_attention_s * pairs

    def prior(self, *, mean_context_tokens: float = 1000.0, network_s: float = 0.0) -> Profile:
        """Return what a client may believe of an endpoint with this profile before it has seen an answer.

        Args:
            mean_context_tokens: typical prompt plus output of a running call; the KV term is folded into the
                per-batch figure with it.
            network_s: round trip to be added to the time to first token.
        """
        return Profile(
            ttft_s=self.frontend_s + self.step_base_s + self.step_per_sequence_s + network_s,
            tpot_s=self.step_base_s,
            tpot_per_batch_s=self.step_per_sequence_s + self.step_per_kv_token_s * mean_context_tokens,
            prefill_tokens_per_s=self.prefill_tokens_per_s,
        )


@dataclass(frozen=True, slots=True)
class HostedProfile:
    """A hosted API seen from outside: random latency, rate limits, no visible batch.

    Attributes:
        name: the profile's name.
        ttft_median_s: median time to first token, seconds.
        ttft_sigma: sigma of the lognormal time to first token.
        tpot_median_s: median time per output token, seconds, drawn once per call.
        tpot_sigma: sigma of the lognormal time per output token.
        stall_probability: share of calls that stall before their first token.
        stall_mean_s: mean of the exponential stall, seconds.
        prefill_tokens_per_s: prompt tokens per second added to the time to first token; None adds nothing.
        requests_per_minute: request limit; None is unlimited.
        tokens_per_minute: token limit (prompt plus allowed output); None is unlimited.
        max_context_tokens: longest prompt plus output.
        basis: whether the figures are fitted, assumed or given by a scenario.
        source: where they come from.

    Raises:
        ConfigError: a figure is outside its range.
    """

    name: str
    ttft_median_s: float
    ttft_sigma: float
    tpot_median_s: float
    tpot_sigma: float
    stall_probability: float = 0.0
    stall_mean_s: float = 0.0
    prefill_tokens_per_s: float | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_context_tokens: int = 128_000
    basis: ProfileBasis = "assumed"
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("ttft_median_s", "tpot_median_s", "max_context_tokens"):
            _require(name, getattr(self, name), "greater than 0", getattr(self, name) > 0)
        _require("stall_mean_s", self.stall_mean_s, "0 or more", self.stall_mean_s >= 0)
        for name in ("ttft_sigma", "tpot_sigma"):
            # At 10, one draw in three is off by a factor of 20,000 and more; far beyond it none is a number.
            _require(name, getattr(self, name), "from 0 to 10", 0 <= getattr(self, name) <= 10)
        _require("stall_probability", self.stall_probability, "between 0 and 1", 0 <= self.stall_probability <= 1)
        for name in ("prefill_tokens_per_s", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            _require(name, value, "greater than 0, or none", value is None or value > 0)

    @property
    def context_limit_tokens(self) -> int:
        """Longest prompt plus output that the API accepts, in tokens."""
        return self.max_context_tokens

    def prior(self) -> Profile:
        """Return what a client may believe of this API before it has seen an answer; calls do not slow each other."""
        return Profile(
            ttft_s=self.ttft_median_s,
            tpot_s=self.tpot_median_s,
            tpot_per_batch_s=0.0,
            prefill_tokens_per_s=self.prefill_tokens_per_s or 1e6,
        )


@dataclass(frozen=True, slots=True)
class DisaggregatedProfile:
    """An instance that reads prompts and one that decodes, with a link between them, as one endpoint.

    Attributes:
        name: the profile's name.
        prefill: the instance that reads prompts.
        decode: the instance that decodes.
        transfer_tokens_per_s: prompt tokens per second whose cache the link carries.
        transfer_latency_s: seconds that every transfer takes besides.
        basis: whether the figures are fitted, assumed or given by a scenario.
        source: where they come from.

    Raises:
        ConfigError: a figure is outside its range.
    """

    name: str
    prefill: HardwareProfile
    decode: HardwareProfile
    transfer_tokens_per_s: float
    transfer_latency_s: float = 0.0
    basis: ProfileBasis = "assumed"
    source: str = ""

    def __post_init__(self) -> None:
        speed, latency_s = self.transfer_tokens_per_s, self.transfer_latency_s
        _require("transfer_tokens_per_s", speed, "greater than 0", speed > 0)
        _require("transfer_latency_s", latency_s, "0 or more", latency_s >= 0)

    @property
    def context_limit_tokens(self) -> int:
        """Longest prompt plus output that both halves can hold, in tokens."""
        return min(self.prefill.context_limit_tokens, self.decode.context_limit_tokens)

    @property
    def max_slots(self) -> int:
        """Requests that may be decoded at once."""
        return self.decode.max_slots

    @property
    def block_tokens(self) -> int:
        """Tokens per block of the prefix cache, which the prefill half keeps."""
        return self.prefill.block_tokens

    def transfer_s(self, tokens: int) -> float:
        """Return the seconds that the cache of so many prompt tokens is on its way."""
        return self.transfer_latency_s + tokens / self.transfer_tokens_per_s

    def prior(self, *, mean_context_tokens: float = 1000.0, network_s: float = 0.0) -> Profile:
        """Return what a client may believe of it: prompts as the first half reads them, tokens as the second decodes.

        The transfer lies between the first token and the second, where a client that knows TTFT and TPOT alone cannot
        put it; its latency is left out.
        """
        reads = self.prefill.prior(mean_context_tokens=mean_context_tokens, network_s=network_s)
        decodes = self.decode.prior(mean_context_tokens=mean_context_tokens)
        return Profile(
            ttft_s=reads.ttft_s,
            tpot_s=decodes.tpot_s,
            tpot_per_batch_s=decodes.tpot_per_batch_s,
            prefill_tokens_per_s=reads.prefill_tokens_per_s,
        )


EngineProfile = HardwareProfile | HostedProfile | DisaggregatedProfile


def _require(name: str, value: object, allowed: str, ok: bool) -> None:
    if not ok:
        raise ConfigError("out of range", field=f"profile.{name}", given=value, allowed=allowed)
