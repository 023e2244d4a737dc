"""The clients that are tried against faults: how each is set up to keep a deadline, and one question through it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from agentsched import api
from agentsched.bench.fault_cases import MODEL, FaultCase, Lane, Question, lane_pool
from agentsched.bench.packages import load_litellm, load_package
from agentsched.core.endpoint import Pool
from agentsched.core.slo import SLO
from agentsched.runtime import Runtime, runtime_for

__all__ = ["CLIENTS", "Client", "Clients", "Seen", "Trial"]

_KEY = "bench"
_UNSET_URL = "http://127.0.0.1:9/v1"
_LITELLM_RETRIES = 2
_WARM_ROUNDS = 4
_WARM_DEADLINE_S = 30.0


@dataclass(slots=True)
class Seen:
    """What reached the user's code.

    Attributes:
        text: the answer so far.
        calls: model calls that the library above saw: one, unless it tried again by itself; None: not known.
    """

    text: str = ""
    calls: int | None = None

    def add(self, chunk: Any) -> None:
        """Take a chunk of a stream."""
        if chunk.choices:
            self.text += chunk.choices[0].delta.content or ""

    def count(self) -> None:
        """Note how many calls the current run has seen."""
        run = api.current()
        assert run is not None, "a workflow is a run"
        self.calls = run.calls


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


Asking = Callable[[Question, Seen], Awaitable[None]]
BlockingAsking = Callable[[Question, Seen], None]


@dataclass(frozen=True, slots=True)
class Client:
    """A client made for one trial.

    Attributes:
        ask: asks in an event loop.
        ask_blocking: asks without one.
        warm: makes healthy calls, so that the client knows its endpoints.
        close: gives up what it holds.
    """

    ask: Asking
    ask_blocking: BlockingAsking
    warm: Callable[[Question], None] | None = None
    close: Callable[[], None] = lambda: None


class Clients(Protocol):
    """Makes clients of one kind."""

    def client(self, trial: Trial) -> Client:
        """The client for a trial."""


class Sdk:
    """The openai SDK's two clients, made once: each would cost a TLS context, which is 50 ms of everybody's CPU."""

    def __init__(self) -> None:
        openai = load_package("openai")
        self._client = openai.AsyncOpenAI(base_url=_UNSET_URL, api_key=_KEY)
        self._blocking = openai.OpenAI(base_url=_UNSET_URL, api_key=_KEY)

    def asking(self, trial: Trial, **options: Any) -> "tuple[Asking, BlockingAsking]":
        """The two ways to ask the trial's first endpoint, with these options of the client."""
        url, stream = trial.lane.url(trial.case), trial.stream
        client = self._client.with_options(base_url=url, **options)
        blocking = self._blocking.with_options(base_url=url, **options)

        async def ask(question: Question, seen: Seen) -> None:
            messages = list(question.messages)
            await _read(await client.chat.completions.create(model=MODEL, messages=messages, stream=stream), seen)

        def ask_blocking(question: Question, seen: Seen) -> None:
            messages = list(question.messages)
            _read_blocking(blocking.chat.completions.create(model=MODEL, messages=messages, stream=stream), seen)

        return ask, ask_blocking


async def _read(answer: Any, seen: Seen) -> None:
    if hasattr(answer, "__aiter__"):
        async for chunk in answer:
            seen.add(chunk)
    else:
        seen.text = answer.choices[0].message.content or ""


def _read_blocking(answer: Any, seen: Seen) -> None:
    # A whole answer, being a pydantic model, can be iterated too.
    if hasattr(answer, "__next__"):
        for chunk in answer:
            seen.add(chunk)
    else:
        seen.text = answer.choices[0].message.content or ""


class OpenAIClients:
    """The SDK as its users bound it: ``timeout`` is the deadline, its retries are its default."""

    def __init__(self) -> None:
        self._sdk = Sdk()

    def client(self, trial: Trial) -> Client:
        """The client for a trial."""
        return Client(*self._sdk.asking(trial, timeout=trial.deadline_s))


class LitellmClients:
    """litellm's router with ``timeout`` as the deadline, two retries, and the second endpoint as fallback."""

    def __init__(self) -> None:
        self._litellm = load_litellm()

    def client(self, trial: Trial) -> Client:
        """The client for a trial."""
        router = self._router(trial)

        async def ask(question: Question, seen: Seen) -> None:
            messages = list(question.messages)
            await _read(await router.acompletion(model="first", messages=messages, stream=trial.stream), seen)

        def ask_blocking(question: Question, seen: Seen) -> None:
            messages = list(question.messages)
            _read_blocking(router.completion(model="first", messages=messages, stream=trial.stream), seen)

        return Client(ask, ask_blocking)

    def _router(self, trial: Trial) -> Any:
        places = {"first": trial.lane.url(trial.case)}
        if trial.with_second:
            places["second"] = trial.lane.second_url
        return self._litellm.Router(
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


class OurClients:
    """The SDK with nothing set, in a workflow that has the deadline, over a pool that nothing is known about."""

    def __init__(self) -> None:
        self._sdk = Sdk()

    def client(self, trial: Trial) -> Client:
        """The client for a trial: a fresh pool, and so a runtime of its own."""
        pool = lane_pool(trial.lane, trial.case, with_second=trial.with_second)

        def close() -> None:
            _runtime(pool).close()

        ask, ask_blocking = self._decorated(trial, pool, trial.deadline_s)
        return Client(ask, ask_blocking, lambda question: self._warm(trial, pool, question), close)

    def _decorated(self, trial: Trial, pool: Pool, deadline_s: float) -> "tuple[Asking, BlockingAsking]":
        plain, plain_blocking = self._sdk.asking(trial)
        decorate = api.workflow(slo=SLO(deadline=deadline_s), name="faults", pool=pool)

        @decorate
        async def ask(question: Question, seen: Seen) -> None:
            try:
                await plain(question, seen)
            finally:
                seen.count()

        @decorate
        def ask_blocking(question: Question, seen: Seen) -> None:
            try:
                plain_blocking(question, seen)
            finally:
                seen.count()

        return ask, ask_blocking

    def _warm(self, trial: Trial, pool: Pool, question: Question) -> None:
        """Healthy calls of the same workflow, so that endpoints and answer lengths are known."""
        _, ask_blocking = self._decorated(trial, pool, _WARM_DEADLINE_S)
        for _ in range(_WARM_ROUNDS):
            ask_blocking(question, Seen())
        _runtime(pool).flush()


def _runtime(pool: Pool) -> Runtime:
    runtime = runtime_for(pool)
    assert runtime is not None, "a pool was given"
    return runtime


CLIENTS: dict[str, Callable[[], Clients]] = {
    "agentsched": OurClients,
    "openai": OpenAIClients,
    "litellm": LitellmClients,
}
"""By name; making one raises `Missing` where its package is not installed."""
