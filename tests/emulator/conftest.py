"""A small, fast pool and clients for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from agentsched.emulator import EmulatedEndpoint, Emulator
from agentsched.engine import HardwareProfile, HostedProfile

MODEL = "test-model"


@pytest.fixture
def gpu_profile() -> HardwareProfile:
    """20 ms steps, of which the tests' time scale makes 1 ms; 4 slots."""
    return HardwareProfile(
        name="test-gpu",
        step_base_s=0.020,
        step_per_sequence_s=0.001,
        step_per_kv_token_s=0.0,
        prefill_tokens_per_s=20_000,
        max_slots=4,
        kv_tokens=8_000,
        block_tokens=16,
    )


@pytest.fixture
async def pool(gpu_profile: HardwareProfile) -> AsyncIterator[Emulator]:
    """A vLLM-like endpoint ``gpu`` and a hosted API ``api`` of the same model, 20 times faster than real."""
    hosted = HostedProfile(
        name="test-api", ttft_median_s=0.2, ttft_sigma=0.1, tpot_median_s=0.01, tpot_sigma=0.1, max_context_tokens=4_000
    )
    endpoints = [
        EmulatedEndpoint(name="gpu", profile=gpu_profile, model=MODEL),
        EmulatedEndpoint(name="api", profile=hosted, model=MODEL, kind="openai"),
    ]
    async with Emulator(endpoints, time_scale=20) as pool:
        yield pool


@pytest.fixture
async def gpu(pool: Emulator) -> AsyncIterator[openai.AsyncOpenAI]:
    """A client of the endpoint ``gpu`` that does not retry."""
    async with openai.AsyncOpenAI(base_url=pool.url("gpu"), api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
async def api(pool: Emulator) -> AsyncIterator[openai.AsyncOpenAI]:
    """A client of the endpoint ``api`` that does not retry."""
    async with openai.AsyncOpenAI(base_url=pool.url("api"), api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def ask() -> Any:
    """Make a request's arguments: ``ask("text", out=12, stream=True, ...)``."""

    def make(text: str = "Say something", *, out: int | None = 12, **more: Any) -> dict[str, Any]:
        marked = text if out is None else f"{text} [[out={out}]]"
        return {"model": MODEL, "messages": [{"role": "user", "content": marked}], **more}

    return make
