"""What ``on_late`` and ``reserve`` do for programs in each framework: two steps, of which the first is called draft."""

import asyncio
import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

import agentsched as ags
from agentsched import runtime
from agentsched.core.slo import Deadline
from agentsched.intercept.wrapping_up import FINISH
from tests.integrations.errors.upstream import MODEL, Case, Upstream

pytestmark = pytest.mark.filterwarnings("ignore")

SLOW, FAST = "a", "b"
ENDPOINTS = {
    SLOW: {"quality": 0.9, "profile": {"ttft_s": 1000.0, "tpot_s": 1.0}},
    FAST: {"quality": 0.3, "profile": {"ttft_s": 0.01, "tpot_s": 0.001}},
}
LONG_S, SOON_S = 100.0, 0.2
Step = Callable[[str], str]
"""One unit of a framework, by name, which makes one model call and tells its answer to `best_so_far`."""


def sdk() -> Step:
    def step(name: str) -> str:
        with ags.step(name), openai.OpenAI() as client:
            answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
        text = str(answer.choices[0].message.content)
        ags.best_so_far(f"{name}: {text}")
        return text

    return step


def langgraph() -> Step:
    pytest.importorskip("langchain_openai")
    from langchain_openai import ChatOpenAI
    from langgraph.graph import START, StateGraph

    model = ChatOpenAI(model=MODEL)

    def step(name: str) -> str:
        def node(state: dict[str, str]) -> dict[str, str]:
            text = model.invoke("hi").text
            ags.best_so_far(f"{name}: {text}")
            return {"text": text}

        graph = StateGraph(dict)
        graph.add_node(name, node)
        graph.add_edge(START, name)
        return str(graph.compile().invoke({})["text"])

    return step


def crewai() -> Step:
    crewai = pytest.importorskip("crewai")

    def step(name: str) -> str:
        agent = crewai.Agent(role="Writer", goal="g", backstory="b", llm=crewai.LLM(model=MODEL))

        def tell(output: Any) -> None:
            ags.best_so_far(f"{name}: {output.raw}")

        task = crewai.Task(name=name, description="d", expected_output="t", agent=agent, callback=tell)
        return str(crewai.Crew(agents=[agent], tasks=[task]).kickoff())

    return step


def autogen() -> Step:
    pytest.importorskip("autogen_agentchat")
    from autogen_agentchat.agents import AssistantAgent
    from autogen_agentchat.teams import RoundRobinGroupChat
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    async def talk(name: str) -> str:
        text = ""
        agent = AssistantAgent(name, model_client=OpenAIChatCompletionClient(model=MODEL))
        async for item in RoundRobinGroupChat([agent], max_turns=1).run_stream(task="hi"):
            if getattr(item, "source", None) == name:
                text = item.content
                ags.best_so_far(f"{name}: {text}")
        return text

    return lambda name: asyncio.run(talk(name))


NAMES = {crewai: "{}/Writer"}
"""How a framework calls the step, where that is not the name as it is."""


@pytest.fixture(params=[sdk, langgraph, crewai, autogen], ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[], Step]]:
    """A framework, with its adapter if it has one."""
    if request.param is sdk:
        yield sdk
        return
    undo = import_module(f"agentsched_{request.param.__name__}").install()
    yield request.param
    undo()


@pytest.fixture
def open_case(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[Case, Path]]]:
    """A share of the server, and a pool of it."""

    def open_one(mode: str, *names: str) -> tuple[Case, Path]:
        case = upstream.open_case(mode)
        monkeypatch.setenv("OPENAI_BASE_URL", case.url("sdk"))
        endpoints = [
            {"name": name, "base_url": case.url(name), "model": MODEL, "api_key": "k", **ENDPOINTS[name]}
            for name in names
        ]
        path = tmp_path / "pool.yaml"
        path.write_text(yaml.safe_dump({"version": 1, "endpoints": endpoints}))
        return case, path

    yield open_one
    ags.uninstrument()
    runtime.shutdown()


def short() -> None:
    """From now on the run looks back on more time than it has left."""
    run = ags.current()
    assert run is not None
    run.started_at -= LONG_S


def almost_over() -> None:
    """The run ends very soon, however long the framework took for its first step."""
    run = ags.current()
    assert run is not None
    run.deadline = Deadline(run.clock() + SOON_S)


def test_partial_returns_the_best_so_far_when_the_rest_is_late(make, open_case):
    step = make()
    case, pool = open_case("once", FAST)
    runs = []

    @ags.workflow(slo=ags.SLO(deadline="50s", on_late="partial"), pool=pool)
    def flow() -> str:
        runs.append(ags.current())
        step("draft")
        almost_over()
        return step("improve")

    assert flow() == "draft: goodbye"
    assert runs[0].outcome == "deadline"
    assert [endpoint for endpoint, _ in case.asked] == [FAST, FAST]


def test_ignore_lets_a_late_run_go_on(make, open_case):
    step = make()
    case, pool = open_case("answer", FAST)
    runs = []

    @ags.workflow(slo=ags.SLO(deadline="1ms", on_late="ignore"), pool=pool)
    def flow() -> str:
        runs.append(ags.current())
        step("draft")
        return step("improve")

    assert flow() == "goodbye"
    assert (runs[0].outcome, runs[0].calls, len(case.requests)) == ("late", 2, 2)


def test_wrap_up_asks_for_a_brief_end_once_time_is_short(make, open_case):
    step = make()
    case, pool = open_case("answer", FAST)

    @ags.workflow(slo=ags.SLO(deadline="20s", on_late="wrap_up"), pool=pool)
    def flow() -> str:
        step("draft")
        short()
        return step("improve")

    assert flow() == "goodbye"
    first, second = (body for _, body in case.asked)
    assert FINISH not in json.dumps(first)
    assert FINISH in json.dumps(second["messages"][-1])
    assert {"max_tokens", "max_completion_tokens"} & set(second)


@pytest.mark.parametrize(("on_late", "asked"), [("raise", SLOW), ("degrade", FAST)])
def test_degrade_lets_a_lesser_model_answer_once_time_is_short(make, open_case, on_late, asked):
    step = make()
    case, pool = open_case("answer", SLOW, FAST)

    @ags.workflow(slo=ags.SLO(deadline="20s", on_late=on_late, min_quality=0.8), pool=pool)
    def flow() -> str:
        short()
        return step("draft")

    assert flow() == "goodbye"
    assert [endpoint for endpoint, _ in case.asked] == [asked]


def test_reserve_keeps_time_for_the_step_that_is_named(make, open_case):
    step = make()
    case, pool = open_case("silent", FAST)
    final = NAMES.get(make, "{}").format("final")
    runs = []

    @ags.workflow(slo=ags.SLO(deadline="100s", reserve={final: "99.5s"}), pool=pool)
    def flow() -> str:
        runs.append(ags.current())
        with pytest.raises(Exception, match=r"out of time|timed out"):
            step("draft")
        case.mode = "answer"
        return step("final")

    assert flow() == "goodbye"
    assert runs[0].outcome == "ok"
    assert [decision.step for decision in runs[0].decisions][-1] == final
