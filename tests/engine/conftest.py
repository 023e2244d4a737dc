"""A small instance whose figures are easy to reckon with."""

from __future__ import annotations

import pytest

from agentsched.engine import HardwareProfile, Instance


@pytest.fixture
def profile() -> HardwareProfile:
    """10 ms steps, 1 ms per sequence, 10,000 prompt tokens/s in chunks of 100, 4 slots, 1,000 tokens of memory."""
    return HardwareProfile(
        name="small",
        step_base_s=0.010,
        step_per_sequence_s=0.001,
        step_per_kv_token_s=1e-6,
        prefill_tokens_per_s=10_000,
        max_slots=4,
        kv_tokens=1_000,
        prefill_chunk_tokens=100,
        block_tokens=10,
        kv_watermark=0.0,
    )


@pytest.fixture
def instance(profile: HardwareProfile) -> Instance:
    return Instance(profile)
