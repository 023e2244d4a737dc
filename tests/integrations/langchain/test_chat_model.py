"""The explicit chat model: scheduled in a run without instrumentation, an ordinary one otherwise."""

from collections import Counter

import pytest
from langchain_openai import ChatOpenAI

import agentsched as ags
from agentsched import api
from agentsched_langgraph import ChatAgentsched


@pytest.fixture(autouse=True)
def _unpatched(known_model_runtime, monkeypatch):
    ags.uninstrument()
    monkeypatch.setattr(api, "instrument", lambda: None)


@pytest.fixture
def options(known_model_pool):
    return {"model": "gpt-4o-mini", "max_tokens": 5, "base_url": known_model_pool.url("a"), "api_key": "k"}


async def test_calls_in_a_run_are_scheduled_in_every_way_of_making_them(options, steps_of):
    model = ChatAgentsched(**options)

    @ags.workflow(slo="30s")
    async def run() -> Counter[str]:
        with ags.step("here"):
            assert model.invoke("hi").text
            assert (await model.ainvoke("hi")).text
            assert "".join(chunk.text for chunk in model.stream("hi"))
            assert "".join([chunk.text async for chunk in model.astream("hi")])
            assert len(await model.abatch(["hi", "ho"])) == 2
            assert len(model.batch(["hi", "ho"])) == 2
            assert (model | (lambda message: message.text)).invoke("hi")
        return steps_of(ags.current())

    assert await run() == {"here": 9}


def test_calls_of_an_ordinary_model_are_not(options):
    @ags.workflow(slo="30s")
    def run() -> int:
        ChatOpenAI(**options).invoke("hi")
        return ags.current().calls

    assert run() == 0


def test_a_client_of_the_users_own_is_scheduled_too(options, steps_of):
    import openai

    own = openai.DefaultHttpxClient()
    model = ChatAgentsched(**options, http_client=own)

    @ags.workflow(slo="30s")
    def run() -> int:
        model.invoke("hi")
        return sum(steps_of(ags.current()).values())

    assert run() == 1
    own.close()


def test_outside_a_run_it_is_an_ordinary_model(options):
    assert ChatAgentsched(**options).invoke("hi").usage_metadata["output_tokens"] == 5
