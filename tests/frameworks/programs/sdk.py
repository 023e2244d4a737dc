"""The SDK itself, both APIs."""

from openai import AsyncOpenAI, OpenAI

from tests.frameworks.harness import MODEL, Program


def sync(prompt: str) -> object:
    OpenAI().responses.create(model=MODEL, input=prompt)
    return OpenAI().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": prompt}])


def sync_stream(prompt: str) -> object:
    messages = [{"role": "user", "content": prompt}]
    return list(OpenAI().chat.completions.create(model=MODEL, messages=messages, stream=True))


async def aio(prompt: str) -> object:
    async with AsyncOpenAI() as client:
        await client.responses.create(model=MODEL, input=prompt)
        return await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": prompt}])


async def aio_stream(prompt: str) -> object:
    async with AsyncOpenAI() as client:
        messages = [{"role": "user", "content": prompt}]
        stream = await client.chat.completions.create(model=MODEL, messages=messages, stream=True)
        return [chunk async for chunk in stream]


PROGRAM = Program("OpenAI SDK", "openai", sync=sync, sync_stream=sync_stream, aio=aio, aio_stream=aio_stream)
