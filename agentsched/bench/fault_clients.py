"""The clients that are tried against faults: how each is set up to keep a deadline, and one question through it."""

import importlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from agentsched import api
from agentsched.bench.fault_cases import MODEL, FaultCase, Lane, Question, lane_pool
from agentsched.core.endpoint import Pool
from agentsched.core.slo import SLO
from agentsched.runtime import runtime_for

__all__ = ["CLIENTS", "Client", "Missing", "Seen", "Trial"]

_KEY = "bench"
_LITELLM_RETRIES = 2
_WARM_ROUNDS = 4
_WARM_DEADLINE_S = 30.0


class Missing(Exception):
    """A client whose package is not installed."""


@dataclass(slots=True)
class Seen:
    """What reached the user's code.

    Attributes:
        text: the answer so far.
        calls: model calls that the library above saw: one, unless it tried again by itself; None: not known.
    """

    text: str = ""
    calls: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """One question on one lane under one deadline.

    Attributes:
        lane: the endpoints.
        case: what is wrong with the first of them.
        deadline_s: seconds.
        stream: whether the answer is streamed.
        with_second: whether the healthy endpoint may be used.
    """

    lane: Lane
    case: FaultCase
    deadline_s: float
    stream: bool
    with_second: bool


@dataclass(frozen=True, slots=True)
class Client:
    """A client made for one trial.

    Attributes:
        ask: asks in an event loop.
        ask_blocking: asks without one.
        warm: makes healthy calls, so that the client knows its endpoints.
        close: gives up what it holds.
    """

    ask: Callable[[Question, Seen], Awaitable[None]]
    ask_blocking: Callable[[Question, Seen], None]
    warm: Callable[[Question], None] | None = None
    close: Callable[[], None] = lambda: None


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"{name} is not installed") from error


async def _read(answer: Any, seen: Seen, *, stream: bool) -> None:
    if not stream:
        seen.text = answer.choices[0].message.content or ""
        return
    async for chunk in answer:
        if chunk.choices:
            seen.text += chunk.choices[0].delta.content or ""


def _read_blocking(answer: Any, seen: Seen, *, stream: bool) -> None:
    if not stream:
        seen.text = answer.choices[0].message.content or ""
        return
    for chunk in answer:
        if chunk.choices:
            seen.text += chunk.choices[0].delta.content or ""


def _openai(trial: Trial) -> Client:
    """The SDK as its users bound it: ``timeout`` is the deadline, its retries are its default."""
    openai, url = _package("openai"), trial.lane.url(trial.case)

    async def ask(question: Question, seen: Seen) -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key=_KEY, timeout=trial.deadline_s) as client:
            messages = list(question.messages)
            answer = await client.chat.completions.create(model=MODEL, messages=messages, stream=trial.stream)
            await _read(answer, seen, stream=trial.stream)

    def ask_blocking(question: Question, seen: Seen) -> None:
        with openai.OpenAI(base_url=url, api_key=_KEY, timeout=trial.deadline_s) as client:
            messages = list(question.messages)
            answer = client.chat.completions.create(model=MODEL, messages=messages, stream=trial.stream)
            _read_blocking(answer, seen, stream=trial.stream)

    return Client(ask, ask_blocking)


def _litellm(trial: Trial) -> Client:
    """litellm's router with ``timeout`` as the deadline, two retries, and the second endpoint as fallback."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = _package("litellm")
    litellm.suppress_debug_info = True
    places = {"first": trial.lane.url(trial.case)}
    if trial.with_second:
        places["second"] = trial.lane.second_url
    router = litellm.Router(
        model_list=[
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{MODEL}", "api_base": url, "api_key": _KEY},
            }
            for name, url in places.items()
        ],
        timeout=trial.deadline_s,
        num_retries=_LITELLM_RETRIES,
        fallbacks=[{"first": ["second"]}] if trial.with_second else [],
    )

    async def ask(question: Question, seen: Seen) -> None:
        answer = await router.acompletion(model="first", messages=list(question.messages), stream=trial.stream)
        await _read(answer, seen, stream=trial.stream)

    def ask_blocking(question: Question, seen: Seen) -> None:
        answer = router.completion(model="first", messages=list(question.messages), stream=trial.stream)
        _read_blocking(answer, seen, stream=trial.stream)

    return Client(ask, ask_blocking)


def _ours(trial: Trial) -> Client:
    """The SDK with nothing set, in a workflow that has the deadline, over a pool that nothing is known about."""
    pool = lane_pool(trial.lane, trial.case, with_second=trial.with_second)

    def close() -> None:
        runtime = runtime_for(pool)
        assert runtime is not None, "a pool was given"
        runtime.close()

    ask, ask_blocking = _decorated(trial, pool, trial.deadline_s)
    return Client(ask, ask_blocking, lambda question: _warm(trial, pool, question), close)


def _decorated(
    trial: Trial, pool: Pool, deadline_s: float
) -> tuple[Callable[[Question, Seen], Awaitable[None]], Callable[[Question, Seen], None]]:
    openai, url = _package("openai"), trial.lane.url(trial.case)
    decorate = api.workflow(slo=SLO(deadline=deadline_s), name="faults", pool=pool)

    @decorate
    async def ask(question: Question, seen: Seen) -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key=_KEY) as client:
            try:
                messages = list(question.messages)
                answer = await client.chat.completions.create(model=MODEL, messages=messages, stream=trial.stream)
                await _read(answer, seen, stream=trial.stream)
            finally:
                _count(seen)

    @decorate
    def ask_blocking(question: Question, seen: Seen) -> None:
        with openai.OpenAI(base_url=url, api_key=_KEY) as client:
            try:
                messages = list(question.messages)
                answer = client.chat.completions.create(model=MODEL, messages=messages, stream=trial.stream)
                _read_blocking(answer, seen, stream=trial.stream)
            finally:
                _count(seen)

    return ask, ask_blocking


def _count(seen: Seen) -> None:
    run = api.current()
    assert run is not None, "a workflow is a run"
    seen.calls = run.calls


def _warm(trial: Trial, pool: Pool, question: Question) -> None:
    """Healthy calls of the same workflow, so that endpoints and answer lengths are known."""
    _, ask_blocking = _decorated(trial, pool, _WARM_DEADLINE_S)
    for _ in range(_WARM_ROUNDS):
        ask_blocking(question, Seen())
    runtime = runtime_for(pool)
    assert runtime is not None, "a pool was given"
    runtime.flush()


CLIENTS: dict[str, Callable[[Trial], Client]] = {"agentsched": _ours, "openai": _openai, "litellm": _litellm}
"""By name: what makes one for a trial, or raises `Missing`."""
