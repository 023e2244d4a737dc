"""DSPy: a program, its parallel executor, streaming."""

import os
from typing import Any

import dspy

from tests.frameworks.harness import MODEL, Program


def _model() -> dspy.LM:
    base = os.environ["OPENAI_BASE_URL"]
    return dspy.LM(f"openai/{MODEL}", api_base=base, api_key="k", cache=False, num_retries=0)


def sync(prompt: str) -> object:
    return _model()(prompt)


async def aio(prompt: str) -> object:
    return await _model().acall(prompt)


def _settings() -> Any:
    # The answers are JSON objects as a schema wants them: the embedded pool gives such.
    return dspy.context(lm=_model(), adapter=dspy.JSONAdapter())


def predict(prompt: str) -> object:
    with _settings():
        return dspy.Predict("question -> answer")(question=prompt)


def parallel(prompt: str) -> object:
    example = dspy.Example(question=prompt).with_inputs("question")
    with _settings():
        work = [(dspy.Predict("question -> answer"), example)] * 2
        return dspy.Parallel(num_threads=2, disable_progress_bar=True)(work)


async def streamed(prompt: str) -> object:
    program = dspy.streamify(dspy.Predict("question -> answer"))
    with _settings():
        return [item async for item in program(question=prompt)]


PROGRAM = Program(
    "DSPy",
    "dspy",
    sync=sync,
    aio=aio,
    aio_stream=streamed,
    missing={"sync stream": "the framework streams asynchronously only"},
    own={"Predict": predict, "dspy.Parallel": parallel},
)
