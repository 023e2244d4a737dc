"""A consumer that leaves a decorated async generator early leaves nothing behind: no open call, no warning, one end."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import openai
import pytest

import agentsched as ags
from agentsched.runtime import Runtime
from agentsched.workflow.scope import Run

runs: list[Run] = []
kept: list[object] = []
LONG = "Go on. [[out=100000]]"
"""At a hundred times the pace of a real instance this takes half a minute."""


async def _streamed(client: openai.AsyncOpenAI) -> AsyncIterator[str]:
    stream = await client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": LONG}], stream=True
    )
    async for chunk in stream:
        yield chunk.id


async def _managed(client: openai.AsyncOpenAI) -> AsyncIterator[str]:
    messages = [{"role": "user", "content": LONG}]
    async with client.chat.completions.stream(model="gpt-4o-mini", messages=messages) as stream:
        async for event in stream:
            yield event.type


async def _beside(client: openai.AsyncOpenAI) -> AsyncIterator[str]:
    """It hands things out while its calls are running."""
    ask = client.chat.completions.create
    tasks = [
        asyncio.create_task(ask(model="gpt-4o-mini", messages=[{"role": "user", "content": LONG}])) for _ in range(2)
    ]
    run = ags.current()
    while True:
        await asyncio.sleep(0.001)
        if run is not None and run.calls == len(tasks):
            yield str(len(tasks))


WAYS = {"stream": _streamed, "stream manager": _managed, "calls beside": _beside}


async def _break(words: AsyncGenerator[str, None]) -> None:
    async for _ in words:
        break


async def _aclosing(words: AsyncGenerator[str, None]) -> None:
    async with aclosing(words):
        await anext(words)


async def _cancelled(words: AsyncGenerator[str, None]) -> None:
    started = asyncio.Event()

    async def read() -> None:
        async for _ in words:
            started.set()

    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _kept_until_the_loop_ends(words: AsyncGenerator[str, None]) -> None:
    kept.append(words)
    await anext(words)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("leave", [_break, _aclosing, _cancelled, _kept_until_the_loop_ends])
def test_nothing_is_left_open(
    known_model_runtime: Runtime,
    caplog: pytest.LogCaptureFixture,
    way: str,
    leave: Callable[[AsyncGenerator[str, None]], Awaitable[None]],
) -> None:
    ended: list[str] = []
    end_run = known_model_runtime.end_run
    known_model_runtime.end_run = lambda run, outcome: (ended.append(outcome), end_run(run, outcome))[1]  # type: ignore[method-assign, assignment]

    @ags.workflow(slo="30s")
    async def words() -> AsyncGenerator[str, None]:
        run = ags.current()
        assert run is not None
        runs.append(run)
        async with openai.AsyncOpenAI() as client:
            async for word in WAYS[way](client):
                yield word

    async def main() -> None:
        await leave(words())
        assert ags.current() is None

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    known_model_runtime.dispatcher.sweep()
    run = runs.pop()
    kept.clear()
    assert (run.outcome, ended) == ("cancelled", ["cancelled"])
    assert run.calls == (2 if way == "calls beside" else 1)
    assert known_model_runtime.dispatcher.open_calls == 0
    assert not run._open
    assert not caplog.records
