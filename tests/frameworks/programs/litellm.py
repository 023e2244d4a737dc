"""LiteLLM, by its functions and its router."""

import litellm

from tests.frameworks.harness import MODEL, Program

NAME = f"openai/{MODEL}"
ROUTER = litellm.Router(model_list=[{"model_name": "any", "litellm_params": {"model": NAME}}], num_retries=0)


def _messages(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def sync(prompt: str) -> object:
    return litellm.completion(model=NAME, messages=_messages(prompt))


def sync_stream(prompt: str) -> object:
    return list(litellm.completion(model=NAME, messages=_messages(prompt), stream=True))


async def aio(prompt: str) -> object:
    return await litellm.acompletion(model=NAME, messages=_messages(prompt))


async def aio_stream(prompt: str) -> object:
    stream = await litellm.acompletion(model=NAME, messages=_messages(prompt), stream=True)
    return [chunk async for chunk in stream]


def router(prompt: str) -> object:
    return ROUTER.completion(model="any", messages=_messages(prompt))


async def arouter(prompt: str) -> object:
    return await ROUTER.acompletion(model="any", messages=_messages(prompt))


def batch(prompt: str) -> object:
    return litellm.batch_completion(model=NAME, messages=[_messages(prompt)] * 2)


PROGRAM = Program(
    "LiteLLM",
    "litellm",
    sync=sync,
    sync_stream=sync_stream,
    aio=aio,
    aio_stream=aio_stream,
    own={"Router": router, "Router, async": arouter, "batch_completion": batch},
)
