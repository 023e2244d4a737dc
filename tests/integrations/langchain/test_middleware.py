"""The middleware names an agent's calls, and stops the agent where it would start a tool too late."""

import asyncio

import pytest

pytest.importorskip("langchain")

from langchain import agents
from langchain_core.tools import tool

import agentsched as ags
from agentsched.workflow import scope
from agentsched_langgraph import ChatAgentsched, DeadlineMiddleware


@pytest.fixture
def model(known_model_runtime, known_model_pool):
    return ChatAgentsched(model="gpt-4o-mini", max_tokens=20, base_url=known_model_pool.url("a"), api_key="k")


@pytest.fixture
def clock(monkeypatch):
    """Sets the clock of runs forward."""
    ahead = [0.0]
    real = scope.default_clock
    monkeypatch.setattr(scope, "default_clock", lambda: real() + ahead[0])
    return ahead


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_calls_have_the_middlewares_name(model, steps_of, way):
    @tool
    def look() -> str:
        """Look."""
        return "seen"

    agent = agents.create_agent(model, [look], middleware=[DeadlineMiddleware(step="research")])

    @ags.workflow(slo="30s")
    async def run():
        messages = {"messages": [("user", "[[tool=look]]")]}
        await agent.ainvoke(messages) if way == "ainvoke" else agent.invoke(messages)
        return steps_of(ags.current())

    assert await run() == {"research": 2}


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_no_tool_starts_when_the_time_is_spent(model, clock, way):
    started = []

    @tool
    def look() -> str:
        """Look."""
        started.append("look")
        clock[0] += 60
        return "seen"

    @tool
    def write() -> str:
        """Write."""
        started.append("write")
        return "written"

    agent = agents.create_agent(model, [look, write], middleware=[DeadlineMiddleware()])

    @ags.workflow(slo="30s")
    def run():
        clock[0] += 60
        messages = {"messages": [("user", "[[tool=look]]")]}
        asyncio.run(agent.ainvoke(messages)) if way == "ainvoke" else agent.invoke(messages)

    with pytest.raises(ags.DeadlineExceeded):
        run()
    assert started == []


def test_outside_a_run_it_does_nothing(model):
    agent = agents.create_agent(model, [], middleware=[DeadlineMiddleware(step="x")])
    assert agent.invoke({"messages": [("user", "hi")]})["messages"][-1].text
