"""The explicit LLM: scheduled in a run without instrumentation, an ordinary one otherwise."""

import asyncio

import pytest

pytest.importorskip("crewai")

import crewai

import agentsched as ags
from agentsched import api
from agentsched_crewai import ScheduledLLM

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _unpatched(known_model_runtime, monkeypatch):
    ags.uninstrument()
    monkeypatch.setattr(api, "instrument", lambda: None)


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def llm(request, known_model_pool):
    url = known_model_pool.url("a")
    return ScheduledLLM(model="gpt-4o-mini", max_tokens=5, base_url=url, api_key="k", stream=request.param)


def test_calls_in_a_run_are_scheduled(llm, steps_of):
    @ags.workflow(slo="30s")
    def run():
        assert isinstance(llm, crewai.BaseLLM)
        assert llm.call("hi")
        assert asyncio.run(llm.acall("hi"))
        with ags.step("crew"):
            agent = crewai.Agent(role="r", goal="g", backstory="b", llm=llm)
            task = crewai.Task(description="d", expected_output="e", agent=agent)
            crewai.Crew(agents=[agent], tasks=[task]).kickoff()
        return steps_of(ags.current())

    steps = run()
    assert steps["crew"] == 1
    assert sum(steps.values()) == 3


def test_calls_of_an_ordinary_llm_are_not(known_model_pool):
    @ags.workflow(slo="30s")
    def run():
        crewai.LLM(model="gpt-4o-mini", base_url=known_model_pool.url("a"), api_key="k").call("hi")
        return ags.current().calls

    assert run() == 0


def test_outside_a_run_it_is_an_ordinary_llm(llm):
    assert llm.call("hi")
