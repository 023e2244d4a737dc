"""The SDK's text completions whose prompt is token ids: they outlive their servers, and ids are shown to who asked."""

import asyncio

import pytest

from agentsched import api
from agentsched.core.endpoint import Endpoint, Pool
from agentsched.emulator import EmulatedEndpoint, Emulator, Fault
from agentsched.emulator.token_ids import ids_of, pieces
from agentsched.runtime import shutdown

PROMPT = ids_of(pieces("Go on. [[out=40]] [[say=Né日🎉   日本語]]"))
ASK = {"model": "m", "prompt": PROMPT, "max_tokens": 100}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
async def emulated():
    """Two vLLMs of one model."""
    async with Emulator(
        [EmulatedEndpoint(name=n, profile="study-8b-h800", model="m") for n in "ab"], time_scale=20
    ) as up:
        yield up
    shutdown()


def pool_of(emulated):
    return Pool([Endpoint(name=name, base_url=emulated.url(name), model="m", kind="vllm") for name in "ab"])


def answer_of(chunks):
    """Text, end, tokens and ids of a stream or of a whole answer."""
    choices = [choice for chunk in chunks for choice in chunk.choices]
    usage = next(chunk.usage for chunk in reversed(chunks) if chunk.usage)
    ids = [token for choice in choices for token in (choice.model_extra or {}).get("token_ids") or ()]
    counts = (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
    return "".join(choice.text for choice in choices), choices[-1].finish_reason, counts, ids


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("after", [4, 11, 40])
async def test_a_stream_outlives_its_servers(emulated, async_client, after, shown):
    @api.workflow(slo="30s", pool=pool_of(emulated))
    async def ask():
        told = {"extra_body": {"return_token_ids": True}} if shown else {}
        return answer_of([chunk async for chunk in await async_client.completions.create(**ASK, **STREAM, **told)])

    unbroken = await ask()
    for name in "ab":
        emulated.inject(name, Fault(kind="cut", after=after, count=1))
    assert await ask() == unbroken
    assert unbroken[2] == (len(PROMPT), 40, len(PROMPT) + 40)
    assert len(unbroken[3]) == (40 if shown else 0)


async def test_a_whole_answer_outlives_its_servers(emulated, sync_client):
    @api.workflow(slo="30s", pool=pool_of(emulated))
    def ask():
        return answer_of([sync_client.completions.create(**ASK)])

    unbroken = await asyncio.to_thread(ask)
    for name in "ab":
        emulated.inject(name, Fault(kind="cut", after=11, count=1))
    assert await asyncio.to_thread(ask) == unbroken
    assert unbroken[3] == []


@pytest.mark.parametrize("prompt", [[1, "a"], [1, -2], [[1], ["a"]], [1, None]])
async def test_a_prompt_that_is_none_reaches_the_server_as_it_is(emulated, async_client, prompt):
    """Whose refusal reaches the caller as the server's."""

    @api.workflow(slo="30s", pool=pool_of(emulated))
    async def ask():
        return await async_client.completions.create(**(ASK | {"prompt": prompt}))

    with pytest.raises(Exception, match="prompt") as refused:
        await ask()
    assert refused.value.status_code == 400
