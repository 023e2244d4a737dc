"""Instructor: answers of a prescribed form, by a tool and by a schema."""

import instructor
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.frameworks.harness import MODEL, Program


class Word(BaseModel):
    word: str


def _asked(prompt: str) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "response_model": Word}


def sync(prompt: str) -> object:
    return instructor.from_openai(OpenAI()).chat.completions.create(**_asked(prompt))


def sync_stream(prompt: str) -> object:
    return list(instructor.from_openai(OpenAI()).chat.completions.create_partial(**_asked(prompt)))


async def aio(prompt: str) -> object:
    return await instructor.from_openai(AsyncOpenAI()).chat.completions.create(**_asked(prompt))


async def aio_stream(prompt: str) -> object:
    client = instructor.from_openai(AsyncOpenAI())
    return [part async for part in client.chat.completions.create_partial(**_asked(prompt))]


def by_schema(prompt: str) -> object:
    client = instructor.from_openai(OpenAI(), mode=instructor.Mode.JSON_SCHEMA)
    return client.chat.completions.create(**_asked(prompt))


PROGRAM = Program(
    "Instructor",
    "instructor",
    sync=sync,
    sync_stream=sync_stream,
    aio=aio,
    aio_stream=aio_stream,
    own={"by a schema": by_schema},
)
