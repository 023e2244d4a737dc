"""Optional steps of programs in each framework: what is left out sends nothing, whatever is made of its error."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

import agentsched as ags
from agentsched import runtime
from agentsched.core.call import ModelCall
from agentsched.core.forecast import QuantileForecast
from agentsched.core.remainder import RemainderForecast, RunHistory
from agentsched.forecast.length import EmpiricalLengths
from agentsched.scheduler.events import ForecastsReplaced
from tests.integrations.errors.upstream import MODEL, Case, Upstream

pytestmark = pytest.mark.filterwarnings("ignore")

DEADLINE_S = 50.0
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


class Rest:
    """There is time for what follows only if the optional step is left out; ``short`` False: for everything."""

    def __init__(self, *, short: bool) -> None:
        self._short = short

    def predict(self, call: ModelCall, history: RunHistory) -> RemainderForecast:
        return RemainderForecast.of_seconds(QuantileForecast.constant(DEADLINE_S if self._short else 0.1))

    def after_leaving(self, call: ModelCall, history: RunHistory, step: str) -> RemainderForecast:
        return RemainderForecast.of_seconds(QuantileForecast.constant(0.1))


def running() -> ags.Run:
    run = ags.current()
    assert run is not None
    return run


def expect(*, short: bool) -> None:
    """From now on this is what is forecast in the current run."""
    keeper: Any = running().runtime
    keeper.dispatcher.post(ForecastsReplaced(EmpiricalLengths(), Rest(short=short)))


@pytest.fixture
def case(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    """A share of the server, which answers everything, and a pool of it that the environment names."""
    opened = upstream.open_case("answer")
    monkeypatch.setenv("OPENAI_BASE_URL", opened.url("sdk"))
    endpoint = {"name": "a", "base_url": opened.url("a"), "model": MODEL, "api_key": "k"}
    path = tmp_path / "pool.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "endpoints": [endpoint]}))
    ags.configure(path)
    yield opened
    ags.uninstrument()
    runtime.shutdown()


Ask = Callable[[], str]
"""One unit of a framework, which makes one model call, however often it is made to try."""


def sdk() -> Ask:
    def ask() -> str:
        with openai.OpenAI(max_retries=3) as client:
            return str(client.chat.completions.create(**ASK).choices[0].message.content)

    return ask


def tenacity() -> Ask:
    from tenacity import Retrying, stop_after_attempt

    once = sdk()
    return lambda: Retrying(stop=stop_after_attempt(4))(once)


def langchain() -> Ask:
    pytest.importorskip("langchain_openai")
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model=MODEL).with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
    return lambda: str(model.with_fallbacks([ChatOpenAI(model=MODEL, temperature=0.5)]).invoke("hi").text)


def langgraph() -> Ask:
    pytest.importorskip("langchain_openai")
    from langchain_openai import ChatOpenAI
    from langgraph.graph import START, StateGraph
    from langgraph.types import RetryPolicy

    model = ChatOpenAI(model=MODEL)
    graph = StateGraph(dict)
    policy = RetryPolicy(initial_interval=0.01, max_attempts=3, jitter=False, retry_on=Exception)
    graph.add_node("node", lambda state: {"text": model.invoke("hi").text}, retry_policy=policy)
    graph.add_edge(START, "node")
    app = graph.compile()
    return lambda: str(app.invoke({})["text"])


def crewai() -> Ask:
    crewai = pytest.importorskip("crewai")

    def ask() -> str:
        agent = crewai.Agent(role="Writer", goal="g", backstory="b", llm=crewai.LLM(model=MODEL))
        task = crewai.Task(name="t", description="d", expected_output="t", agent=agent)
        return str(crewai.Crew(agents=[agent], tasks=[task]).kickoff())

    return ask


def autogen() -> Ask:
    pytest.importorskip("autogen_agentchat")
    from autogen_agentchat.agents import AssistantAgent
    from autogen_agentchat.teams import RoundRobinGroupChat
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    async def talk() -> str:
        agent = AssistantAgent("writer", model_client=OpenAIChatCompletionClient(model=MODEL))
        result = await RoundRobinGroupChat([agent], max_turns=1).run(task="hi")
        return str(result.messages[-1].content)  # type: ignore[union-attr]  # a text message

    return lambda: asyncio.run(talk())


def litellm() -> Ask:
    litellm = pytest.importorskip("litellm")
    named = {"model": f"openai/{MODEL}", "api_key": "k"}
    router = litellm.Router(model_list=[{"model_name": MODEL, "litellm_params": named}], num_retries=2)
    return lambda: str(router.completion(**ASK).choices[0].message.content)


@pytest.fixture(params=[sdk, tenacity, litellm, langchain, langgraph, crewai, autogen], ids=lambda make: make.__name__)
def ask(request: pytest.FixtureRequest, case: Case) -> Iterator[Ask]:
    """A unit of a framework, with its adapter if it has one."""
    name = {"langchain": "langgraph"}.get(request.param.__name__, request.param.__name__)
    undo = None if name in ("sdk", "tenacity", "litellm") else import_module(f"agentsched_{name}").install()
    yield request.param()
    if undo is not None:
        undo()


def test_a_block_that_is_left_out_sends_nothing_and_the_run_goes_on(ask, case):
    @ags.workflow(slo=DEADLINE_S)
    def flow() -> tuple[ags.Run, str, bool]:
        text = ask()
        expect(short=True)
        with ags.step("critique", optional=True) as step:
            text = f"better than {ask()}"
        expect(short=False)
        return running(), f"{text}, {ask()}", step.skipped

    run, text, skipped = flow()
    assert (text, skipped, run.skipped, run.outcome) == ("goodbye, goodbye", True, ("critique",), "ok")
    assert len(case.requests) == 2
    assert case.strays == 0


def test_a_function_that_is_left_out_returns_its_default(ask, case):
    @ags.optional(default=lambda draft: f"only {draft}")
    def critique(draft: str) -> str:
        return f"better than {draft}: {ask()}"

    @ags.workflow(slo=DEADLINE_S)
    def flow(*, short: bool) -> tuple[ags.Run, str]:
        expect(short=short)
        return running(), critique("a draft")

    run, text = flow(short=True)
    assert (text, run.skipped, run.outcome) == ("only a draft", ("critique",), "ok")
    assert case.requests == []
    run, text = flow(short=False)
    assert (text, run.skipped, len(case.requests)) == ("better than a draft: goodbye", (), 1)


@pytest.mark.parametrize("made", ["node", "async node"])
def test_a_node_of_a_graph_that_is_left_out_leaves_the_state_as_it_is(case, made):
    pytest.importorskip("langchain_openai")
    from langchain_openai import ChatOpenAI
    from langgraph.graph import START, StateGraph

    model = ChatOpenAI(model=MODEL)

    @ags.optional
    def critique(state: dict[str, str]) -> dict[str, str]:
        return {"text": f"better than {state['text']}: {model.invoke('hi').text}"}

    @ags.optional(name="critique")
    async def critique_async(state: dict[str, str]) -> dict[str, str]:
        return {"text": f"better than {state['text']}: {(await model.ainvoke('hi')).text}"}

    def final(state: dict[str, str]) -> dict[str, str]:
        return {"text": f"{state['text']}, done"}

    graph = StateGraph(dict)
    graph.add_node("review", critique if made == "node" else critique_async)
    graph.add_node("final", final)
    graph.add_edge(START, "review")
    graph.add_edge("review", "final")
    app = graph.compile()

    @ags.workflow(slo=DEADLINE_S)
    async def flow() -> tuple[ags.Run, str]:
        expect(short=True)
        invoked = app.invoke({"text": "a draft"}) if made == "node" else await app.ainvoke({"text": "a draft"})
        return running(), invoked["text"]

    run, text = asyncio.run(flow())
    assert (text, run.skipped) == ("a draft, done", ("critique",))
    assert case.requests == []


async def test_async_blocks_and_functions_are_left_out_as_well(case):
    async def ask() -> str:
        async with openai.AsyncOpenAI() as client:
            return str((await client.chat.completions.create(**ASK)).choices[0].message.content)

    @ags.optional(default="a default")
    async def critique() -> str:
        return await ask()

    @ags.workflow(slo=DEADLINE_S)
    async def flow() -> tuple[bool, str, tuple[str, ...]]:
        expect(short=True)
        async with ags.step("review", optional=True) as step:
            await asyncio.gather(ask(), ask())
        return step.skipped, await critique(), running().skipped

    assert await flow() == (True, "a default", ("review", "critique"))
    assert case.requests == []


def test_branches_decide_for_themselves_and_threads_of_a_step_are_left_out_with_it(case):
    once = sdk()

    def branch(topic: str) -> str:
        with ags.step(topic, optional=True), ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(once) for _ in range(3)]
            return " ".join(job.result() for job in jobs)
        return "left out"

    @ags.workflow(slo=DEADLINE_S)
    def flow() -> tuple[list[str], ags.Run]:
        expect(short=True)
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(branch, ["one", "two"])), running()

    texts, run = flow()
    assert texts == ["left out", "left out"]
    assert sorted(run.skipped) == ["one", "two"]
    assert case.requests == []


def test_a_stream_that_is_left_out_does_not_begin(case):
    @ags.workflow(slo=DEADLINE_S)
    def flow() -> bool:
        expect(short=True)
        with ags.step("critique", optional=True) as step, openai.OpenAI() as client:
            for _ in client.chat.completions.create(**ASK, stream=True):
                raise AssertionError("nothing is streamed")
        return step.skipped

    assert flow()
    assert case.requests == []


@pytest.mark.parametrize("on_late", ["raise", "partial", "degrade", "wrap_up", "ignore"])
def test_it_works_with_everything_that_may_happen_at_the_deadline(case, on_late):
    once = sdk()

    @ags.workflow(slo=ags.SLO(DEADLINE_S, on_late=on_late))
    def flow() -> tuple[bool, str]:
        expect(short=True)
        with ags.step("critique", optional=True) as step:
            once()
        return step.skipped, once()

    assert flow() == (True, "goodbye")
    assert len(case.requests) == 1


def test_what_is_reserved_for_the_last_step_is_not_spent_on_an_optional_one(case):
    once = sdk()

    @ags.workflow(slo=ags.SLO(DEADLINE_S, reserve={"final": DEADLINE_S - 1e-4}))
    def flow() -> str:
        with ags.step("critique", optional=True) as step:
            once()
        assert step.skipped, "no time is left for it, though the run has all its time"
        with ags.step("final"):
            return once()

    assert flow() == "goodbye"
    assert len(case.requests) == 1


def test_calls_that_nobody_schedules_begin_a_step(case):
    @ags.workflow(slo=DEADLINE_S)
    def flow() -> bool:
        expect(short=True)
        with ags.step("critique", optional=True) as step, openai.OpenAI() as client:
            client.chat.completions.create(**{**ASK, "model": "unknown"})
            client.chat.completions.create(**ASK)
        return step.skipped

    assert not flow()
    assert [endpoint for endpoint, _ in case.asked] == ["sdk", "a"]


def test_a_run_inside_the_step_is_another_run(case):
    once = sdk()

    @ags.workflow(name="inner")
    def inner() -> str:
        return once()

    @ags.workflow(slo=DEADLINE_S)
    def flow() -> tuple[str, bool]:
        expect(short=True)
        with ags.step("critique", optional=True) as step:
            text = inner()
        return text, step.skipped

    assert flow() == ("goodbye", False)


def test_it_is_learned_from_runs_what_a_step_takes(case):
    once = sdk()
    inside_s = 0.8

    def flow() -> tuple[ags.Run, str]:
        once()
        with ags.step("critique", optional=True):
            once()
            time.sleep(inside_s)
            once()
        with ags.step("final"):
            return running(), once()

    calm = ags.workflow(slo=DEADLINE_S, name="flow")(flow)
    with ThreadPoolExecutor(10) as pool:
        for run, _ in [job.result() for job in [pool.submit(calm) for _ in range(10)]]:
            assert run.skipped == ()
    keeper: Any = runtime.runtime_for()
    keeper.flush()
    asked = len(case.requests)
    run, text = ags.workflow(slo=inside_s, name="flow")(flow)()
    assert (run.skipped, text, run.outcome) == (("critique",), "goodbye", "ok")
    assert len(case.requests) == asked + 2
