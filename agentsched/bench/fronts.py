"""The ways to make a model call that are compared: the same question to the same server through each of them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from agentsched import api
from agentsched.bench.packages import load_litellm, load_package
from agentsched.bench.prompts import Messages
from agentsched.core.slo import SLO
from agentsched.errors import ConfigError
from agentsched.runtime import Runtime, runtime_for

__all__ = ["FRONTS", "POOL_SIZE", "Front", "Scope", "Target", "make_front"]

POOL_SIZE = 16
"""Endpoints of the pool that our own front chooses from."""

_DEADLINE_S = 60.0
_KEY = "bench"

Scope = Callable[[Callable[..., Any]], Callable[..., Any]]
"""What is put around a function that makes several calls: our decorator, or nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the calls go.

    Attributes:
        urls: base URLs, each as if it were an endpoint of its own.
        model: the model's name there.
        scratch: a directory for configuration files and logs.
    """

    urls: Sequence[str]
    model: str
    scratch: Path


def _no_scope(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _nothing() -> None:
    return None


async def _close_nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Front:
    """One way to make a call.

    Attributes:
        ask: asks, in an event loop, whole or streamed, and gives the answer's text.
        ask_blocking: the same without an event loop.
        scope: what a user of this front decorates the calling function with.
        settle: waits until work put off to threads is done, so that its CPU time is counted where it was caused.
        leave: called after each turn, so that nothing of this front is in the way of the next one's.
        close: gives up connections and threads, in the event loop that asked.
    """

    ask: Callable[[Messages, bool], Awaitable[str]]
    ask_blocking: Callable[[Messages, bool], str]
    scope: Scope = _no_scope
    settle: Callable[[], None] = _nothing
    leave: Callable[[], None] = _nothing
    close: Callable[[], Awaitable[None]] = _close_nothing


def _openai(target: Target) -> Front:
    openai = load_package("openai")
    client = openai.AsyncOpenAI(base_url=target.urls[0], api_key=_KEY)
    blocking = openai.OpenAI(base_url=target.urls[0], api_key=_KEY)

    async def ask(messages: Messages, stream: bool) -> str:
        answer = await client.chat.completions.create(model=target.model, messages=messages, stream=stream)
        if not stream:
            return str(answer.choices[0].message.content)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])

    def ask_blocking(messages: Messages, stream: bool) -> str:
        answer = blocking.chat.completions.create(model=target.model, messages=messages, stream=stream)
        if not stream:
            return str(answer.choices[0].message.content)
        return "".join([chunk.choices[0].delta.content or "" for chunk in answer])

    async def close() -> None:
        blocking.close()
        await client.close()

    return Front(ask, ask_blocking, close=close)


def _ours(target: Target, *, log: bool) -> Front:
    """The SDK's own client, in a workflow over a pool; ``log``: with the decision log. The learner always learns."""
    plain = _openai(target)
    config = target.scratch / f"pool-{'log' if log else 'quiet'}.yaml"
    endpoints = [
        {"name": f"e{index:02d}", "base_url": url, "model": target.model, "api_key": _KEY}
        for index, url in enumerate(target.urls[:POOL_SIZE])
    ]
    document: dict[str, Any] = {"version": 1, "endpoints": endpoints}
    if log:
        document["log"] = {"path": str(target.scratch / "decisions.jsonl")}
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
    scope = api.workflow(slo=SLO(deadline=_DEADLINE_S), name="bench", pool=str(config))

    def runtime() -> Runtime:
        found = runtime_for(str(config))
        assert found is not None, "it was configured"
        return found

    async def close() -> None:
        runtime().close()
        await plain.close()

    return Front(plain.ask, plain.ask_blocking, scope, lambda: runtime().flush(), api.uninstrument, close)


def _langchain(target: Target) -> Front:
    model = load_package("langchain_openai").ChatOpenAI(model=target.model, base_url=target.urls[0], api_key=_KEY)

    async def ask(messages: Messages, stream: bool) -> str:
        if not stream:
            return str((await model.ainvoke(messages)).content)
        return "".join([str(chunk.content) async for chunk in model.astream(messages)])

    def ask_blocking(messages: Messages, stream: bool) -> str:
        if not stream:
            return str(model.invoke(messages).content)
        return "".join([str(chunk.content) for chunk in model.stream(messages)])

    async def close() -> None:
        model.root_client.close()
        await model.root_async_client.close()

    return Front(ask, ask_blocking, close=close)


def _litellm(target: Target, *, deployments: int) -> Front:
    litellm = load_litellm()
    router = litellm.Router(
        model_list=[
            {
                "model_name": target.model,
                "litellm_params": {"model": f"openai/{target.model}", "api_base": url, "api_key": _KEY},
            }
            for url in target.urls[:deployments]
        ]
    )

    async def ask(messages: Messages, stream: bool) -> str:
        answer = await router.acompletion(model=target.model, messages=messages, stream=stream)
        if not stream:
            return str(answer.choices[0].message.content)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])

    def ask_blocking(messages: Messages, stream: bool) -> str:
        answer = router.completion(model=target.model, messages=messages, stream=stream)
        if not stream:
            return str(answer.choices[0].message.content)
        return "".join([chunk.choices[0].delta.content or "" for chunk in answer])

    async def close() -> None:
        router.discard()
        await litellm.close_litellm_async_clients()

    return Front(ask, ask_blocking, close=close)


FRONTS: dict[str, Callable[[Target], Front]] = {
    "openai": _openai,
    "agentsched": lambda target: _ours(target, log=True),
    "agentsched-nolog": lambda target: _ours(target, log=False),
    "langchain": _langchain,
    "litellm-2": lambda target: _litellm(target, deployments=2),
    "litellm-16": lambda target: _litellm(target, deployments=16),
    "litellm-64": lambda target: _litellm(target, deployments=64),
}
"""By name. The first is what the others are compared with."""


def make_front(name: str, target: Target) -> Front:
    """The front of this name.

    Raises:
        Missing: its package is not installed.
        ConfigError: there is no such front.
    """
    make = FRONTS.get(name)
    if make is None:
        raise ConfigError("no such front", field="fronts", given=name, allowed=", ".join(FRONTS))
    return make(target)
